# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL for tests of the alarm database, reachable through one UNIX socket only."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine

OWNER = "postgres"
SETTINGS = (
    *("-c", "listen_addresses="),
    # Nothing outlives the tests.
    *("-c", "fsync=off"),
    *("-c", "synchronous_commit=off"),
    *("-c", "full_page_writes=off"),
    *("-c", "shared_buffers=16MB"),
)


class PostgreSQL:
    """A running server that gives empty databases."""

    def __init__(self, socket_directory: Path) -> None:
        self._socket_directory = socket_directory
        self._numbers = itertools.count()

    def create_database(self) -> str:
        """Create an empty database and give its SQLAlchemy URL."""
        name = f"test{next(self._numbers)}"
        engine = create_engine(self._url(OWNER), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"create database {name}")
        engine.dispose()
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg2://{OWNER}@/{database}?host={self._socket_directory}"


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """Give a PostgreSQL in a temporary directory, ended and removed afterwards.

    It refuses to be root: then it runs as the user that Debian's package makes.
    """
    directory = Path(tempfile.mkdtemp(prefix="thermostat-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, OWNER, OWNER)
        data = directory / "data"
        _run(directory, "initdb", "-D", data, "-U", OWNER, "--auth=trust", "--no-sync", "-EUTF8")
        log = directory / "log"
        options = " ".join((*SETTINGS, "-k", str(directory)))
        _run(directory, "pg_ctl", "-D", data, "-w", "-t", "60", "-l", log, "-o", options, "start")
        try:
            yield PostgreSQL(directory)
        finally:
            _run(directory, "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory)


def _run(directory: Path, program: str, *arguments: str | Path) -> None:
    """Run one of PostgreSQL's programs to its end."""
    newest = max(
        Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3])
    )
    owner = {"user": OWNER, "group": OWNER, "extra_groups": []} if os.geteuid() == 0 else {}
    with (directory.parent / f"{directory.name}.log").open("w+") as output:
        os.unlink(output.name)
        done = subprocess.run(
            [newest, *arguments],
            cwd=directory,
            stdout=output,  # a file: the server keeps what pg_ctl had open
            stderr=subprocess.STDOUT,
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
            timeout=120,
            check=False,
            **owner,
        )
        output.seek(0)
        assert done.returncode == 0, f"{program}: {output.read()}"
