# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL without durability, reachable through one UNIX socket only."""

import shutil
import subprocess
import time
from pathlib import Path

from tests.lab.errors import LabError, with_log
from tests.lab.layout import DATABASES, Layout
from tests.lab.processes import Processes

NAME = "postgres"
START_TIMEOUT_S = 30
# PostgreSQL refuses to run as root, and its own user may not enter the state directory: so it
# gets a mount namespace in which its part of it lies where Debian keeps PostgreSQL's data.
INSIDE = Path("/var/lib/postgresql")
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
}


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    if not found:
        raise LabError("PostgreSQL is not installed: run `make lab-venv`")
    return found[-1].parent


def _version(program: Path) -> int:
    return int(program.parts[-3])


def _as_postgres(directory: Path, *command: str | Path) -> list[str | Path]:
    inside = 'mount --bind "$0" "$1" && cd "$1" && shift && exec "$@"'
    return [
        *("unshare", "--mount", "--propagation", "private", "sh", "-ec", inside),
        *(directory, INSIDE),
        *("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"),
        *command,
    ]


def start(layout: Layout, processes: Processes) -> None:
    """Start it, made anew if it does not exist yet, and return once it answers."""
    directory = layout.state / "postgres"
    if not (directory / "data" / "PG_VERSION").exists():
        _create(directory, processes)
    # A postmaster.pid of a former boot may name a live process; none of ours runs at this point.
    if processes.running(NAME) is None:
        processes.stop([NAME])
        (directory / "data" / "postmaster.pid").unlink(missing_ok=True)
    settings = [f"--{name}={value}" for name, value in OPTIONS.items()]
    processes.start(
        NAME,
        _as_postgres(
            directory,
            *(_programs() / "postgres", "-D", INSIDE / "data", "-k", INSIDE / "socket"),
            *settings,
        ),
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(layout):
        processes.must_run(NAME)
        if time.monotonic() > deadline:
            raise with_log(f"no answer in {START_TIMEOUT_S} s from postgres", processes.log(NAME))
        time.sleep(0.05)


def _create(directory: Path, processes: Processes) -> None:
    for path in (directory, directory / "socket"):
        path.mkdir(exist_ok=True, mode=0o700)
        shutil.chown(path, "postgres", "postgres")
    processes.run(
        NAME,
        _as_postgres(
            directory,
            *(_programs() / "initdb", "-D", INSIDE / "data", "--auth=trust"),
            *("--no-sync", "--no-locale", "--encoding=UTF8"),
        ),
    )


def answers(layout: Layout) -> bool:
    """Whether it takes connections."""
    return _psql(layout, "select 1").returncode == 0


def create_databases(layout: Layout) -> None:
    """Create the empty databases of all services."""
    for name in DATABASES:
        execute(layout, f"create database {name}")


def execute(layout: Layout, statement: str) -> None:
    """Run one statement as the superuser."""
    done = _psql(layout, statement)
    if done.returncode:
        raise LabError(f"postgres: {statement}: {done.stderr.strip()}")


def _psql(layout: Layout, statement: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(_programs() / "psql"), "--no-psqlrc", "--quiet", "--tuples-only"),
            *("--host", str(layout.postgres_socket_dir), "--username", "postgres"),
            *("--command", statement),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
