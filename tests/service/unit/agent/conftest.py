# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Iterator

import pytest
from oslo_config import cfg

from tests.service.receiver import Receiver, running_receiver
from thermostat.agent import opts


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture
def make_conf(tmp_path) -> Callable[[str], cfg.ConfigOpts]:
    """Give a configuration read from a file with this text."""

    def make(text: str) -> cfg.ConfigOpts:
        path = tmp_path / "agent.conf"
        path.write_text(text)
        conf = cfg.ConfigOpts()
        opts.register(conf)
        conf(["--config-file", str(path)], default_config_dirs=[])
        return conf

    return make
