# SPDX-License-Identifier: Apache-2.0
"""How many resident alarms the engine judges a second, and what one sample costs beside them."""

import time
from collections.abc import Iterator

import numpy as np

from thermostat.alarms.model import Alarm, Severity
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import ThresholdRule
from thermostat.evaluate.engine import Engine
from thermostat.samples.model import Sample, SampleType
from thermostat.store.base import Batch
from thermostat.store.memory import MemoryStore

ALARMS = 5_000
STEPS = 5
START_S = 1_700_000_000


def run() -> Iterator[dict]:
    """Yield alarms judged a second: every alarm has one member, one step closes for all at once."""
    store = MemoryStore()
    engine = Engine(store, allowed_lag_s=15)
    samples = [_sample(index) for index in range(ALARMS)]
    ids = store.intern(samples)
    # The store in memory finds a series by looking through all of them: the bench is not about it.
    found = {one.series_id: one for one in store._series.values()}
    store.get_series = found.__getitem__
    store.series = lambda _selection: []
    for index in range(ALARMS):
        engine.put(_alarm(index), START_S * 1_000_000)
    judged = ingested = 0.0
    for step in range(1, STEPS + 1):
        now_us = (START_S + 10 * step) * 1_000_000
        batch = Batch(ids, np.full(ALARMS, now_us), np.full(ALARMS, 10.0 if step % 2 else 90.0))
        began = time.process_time()
        engine.ingest(batch)
        ingested += time.process_time() - began
        began = time.process_time()
        transitions = engine.evaluate(now_us)
        judged += time.process_time() - began
        if len(transitions) != ALARMS:
            raise AssertionError(f"{len(transitions)} transitions of {ALARMS} alarms")
        for transition in transitions:
            engine.committed(transition)
    yield {"name": "evaluate_alarms", "value": round(ALARMS * STEPS / judged), "unit": "alarms/s"}
    yield {"name": "ingest_windows", "value": round(ALARMS * STEPS / ingested), "unit": "samples/s"}


def _sample(index: int) -> Sample:
    return Sample(
        name="cpu_util",
        type=SampleType.GAUGE,
        unit="%",
        volume=10.0,
        resource_id=f"vm-{index}",
        project_id="p",
        timestamp_us=START_S * 1_000_000,
        metadata={"user_metadata": {"server_group": f"g{index}"}},
    )


def _alarm(index: int) -> Alarm:
    return Alarm(
        alarm_id=str(index),
        name=str(index),
        description="",
        enabled=True,
        severity=Severity.LOW,
        rule=ThresholdRule(
            meter_name="cpu_util",
            query=(Condition("resource_id", Operator.EQ, f"vm-{index}"),),
            period=10,
            comparison_operator=Operator.GT,
            threshold=50.0,
        ),
        user_id="u",
        project_id="p",
        state_timestamp_us=0,
        timestamp_us=0,
    )
