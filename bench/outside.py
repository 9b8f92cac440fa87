# SPDX-License-Identifier: Apache-2.0
"""What alarms over an outside store cost the server, beside what the store itself takes.

A hundred thousand alarms of a few shapes, each over a resource of its own. All of them are due, the
fake store answers at once, and all of them are judged; one in a hundred changes its state.
"""

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import msgspec
import numpy as np

from bench._fleet import US_PER_S, alarms
from thermostat.alarms.model import Alarm
from thermostat.alarms.outside import GnocchiResourcesRule
from thermostat.alarms.query import Operator
from thermostat.evaluate.engine import Engine
from thermostat.outside.base import Answer, Question
from thermostat.store.memory import MemoryStore

ALARMS = 100_000
ROUNDS = 7
CHANGING = 0.01
START_US = 1_700_000_040 * US_PER_S
PERIODS = 3
_CALM, _BREACHING = Answer((10.0,) * PERIODS), Answer((99.0,) * PERIODS)


def run() -> Iterator[dict[str, Any]]:
    """Yield alarms asked for and judged a second of one core, without the store's own time."""
    yield {"name": "outside_alarms", "value": round(ALARMS / seconds(ALARMS)), "unit": "alarms/s"}


def seconds(count: int) -> float:
    """Give the processor seconds of a round in which all alarms are asked for and judged."""
    chance = np.random.default_rng(1)
    engine = Engine(MemoryStore(), 15.0, {"gnocchi_resources_threshold": "gnocchi"})
    engine.load((one.standing for one in _alarms(count)), START_US, None)
    rounds = []
    for number in range(ROUNDS + 2):
        now_us = START_US + number * 60 * US_PER_S
        began = time.process_time()
        (poll,) = engine.asked.due(now_us)
        asked_s = time.process_time() - began
        answers = _answers(poll.questions, chance)
        began = time.process_time()
        engine.asked.take(poll, answers)
        told = 0
        while transitions := engine.evaluate(now_us):
            for transition in transitions:
                engine.committed(transition)
            told += len(transitions)
        rounds.append(asked_s + time.process_time() - began)
        if len(poll.questions) != count or (number and not told):
            raise AssertionError(f"{len(poll.questions)} alarms asked for, {told} changed")
    return median(rounds[2:])


def _answers(questions: Sequence[Question], chance: np.random.Generator) -> list[Answer]:
    breaching = chance.random(len(questions)) < CHANGING
    return [_BREACHING if one else _CALM for one in breaching.tolist()]


def _alarms(count: int) -> Iterator[Alarm]:
    for number, alarm in enumerate(alarms(count, START_US)):
        rule = GnocchiResourcesRule(
            metric=("cpu", "memory.usage", "disk.root.size")[number % 3],
            resource_id=f"vm-{number}",
            resource_type="instance",
            aggregation_method="mean",
            threshold=80.0,
            comparison_operator=Operator.GT,
            evaluation_periods=PERIODS,
        )
        yield msgspec.structs.replace(alarm, rule=rule, judged_us=None)
