# SPDX-License-Identifier: Apache-2.0
"""How many alarms Aodh's own evaluator judges a second, and our driver asks the same Gnocchi for.

Aodh's code runs unchanged, one worker as by default, in an environment of its own (`make
bench-venv`). Gnocchi keeps its samples in files; PostgreSQL does not sync, which favours the peer.
"""

import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from oslo_config import cfg

from bench._processes import BenchError, free_port, running, settings, tail, wait_for
from bench._processes import run as run_to_end
from bench.evaluate import judged_per_s
from tests.service import postgresql
from thermostat.alarms.outside import GnocchiResourcesRule
from thermostat.outside.base import Question
from thermostat.outside.drivers.gnocchi import GnocchiStore, register_options

ALARMS = 300
CYCLES = 3
"""The first one only fills Gnocchi's caches and changes each alarm's state."""
VENV = Path(".bench/aodh")
PEERS = Path(__file__).parent / "peers"


def run() -> Iterator[dict[str, Any]]:
    """Yield alarms a second, wall time: the evaluator waits for Gnocchi's answer for each alarm."""
    if not (VENV / "bin/aodh-dbsync").exists():
        raise BenchError(f"Aodh is not installed in {VENV}: run make bench-venv")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        database = stack.enter_context(postgresql.running())
        gnocchi = serve_gnocchi(stack, directory, database.create_database())
        aodh = directory / "aodh.conf"
        # Aodh takes the scheme for its driver, so it can have no "+psycopg2".
        url = database.create_database().replace("+psycopg2", "")
        aodh.write_text(
            settings(
                DEFAULT={"transport_url": "fake://", "use_stderr": "true"},
                database={"connection": url},
                service_credentials={
                    "auth_type": "gnocchi-noauth",
                    "user_id": "aodh",
                    "project_id": "service",
                    "roles": "admin",
                    "endpoint": gnocchi,
                },
            )
        )
        run_to_end(directory / "dbsync.log", VENV / "bin/aodh-dbsync", "--config-file", aodh)
        cycles = _cycles(directory, aodh, gnocchi)
        polled = _polled_per_s(gnocchi)
    rate = ALARMS / median(cycle["wall_s"] for cycle in cycles[1:])
    ours = judged_per_s()
    yield {
        "name": "aodh_evaluate",
        "value": round(rate, 1),
        "unit": "alarms/s",
        "peer": f"Thermostat, {ours:.0f}/s of one core",
        "ratio": round(ours / rate),
    }
    yield {
        "name": "gnocchi_poll",
        "value": round(polled, 1),
        "unit": "alarms/s",
        "peer": f"Aodh, {rate:.0f}/s of the same alarms from the same Gnocchi",
        "ratio": round(polled / rate, 1),
    }


def _polled_per_s(gnocchi: str) -> float:
    """Give how many of the same alarms our driver gets the datapoints of in a second, wall time."""
    conf = cfg.ConfigOpts()
    register_options(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in {"enabled": True, "endpoint_override": gnocchi, "auth_type": "none"}.items():
        conf.set_override(name, value, group="gnocchi")
    store = GnocchiStore(conf)
    questions = [
        Question(
            GnocchiResourcesRule(
                metric="cpu_util",
                # As aodh_cycle.py names them.
                resource_id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))),
                resource_type="generic",
                aggregation_method="mean",
                threshold=75,
                evaluation_periods=5,
            ),
            "service",
        )
        for number in range(ALARMS)
    ]
    rounds = []
    for _ in range(CYCLES):
        began = time.perf_counter()
        answers = store.ask(questions, time.time_ns() // 1_000)
        rounds.append(time.perf_counter() - began)
        if any(None in answer.values for answer in answers):
            raise BenchError(f"Gnocchi has not all datapoints: {answers[0]}")
    return ALARMS / median(rounds[1:])


def _cycles(directory: Path, aodh: Path, gnocchi: str) -> list[dict[str, Any]]:
    log = directory / "cycles.log"
    python, program = VENV / "bin/python", PEERS / "aodh_cycle.py"
    printed = run_to_end(
        log, python, "-W", "ignore", program, aodh, gnocchi, str(ALARMS), str(CYCLES)
    )
    cycles = [json.loads(line) for line in printed.splitlines()]
    if any(cycle["ok"] != ALARMS for cycle in cycles):
        raise BenchError(f"Aodh did not judge all alarms: {cycles}; {tail(log)}")
    return cycles


def serve_gnocchi(stack: ExitStack, directory: Path, database: str) -> str:
    """Start Gnocchi's API and two workers until the stack unwinds; give the API's URL."""
    paste = next(VENV.glob("lib/*/site-packages/gnocchi/rest/api-paste.ini"))
    (directory / "paste.ini").write_text(
        paste.read_text().replace("keystone_authtoken gnocchiv1", "gnocchiv1")
    )
    for name in ("data", "incoming", "locks"):
        (directory / name).mkdir()
    conf = directory / "gnocchi.conf"
    conf.write_text(
        settings(
            DEFAULT={"coordination_url": f"file://{directory}/locks"},
            api={"auth_mode": "keystone", "paste_config": directory / "paste.ini"},
            indexer={"url": database},
            storage={"driver": "file", "file_basepath": directory / "data"},
            incoming={"driver": "file", "file_basepath": directory / "incoming"},
            metricd={"workers": 2, "metric_processing_delay": 1},
        )
    )
    upgrade = (VENV / "bin/gnocchi-upgrade", "--config-file", conf, "--sacks-number", "8")
    run_to_end(directory / "upgrade.log", *upgrade)
    worker = (VENV / "bin/gnocchi-metricd", "--config-file", conf)
    stack.enter_context(running(directory / "metricd.log", *worker))
    port, log = free_port(), directory / "gnocchi.log"
    api = (VENV / "bin/python", "-W", "ignore", PEERS / "gnocchi_serve.py", conf, str(port))
    url = f"http://127.0.0.1:{port}"
    wait_for(url, stack.enter_context(running(log, *api)), log)
    return url
