# SPDX-License-Identifier: Apache-2.0
"""The services' databases and first contents, made by their own management programs."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab import postgres
from tests.lab.errors import with_log
from tests.lab.layout import REGION, Layout
from tests.lab.processes import Processes

COMMANDS = Path(__file__).with_name("services") / "commands.py"


def _manage(
    layout: Layout, processes: Processes, program: str, config: str, commands: Sequence[str]
) -> None:
    """Run a program's commands; `program` is its console script as MODULE:FUNCTION."""
    name = config.partition(".")[0] + "-manage"
    config_file = str(layout.etc / config)
    arguments = [[name, "--config-file", config_file, *line.split()] for line in commands]
    with processes.log(name).open("ab") as log:
        done = subprocess.run(
            [layout.venv / "bin" / "python", COMMANDS, program],
            input=json.dumps(arguments).encode(),
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        raise with_log(f"{name} failed", processes.log(name))


def keystone(layout: Layout, processes: Processes) -> None:
    """Tables, keys, the default domain with its administrator, the identity endpoint.

    The endpoint has no version, since Heat's EC2 filter appends /v3/ec2tokens to it.
    """
    url = layout.url("keystone")
    _manage(
        layout,
        processes,
        "keystone.cmd.manage:main",
        "keystone.conf",
        [
            "db_sync",
            "fernet_setup --keystone-user root --keystone-group root",
            "credential_setup --keystone-user root --keystone-group root",
            f"bootstrap --bootstrap-password {layout.passwords['admin']}"
            f" --bootstrap-region-id {REGION} --bootstrap-public-url {url}"
            f" --bootstrap-internal-url {url} --bootstrap-admin-url {url}",
        ],
    )


def heat(layout: Layout, processes: Processes) -> None:
    """Heat's tables."""
    _manage(layout, processes, "heat.cmd.manage:main", "heat.conf", ["db_sync"])


def glance(layout: Layout, processes: Processes) -> None:
    """Glance's tables."""
    _manage(layout, processes, "glance.cmd.manage:main", "glance-api.conf", ["db sync"])


def nova(layout: Layout, processes: Processes) -> None:
    """Nova's tables and its two cells; cell0 begins as a copy of the empty cell1."""
    program, config = "nova.cmd.manage:main", "nova.conf"
    _manage(layout, processes, program, config, ["db sync --local_cell", "api_db sync"])
    if layout.choices.db == "sqlite":
        shutil.copy(layout.state / "nova.sqlite", layout.state / "nova_cell0.sqlite")
    else:
        postgres.execute(layout, "create database nova_cell0 template nova")
    _manage(
        layout,
        processes,
        program,
        config,
        [
            f"cell_v2 map_cell0 --database_connection {layout.database_url('nova_cell0')}",
            "cell_v2 create_cell --name cell1 --transport-url fake://"
            f" --database_connection {layout.database_url('nova')}",
        ],
    )
