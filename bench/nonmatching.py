# SPDX-License-Identifier: Apache-2.0
"""What a hundred resident rules that match nothing cost: the loss of samples a second.

Four engines have a thousand series of one project with an alarm on each. Two of them have a hundred
rules more, of the same meters and project, whose conditions no series meets. Each round goes to all
four, in an order that changes.
"""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from bench._engine import LAG_S, START_US
from bench._fleet import TICK_S, US_PER_S, FleetStore, alarms, one_round
from thermostat.alarms.model import Alarm
from thermostat.alarms.query import Condition, Operator
from thermostat.evaluate.engine import Engine

SERIES = 1000
RULES = 100
ROUNDS = 1000
_CONDITIONS = (
    Condition("metadata.user_metadata.server_group", Operator.EQ, "nobody"),
    Condition("metadata.flavor.vcpus", Operator.GT, "64"),
    Condition("metadata.host", Operator.EQ, "elsewhere"),
    Condition("resource_id", Operator.LT, "0"),
)


def run() -> Iterator[dict[str, Any]]:
    """Yield the loss in percent of the samples a second that go into windows."""
    more = _rules()
    engines = [_load([]), _load(more), _load(more), _load([])]  # no advantage to who comes first
    store = FleetStore(SERIES, START_US)
    chance = np.random.default_rng(3)
    costs_s = np.zeros((ROUNDS, len(engines)))
    for number in range(ROUNDS):
        now_us = START_US + (number + 1) * TICK_S * US_PER_S
        samples = one_round(store.ids, now_us, chance)
        for which in chance.permutation(len(engines)).tolist():
            began = time.perf_counter()
            engines[which].ingest(samples)
            costs_s[number, which] = time.perf_counter() - began
            engines[which].evaluate(now_us)
    without_s, with_s = costs_s[:, [0, 3]].sum(axis=1), costs_s[:, [1, 2]].sum(axis=1)
    loss = 100 * (1 - float(np.median(without_s / with_s)))
    yield {"name": "nonmatching_rules_loss", "value": round(loss, 1), "unit": "%"}


def _load(more: list[Alarm]) -> Engine:
    engine = Engine(FleetStore(SERIES, START_US), allowed_lag_s=LAG_S)
    standing = [alarm.standing for alarm in (*alarms(SERIES, START_US), *more)]
    engine.load(standing, START_US, START_US)
    return engine


def _rules() -> list[Alarm]:
    """Give alarms whose meter and project have series, none of which their condition selects."""
    return [
        msgspec.structs.replace(
            alarm,
            alarm_id=str(uuid.uuid4()),
            rule=msgspec.structs.replace(
                alarm.rule, query=(_CONDITIONS[number % len(_CONDITIONS)],)
            ),
        )
        for number, alarm in enumerate(alarms(RULES, START_US))
    ]
