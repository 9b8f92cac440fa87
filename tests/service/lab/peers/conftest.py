# SPDX-License-Identifier: Apache-2.0
"""One server in the lab's catalogue for all that other projects' programs do with it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.lab import Lab
from tests.service.lab.deployment import own_server
from tests.service.lab.parts import ServerProcess


@pytest.fixture(scope="package")
def publisher() -> tuple[str, str]:
    """Give the user and the password with which Ceilometer sends samples."""
    return "ceilometer", "a-secret-of-the-agent"


@pytest.fixture(scope="package")
def server(
    lab: Lab, publisher: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Give the server, empty at first; it knows the publisher's password."""
    directory = tmp_path_factory.mktemp("server")
    name, password = publisher
    passwords = directory / "publishers"
    subprocess.run(
        [sys.executable, "-m", "thermostat.cmd.htpasswd", passwords, name],
        input=f"{password}\n",
        text=True,
        check=True,
    )
    settings = {
        "DEFAULT": {"enable_evaluation_results_metrics": "true"},
        "ingest": {"basic_auth_user_file": passwords},
    }
    with own_server(lab, directory, **settings) as server:
        yield server
