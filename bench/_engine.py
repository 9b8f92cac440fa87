# SPDX-License-Identifier: Apache-2.0
"""The engine over a fleet, round by round: what a round costs, in processor seconds.

usage: python -m bench._engine ALARMS      (prints one JSON object)
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import cache
from statistics import median

import numpy as np

from bench._fleet import TICK_S, US_PER_S, FleetStore, alarms, one_round
from bench._processes import resident_bytes
from thermostat.evaluate.engine import Engine

START_US = 1_700_000_000 * US_PER_S
LAG_S = 15.0
COUNTED_ROUNDS = 7
WARM_UP_ROUNDS = 3
"""Rounds that are not counted: arrays grow and pages are touched for the first time."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """Medians over rounds in which every alarm gets a sample and is judged once."""

    load_s: float
    ingest_s: float
    judge_s: float
    resident_bytes: int
    """Of the whole process, after the rounds."""


def measure(count: int, rounds: int) -> Rounds:
    """Load so many alarms, each over a series of its own, and judge them round by round."""
    chance = np.random.default_rng(1)
    store = FleetStore(count, START_US)
    engine = Engine(store, allowed_lag_s=LAG_S)
    began = time.process_time()
    standing = (alarm.standing for alarm in alarms(count, START_US))
    engine.load(standing, START_US, START_US)
    load_s = time.process_time() - began
    ingest_s, judge_s = [], []
    for number in range(1, WARM_UP_ROUNDS + rounds + 1):
        now_us = START_US + number * TICK_S * US_PER_S
        batch = one_round(store.ids, now_us, chance)
        began = time.process_time()
        engine.ingest(batch)
        ingested = time.process_time()
        transitions = engine.evaluate(now_us)
        judged = time.process_time()
        if transitions or (engine.judged_us or 0) < now_us:
            raise AssertionError(
                f"{len(transitions)} transitions, judged to {engine.judged_us} and not {now_us}"
            )
        ingest_s.append(ingested - began)
        judge_s.append(judged - ingested)
    return Rounds(
        load_s,
        median(ingest_s[WARM_UP_ROUNDS:]),
        median(judge_s[WARM_UP_ROUNDS:]),
        resident_bytes(),
    )


@cache
def in_a_process(count: int) -> Rounds:
    """Measure once a run, in a process of its own, so that its memory is this fleet's."""
    command = [sys.executable, "-m", "bench._engine", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
    return Rounds(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(measure(int(sys.argv[1]), rounds=COUNTED_ROUNDS))))
