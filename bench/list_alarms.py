# SPDX-License-Identifier: Apache-2.0
"""A list of 1 000 of a project's 100 000 alarms over HTTP, beside Aodh's.

Both keep the same alarms in an SQLite database. Thermostat runs as it is, with the token check;
Aodh without one, which favours the peer.
"""

import http.client
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from bench._dataset import write_alarms
from bench._keystone import PROJECT, TOKEN, USER
from bench._processes import BenchError, free_port, running, settings, wait_for
from bench._processes import run as run_to_end
from bench.create_alarms import alarms, serve

ALARMS = 100_000
LISTED = 1_000
TIMES = 20
TIMES_OF_AODH = 3
VENV = Path(".bench/aodh")
PEERS = Path(__file__).parent / "peers"
LISTS = {
    "list_alarms": f"limit={LISTED}",
    "list_alarms_by_name": f"limit={LISTED}&sort=name:asc",
}


def run() -> Iterator[dict[str, Any]]:
    """Yield milliseconds from the request to the whole answer, the newest first and by name."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        write_alarms(directory / "alarms.sqlite", alarms(ALARMS))
        url = serve(stack, directory)
        headers = {"X-Auth-Token": TOKEN}
        ours = {name: _list_ms(url, query, headers, TIMES) for name, query in LISTS.items()}
    try:
        theirs = dict(_aodh())
    except BenchError as error:
        print(f"  {error}", file=sys.stderr)
        theirs = {}
    for name, figure_ms in ours.items():
        line: dict[str, Any] = {"name": name, "value": round(figure_ms, 1), "unit": "ms"}
        if name in theirs:
            line["peer"] = f"Aodh, {theirs[name]:.0f} ms"
            line["ratio"] = round(theirs[name] / figure_ms, 1)
        yield line


def _list_ms(url: str, query: str, headers: Mapping[str, str], times: int) -> float:
    """Give the median over so many requests of one connection; the first one is not counted."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    durations_ms = []
    for _ in range(times + 1):
        began = time.perf_counter()
        connection.request("GET", f"/v2/alarms?{query}", headers=headers)
        answer = connection.getresponse()
        told = answer.read()
        durations_ms.append((time.perf_counter() - began) * 1000)
        if answer.status != 200 or len(json.loads(told)) != LISTED:
            raise BenchError(f"HTTP {answer.status}: {told[:200]!r}")
    connection.close()
    return median(durations_ms[1:])


def _aodh() -> Iterator[tuple[str, float]]:
    """Give the same figures of Aodh's API over a database with as many alarms."""
    if not (VENV / "bin/aodh-dbsync").exists():
        raise BenchError(f"Aodh is not installed in {VENV}: run make bench-venv")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        conf, database = directory / "aodh.conf", directory / "aodh.sqlite"
        conf.write_text(
            settings(
                DEFAULT={"transport_url": "fake://", "use_stderr": "true"},
                database={"connection": f"sqlite:///{database}"},
                api={"auth_mode": "noauth"},
            )
        )
        run_to_end(directory / "dbsync.log", VENV / "bin/aodh-dbsync", "--config-file", conf)
        _fill(database)
        port, log = free_port(), directory / "aodh.log"
        command = (VENV / "bin/python", "-W", "ignore", PEERS / "aodh_serve.py", conf, str(port))
        url = f"http://127.0.0.1:{port}"
        wait_for(url, stack.enter_context(running(log, *command)), log)
        headers = {"X-Project-Id": PROJECT, "X-User-Id": USER, "X-Roles": "member,reader"}
        for name, query in LISTS.items():
            yield name, _list_ms(url, query, headers, TIMES_OF_AODH)


def _fill(database: Path) -> None:
    """Write alarms of Aodh's own kind over Gnocchi."""
    rule = {
        "metric": "cpu_util",
        "resource_id": "a" * 36,
        "resource_type": "instance",
        "aggregation_method": "mean",
        "threshold": 75.0,
        "comparison_operator": "gt",
        "granularity": 60,
        "evaluation_periods": 5,
    }
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
    row = {
        "enabled": True,
        "type": "gnocchi_resources_threshold",
        "severity": "low",
        "description": "",
        "timestamp": now,
        "user_id": USER,
        "project_id": PROJECT,
        "state": "insufficient data",
        "state_reason": "Not evaluated yet",
        "state_timestamp": now,
        "ok_actions": "[]",
        "alarm_actions": "[]",
        "insufficient_data_actions": "[]",
        "repeat_actions": False,
        "rule": json.dumps(rule),
        "time_constraints": "[]",
        "evaluate_timestamp": now,
    }
    columns = ("alarm_id", "name", *row)
    marks = ", ".join("?" * len(columns))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            f"INSERT INTO alarm ({', '.join(columns)}) VALUES ({marks})",
            ((f"{number:036}", f"alarm {number}", *row.values()) for number in range(ALARMS)),
        )
