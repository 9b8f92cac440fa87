# SPDX-License-Identifier: Apache-2.0
"""From the POST of a value over the threshold to the web hook, by whole services as they are.

Alarms with one period of a minute; each resource is measured every ten seconds, and breaches at an
instant of its own. Our agents poll at multiples of the interval, so that a sample lies at the end
of a step, which is judged when it comes; `breach_to_webhook_p99` is for them. Samples from between
decide when a later one comes, or after the allowed lag: `breach_to_webhook_unaligned_p99`.

Thermostat is one process. Aodh has its evaluator, its notifier, RabbitMQ,
PostgreSQL and Gnocchi, with the options as they are by default but for Gnocchi's workers, which
here look for new measures every second, not every minute: this favours the peer. Neither checks
tokens.
"""

import json
import random
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import urllib3

from bench import _targets
from bench._aodh import Aodh
from bench._keystone import PROJECT, USER
from bench._processes import BenchError, free_port, running, settings, wait_for
from bench._targets import Targets
from bench.aodh_evaluate import serve_gnocchi
from tests.service import postgresql
from tests.service.gnocchi import Gnocchi

TRIALS = 100
TRIALS_OF_AODH = 20
FED_EVERY_S = 10.0
SPREAD_S = 60.0
"""The breaches come within this time: Aodh's evaluator runs once in it."""
PATIENCE_S = 150.0
LOW, HIGH = 10.0, 100_000.0
METER = "cpu_util"
SEED = 5
Report = Callable[[Mapping[int, float], float], None]
"""Sends these values of these resources, measured at this time (seconds since the epoch)."""


def run() -> Iterator[dict[str, Any]]:
    """Yield the slowest of a hundred, with samples as our agents' and others, beside Aodh's."""
    with _targets.serving(1) as targets:
        ours = {
            "breach_to_webhook_p99": _ours(targets, "/aligned/", are_aligned=True),
            "breach_to_webhook_unaligned_p99": _ours(targets, "/unaligned/", are_aligned=False),
        }
        try:
            theirs = _aodhs(targets)
        except BenchError as error:
            print(f"  {error}", file=sys.stderr)
            theirs = []
    for name, latencies_s in ours.items():
        p99_s = float(np.percentile(latencies_s, 99))
        figure: dict[str, Any] = {"name": name, "value": round(p99_s, 3), "unit": "s"}
        if theirs:
            slowest, middle = max(theirs), np.median(theirs)
            figure["peer"] = f"Aodh, {slowest:.1f} s, median {middle:.1f} s of {len(theirs)}"
            figure["ratio"] = round(slowest / p99_s, 1)
        print(f"  median {np.median(latencies_s):.2f} s, {max(latencies_s):.2f} s", file=sys.stderr)
        yield figure


def _ours(targets: Targets, prefix: str, *, are_aligned: bool) -> list[float]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        configuration, log = directory / "server.conf", directory / "server.log"
        port = free_port()
        connection = f"sqlite:///{directory}/alarms.sqlite"
        configuration.write_text(
            settings(
                api={"port": port, "auth_mode": "noauth", "host": "127.0.0.1"},
                database={"connection": connection},
                store={"path": directory / "samples", "min_free_mb": 0},
            )
        )
        programs = Path(sys.executable).parent
        dbsync = (programs / "thermostat-dbsync", "--config-file", configuration)
        with running(directory / "dbsync.log", *dbsync) as process:
            process.wait(60)
        server = (programs / "thermostat-server", "--config-file", configuration)
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/healthcheck", stack.enter_context(running(log, *server)), log)

        def report(values: Mapping[int, float], at_s: float) -> None:
            now = datetime.fromtimestamp(at_s, UTC).isoformat()
            common = {"name": METER, "type": "gauge", "unit": "%", "project_id": PROJECT}
            _post(
                f"{url}/v2/samples",
                [
                    {**common, "resource_id": f"r{number}", "volume": value, "timestamp": now}
                    for number, value in values.items()
                ],
            )

        for number in range(TRIALS):
            rule = {
                "meter_name": METER,
                "threshold": 75.0,
                "comparison_operator": "gt",
                "query": [{"field": "resource_id", "value": f"r{number}"}],
            }
            action = f"{targets.urls[0]}{prefix}{number}"
            _post(f"{url}/v2/alarms", _alarm("threshold", rule, action))
        return _latencies(targets, prefix, TRIALS, report, are_aligned=are_aligned)


