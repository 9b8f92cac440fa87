# SPDX-License-Identifier: Apache-2.0
"""How many events a second are judged with ten thousand event alarms resident.

A hundred projects have a hundred alarms each, each for the errors of one instance. Every event is
of an instance of one of the projects, which is well: nothing fires. Aodh's evaluator judges a part
of the same events beside it, with the alarms in memory.
"""

import json
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench._processes import BenchError
from tests.service.event_support import condition, document, event_standing
from thermostat.alarms.model import Standing
from thermostat.events.forms import documents_of
from thermostat.events.index import Index
from thermostat.events.judging import judge
from thermostat.events.model import event_of

ALARMS = 10_000
PROJECTS = 100
AT_ONCE = 100
BATCHES = 500
PEER_BATCHES = 20
PYTHON = Path(".bench/aodh/bin/python")
PEER = Path(__file__).parent / "peers" / "aodh_events.py"


def run() -> Iterator[dict[str, Any]]:
    """Yield events a second of one core, from decoded messages to judgements."""
    chance = random.Random(5)
    alarms = [_alarm(number) for number in range(ALARMS)]
    batches = [[_event(chance, batch, n) for n in range(AT_ONCE)] for batch in range(BATCHES)]
    index = Index()
    for alarm in alarms:
        index.put(alarm)
    begun = time.process_time()
    for batch in batches:
        events = [event_of(told) for told in documents_of(batch)]
        if judge(index, events, 0, lambda _key: False):
            raise BenchError("an alarm fired that should not")
    ours = BATCHES * AT_ONCE / (time.process_time() - begun)
    figure = {"name": "event_alarms", "value": round(ours), "unit": "events/s"}
    if PYTHON.exists():
        theirs = _aodh(alarms, batches[: PEER_BATCHES + 1])
        figure |= {"peer": f"Aodh, {theirs:.0f}/s of one core", "ratio": round(ours / theirs, 1)}
    yield figure


def _alarm(number: int) -> Standing:
    query = [
        condition("traits.instance_id", f"i{number}", kind="string"),
        condition("traits.state", "error", kind="string"),
    ]
    project_id = f"p{number % PROJECTS}"
    return event_standing(f"a{number}", "compute.instance.*", query, project_id=project_id)


def _event(chance: random.Random, batch: int, number: int) -> dict[str, Any]:
    instance = chance.randrange(ALARMS)
    return document(
        project_id=f"p{instance % PROJECTS}",
        message_id=f"m{batch}-{number}",
        instance_id=f"i{instance}",
        state="active",
        **{f"trait_{n}": "some text" for n in range(20)},
    )


def _aodh(alarms: Sequence[Standing], batches: Sequence[Sequence[dict[str, Any]]]) -> float:
    """Give Aodh's events a second for all batches but the first."""
    given = {
        "alarms": [
            {
                "alarm_id": alarm.alarm_id,
                "project_id": alarm.project_id,
                "rule": msgspec.to_builtins(alarm.rule),
            }
            for alarm in alarms
        ],
        "batches": batches,
    }
    done = subprocess.run(
        [PYTHON, PEER], input=json.dumps(given), text=True, capture_output=True, check=True
    )
    return (len(batches) - 1) * AT_ONCE / float(done.stdout.splitlines()[-1])
