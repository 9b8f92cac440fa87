# SPDX-License-Identifier: Apache-2.0
"""Alarms created over HTTP: by thermostat-server as it is, few alarms resident and many.

The server is the real process with keystonemiddleware and its token cache; the Keystone that it
validates one token with is a stand-in. The clients are in a process of their own. Aodh runs beside
it over PostgreSQL, without a token check; it loads all alarms of the project to create one, so that
it is the slower the more there are.
"""

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec

from bench import _fleet
from bench._aodh import Aodh
from bench._dataset import BASE_US, write_alarms
from bench._keystone import PROJECT, USER
from bench._processes import (
    BenchError,
    free_port,
    resident_bytes,
    running,
    settings,
    wait_for,
    wait_until_idle,
)
from bench._processes import run as run_to_end
from tests.service import postgresql
from thermostat.alarms.model import Alarm

RESIDENT = 100_000
CREATED = 3_000
CREATED_BY_AODH = 300
CLIENTS = 16
_NOT_JUDGED = "SELECT count(*) FROM alarm WHERE judged_us IS NULL"


def run() -> Iterator[dict[str, Any]]:
    """Yield alarms a second, with none and with 100 000 of the project's alarms there before."""
    few, many = (created_per_s(resident) for resident in (0, RESIDENT))
    figure: dict[str, Any] = {"name": "create_alarms", "value": round(few), "unit": "1/s"}
    try:
        theirs = created_per_s_by_aodh()
    except BenchError as error:
        print(f"  {error}", file=sys.stderr)
    else:
        figure["peer"] = f"Aodh, the first {CREATED_BY_AODH} of a project, {theirs:.1f}/s"
        figure["ratio"] = round(few / theirs, 1)
    yield figure
    yield {
        "name": "create_alarms_of_100k",
        "value": round(many),
        "unit": "1/s",
        "peer": f"the same with none, {few:.0f}/s",
        "ratio": round(many / few, 2),
    }


def created_per_s(resident: int) -> float:
    """Give how many alarms a second are created beside so many that the project has."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        write_alarms(directory / "alarms.sqlite", alarms(resident))
        url = serve(stack, directory)
        clients = (sys.executable, "-m", "bench._clients", url, str(CREATED), str(CLIENTS))
        printed = run_to_end(directory / "clients.log", *clients)
        return float(json.loads(printed)["per_s"])


def created_per_s_by_aodh() -> float:
    """Give how many alarms a second Aodh creates, with none there before."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        database = stack.enter_context(postgresql.running()).create_database()
        # Aodh takes the scheme for its driver, so it can have no "+psycopg2".
        url = Aodh(stack, directory, database.replace("+psycopg2", "")).serve()
        clients = (sys.executable, "-m", "bench._clients", url, str(CREATED_BY_AODH), "4", "aodh")
        printed = run_to_end(directory / "clients.log", *clients)
        return float(json.loads(printed)["per_s"])


def alarms(count: int) -> Iterator[Alarm]:
    """Give alarms of one project."""
    for alarm in _fleet.alarms(count, BASE_US):
        yield msgspec.structs.replace(alarm, project_id=PROJECT, user_id=USER)


def serve(stack: ExitStack, directory: Path) -> str:
    """Start a Keystone that knows one token, and the server; give the server's URL."""
    keystone, port = free_port(), free_port()
    auth_url = f"http://127.0.0.1:{keystone}"
    log = directory / "keystone.log"
    stand_in = running(log, sys.executable, "-m", "bench._keystone", str(keystone))
    wait_for(auth_url, stack.enter_context(stand_in), log)
    login = {
        "auth_type": "password",
        "auth_url": auth_url,
        "username": "thermostat",
        "password": "none",
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    configuration, log = directory / "server.conf", directory / "server.log"
    configuration.write_text(
        settings(
            api={"port": port},
            database={"connection": f"sqlite:///{directory}/alarms.sqlite"},
            store={"path": directory / "samples", "min_free_mb": 0},
            keystone_authtoken={**login, "www_authenticate_uri": auth_url},
            service_auth=login,
        )
    )
    server = Path(sys.executable).with_name("thermostat-server")
    process = stack.enter_context(running(log, server, "--config-file", configuration))
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/healthcheck", process, log, timeout_s=120)
    wait_until_judged(directory / "alarms.sqlite")
    wait_until_idle(process.pid)
    print(f"  {resident_bytes(process.pid) / 1e6:.0f} MB resident", file=sys.stderr)
    return url


def wait_until_judged(database: Path, timeout_s: float = 300.0) -> None:
    """Wait until the alarms that were there before have been judged, and that is written."""
    deadline_s = time.monotonic() + timeout_s
    with closing(sqlite3.connect(database)) as connection:
        while time.monotonic() < deadline_s:
            if not connection.execute(_NOT_JUDGED).fetchone()[0]:
                return
            time.sleep(1.0)
    raise BenchError(f"alarms are still to be judged after {timeout_s:.0f} s")