def _aodhs(targets: Targets) -> list[float]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        database = stack.enter_context(postgresql.running())
        url = database.create_database().replace("+psycopg2", "")
        aodh = Aodh(stack, directory, url, has_broker=True)
        gnocchi = Gnocchi(serve_gnocchi(stack, directory, database.create_database()))
        login = {"auth_type": "gnocchi-noauth", "user_id": "aodh", "project_id": "service"}
        aodh.configure(service_credentials={**login, "roles": "admin", "endpoint": gnocchi.url})
        gnocchi.create_policy("minute", ["mean"])
        resources = [str(uuid.uuid4()) for _ in range(TRIALS_OF_AODH)]
        metrics = [
            gnocchi.create_resource(one, {METER: "minute"}, project=PROJECT)[METER]
            for one in resources
        ]

        def report(values: Mapping[int, float], at_s: float) -> None:
            measures = {
                metrics[number]: [{"timestamp": at_s, "value": value}]
                for number, value in values.items()
            }
            gnocchi.ask("POST", "batch/metrics/measures", measures)

        api = aodh.serve()
        for number, resource in enumerate(resources):
            rule = {
                "metric": METER,
                "resource_id": resource,
                "resource_type": "generic",
                "aggregation_method": "mean",
                "threshold": 75.0,
                "comparison_operator": "gt",
                "granularity": 60,
                "evaluation_periods": 1,
            }
            action = f"{targets.urls[0]}/aodh/{number}"
            _post(f"{api}/v2/alarms", _alarm("gnocchi_resources_threshold", rule, action))
        aodh.start("aodh-notifier")
        aodh.start("aodh-evaluator")
        return _latencies(targets, "/aodh/", TRIALS_OF_AODH, report, are_aligned=False)


def _latencies(
    targets: Targets, prefix: str, trials: int, report: Report, *, are_aligned: bool
) -> list[float]:
    """Have each breach at an instant of its own; give the seconds until its web hook is called."""
    stopped = threading.Event()
    begin_s = (time.time() // FED_EVERY_S + 2) * FED_EVERY_S
    chance = random.Random(SEED)
    breaches_s = sorted(begin_s + chance.uniform(0, SPREAD_S) for _ in range(trials))

    def feed() -> None:
        """Report at each tick whoever does not breach before the next one."""
        tick_s = time.time() // FED_EVERY_S * FED_EVERY_S
        while not stopped.wait(tick_s - time.time()):
            values = {
                number: HIGH if at_s < tick_s else LOW
                for number, at_s in enumerate(breaches_s)
                if not tick_s <= at_s < tick_s + FED_EVERY_S
            }
            report(values, tick_s if are_aligned else time.time())
            tick_s += FED_EVERY_S

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    sent: list[float] = []
    try:
        for number, at_s in enumerate(breaches_s):
            time.sleep(max(0.0, at_s - time.time()))
            sent.append(time.monotonic())
            measured_s = at_s // FED_EVERY_S * FED_EVERY_S if are_aligned else time.time()
            report({number: HIGH}, measured_s)
        targets.wait_for(trials, prefix, PATIENCE_S)
    finally:
        stopped.set()
        feeder.join()
    called: dict[str, float] = {}
    for at_s, path in targets.calls():
        called.setdefault(path, at_s)
    missing = [number for number in range(trials) if f"{prefix}{number}" not in called]
    if missing:
        raise BenchError(f"{len(missing)} of {trials} breaches were never told: {missing[:5]}")
    return [called[f"{prefix}{number}"] - at_s for number, at_s in enumerate(sent)]


def _alarm(kind: str, rule: Mapping[str, object], action: str) -> dict[str, object]:
    return {
        "name": action,
        "type": kind,
        "state": "ok",
        f"{kind}_rule": rule,
        "alarm_actions": [action],
    }


_POOL = urllib3.PoolManager(retries=False, timeout=60)


def _post(url: str, body: object) -> None:
    headers = {
        "Content-Type": "application/json",
        "X-User-Id": USER,
        "X-Project-Id": PROJECT,
        "X-Roles": "admin,member,reader",
    }
    answer = _POOL.request("POST", url, body=json.dumps(body), headers=headers)
    if answer.status not in (200, 201):
        raise BenchError(f"{url}: HTTP {answer.status}: {answer.data[:300]!r}")
