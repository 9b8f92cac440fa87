# SPDX-License-Identifier: Apache-2.0
"""Evaluate alarms with Aodh's own evaluator, in its own environment; print a JSON line per cycle.

usage: aodh_cycle.py CONFIGURATION GNOCCHI_URL ALARMS CYCLES

Each alarm compares the mean of one metric over five minutes, as the alarms of `evaluate_alarms` do.
A cycle is what aodh-evaluator does once an interval: all alarms that are due, one after the other.
"""

import datetime
import json
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import requests
import sqlalchemy
from aodh import coordination, evaluator, service, storage
from aodh.storage import models
from stevedore import extension

configuration, gnocchi, alarms, cycles = sys.argv[1:]
HEADERS = {"X-Project-Id": "service", "X-User-Id": "aodh", "X-Roles": "admin"}
POLICY = "minute"
LIMIT_S = 120
session = requests.Session()


def ask(method, path, body=None):
    """Give Gnocchi's answer; what exists already is no error."""
    answer = session.request(method, f"{gnocchi}/v1/{path}", json=body, headers=HEADERS, timeout=60)
    if answer.status_code >= 400 and answer.status_code != 409:
        sys.exit(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    return answer.json() if answer.content else None


def create_resource(number):
    """Give the ids of a new resource and of its metric."""
    identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))
    body = {"id": identifier, "metrics": {"cpu_util": {"archive_policy_name": POLICY}}}
    return identifier, ask("POST", "resource/generic", body)["metrics"]["cpu_util"]


def push(metrics):
    """Send eight minutes of points up to now, and wait until Gnocchi shows them."""
    now = int(time.time()) // 60 * 60
    points = [
        {"timestamp": datetime.datetime.utcfromtimestamp(at).isoformat(), "value": 50.0}
        for at in range(now - 480, now + 1, 60)
    ]
    ask("POST", "batch/metrics/measures", dict.fromkeys(metrics, points))
    deadline = time.monotonic() + LIMIT_S
    while ask("GET", "status")["storage"]["summary"]["measures"]:
        if time.monotonic() > deadline:
            sys.exit(f"Gnocchi has not processed the measures after {LIMIT_S} s")
        time.sleep(0.1)


def alarm(number, resource):
    """Give an alarm over a resource's metric."""
    now = datetime.datetime.utcnow()
    return models.Alarm(
        alarm_id=str(uuid.uuid4()),
        type="gnocchi_resources_threshold",
        enabled=True,
        name=f"alarm {number}",
        description="",
        timestamp=now,
        user_id="user",
        project_id="project",
        state="insufficient data",
        state_timestamp=now,
        state_reason="Not evaluated yet",
        ok_actions=[],
        alarm_actions=[],
        insufficient_data_actions=[],
        repeat_actions=False,
        rule={
            "metric": "cpu_util",
            "resource_id": resource,
            "resource_type": "generic",
            "aggregation_method": "mean",
            "threshold": 75.0,
            "comparison_operator": "gt",
            "granularity": 60,
            "evaluation_periods": 5,
        },
        time_constraints=[],
        severity="low",
    )


def evaluation_service(conf):
    """Give the evaluation service without its timers: the caller asks for each cycle."""
    made = evaluator.AlarmEvaluationService.__new__(evaluator.AlarmEvaluationService)
    made.conf = conf
    made.evaluators = extension.ExtensionManager(
        namespace=made.EVALUATOR_EXTENSIONS_NAMESPACE, invoke_on_load=True, invoke_args=(conf,)
    )
    made.storage_conn = storage.get_connection_from_config(conf)
    made.partition_coordinator = coordination.PartitionCoordinator(conf)
    return made


definition = [{"granularity": 60, "timespan": 86_400}]
ask(
    "POST",
    "archive_policy",
    {"name": POLICY, "definition": definition, "aggregation_methods": ["mean"]},
)
with ThreadPoolExecutor(4) as threads:
    resources = list(threads.map(create_resource, range(int(alarms))))
metrics = [metric for _, metric in resources]
conf = service.prepare_service(argv=["--config-file", configuration], with_gmr=False)
aodh = evaluation_service(conf)
for number, (resource, _) in enumerate(resources):
    aodh.storage_conn.create_alarm(alarm(number, resource))
engine = sqlalchemy.create_engine(conf.database.connection)
due = "update alarm set evaluate_timestamp = now() at time zone 'utc' - interval '1 day'"
for cycle in range(int(cycles)):
    push(metrics)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(due))
    began, cpu = time.perf_counter(), time.process_time()
    aodh._evaluate_assigned_alarms()
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    with engine.begin() as connection:
        query = "select count(*) from alarm where state = 'ok'"
        judged = connection.execute(sqlalchemy.text(query)).scalar()
    print(json.dumps({"cycle": cycle, "wall_s": wall_s, "cpu_s": cpu_s, "ok": judged}), flush=True)
