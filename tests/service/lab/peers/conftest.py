# SPDX-License-Identifier: Apache-2.0
"""One server in the lab's catalogue for all that other projects' programs do with it."""

from collections.abc import Iterator

import pytest

from tests.lab import Lab
from tests.service.lab.deployment import own_server
from tests.service.lab.parts import ServerProcess


@pytest.fixture(scope="package")
def server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Give the server, empty at first."""
    with own_server(lab, tmp_path_factory.mktemp("server")) as server:
        yield server
