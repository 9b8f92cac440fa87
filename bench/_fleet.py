# SPDX-License-Identifier: Apache-2.0
"""A fleet to measure with: any number of series, an alarm on each, and rounds of their samples.

An instance has 20 meters, a project 50 instances. The alarms have eleven shapes and never change
state: what is measured is judging, not telling.
"""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from thermostat.alarms.model import Alarm, Severity, State
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import MissingData, Statistic, ThresholdRule
from thermostat.samples.model import Sample, SampleType, SeriesKey
from thermostat.store.base import Batch, Selection, Series

METERS = 20
INSTANCES_A_PROJECT = 50
PERIOD_S = 60
TICK_S = 10
POLLS = 6
"""How many samples each series has in the store before anything is measured."""
US_PER_S = 1_000_000

_SHAPES: Sequence[dict[str, Any]] = (
    {},
    {"statistic": Statistic.MAX},
    {"statistic": Statistic.MIN, "comparison_operator": Operator.LT, "threshold": -1.0},
    {"statistic": Statistic.SUM, "threshold": 1e9},
    {"statistic": Statistic.COUNT, "threshold": 1e3, "comparison_operator": Operator.GE},
    {"statistic": Statistic.LAST},
    {"statistic": Statistic.STDDEV},
    {"datapoints_to_alarm": 3},
    {"evaluation_periods": 3, "treat_missing_data": MissingData.NOT_BREACHING},
    {"evaluation_periods": 1, "treat_missing_data": MissingData.IGNORE},
    {"evaluation_periods": 2, "clear_threshold": 40.0},
)


def project_of(number: int) -> str:
    """Give the project of a series."""
    return f"project-{number // METERS // INSTANCES_A_PROJECT}"


def resource_of(number: int) -> str:
    """Give the instance of a series."""
    return f"0f1e2d3c-4b5a-4978-8796-{number // METERS:012d}"


def meter_of(number: int) -> str:
    """Give the meter of a series."""
    return f"meter.{number % METERS}"


def metadata_of(number: int) -> dict[str, Any]:
    """Give what Nova tells of the instance of a series."""
    instance = number // METERS
    return {
        "display_name": f"web-{instance}",
        "host": f"compute-{instance % 1000}",
        "flavor": {"name": "m1.small", "vcpus": 2, "ram": 2048},
        "user_metadata": {"server_group": f"web-{instance // 10}"},
    }


def samples(numbers: range, at_us: int) -> list[Sample]:
    """Give a sample of each of these series; those of an instance share its metadata."""
    made, metadata = [], {}
    for number in numbers:
        if not metadata or number % METERS == 0:
            metadata = metadata_of(number)
        made.append(
            Sample(
                name=meter_of(number),
                type=SampleType.GAUGE,
                unit="%",
                volume=10.0 + number % 7,
                resource_id=resource_of(number),
                project_id=project_of(number),
                user_id="4f5bd1b2a3c44de0b7cf0d6b3b2c4e11",
                timestamp_us=at_us,
                metadata=metadata,
            )
        )
    return made


def alarms(count: int, judged_us: int) -> Iterator[Alarm]:
    """Give an alarm on each of the first series, judged before, in state ok."""
    for number in range(count):
        rule = {"threshold": 50.0, "comparison_operator": Operator.GT, "evaluation_periods": 5}
        yield Alarm(
            alarm_id=str(uuid.UUID(int=number)),
            name=f"busy {number}",
            description="",
            enabled=True,
            severity=Severity.LOW,
            rule=ThresholdRule(
                meter_name=meter_of(number),
                query=(Condition("resource_id", Operator.EQ, resource_of(number)),),
                period=PERIOD_S,
                **{**rule, **_SHAPES[number % len(_SHAPES)]},
            ),
            user_id="user",
            project_id=project_of(number),
            state=State.OK,
            state_reason="Transition to ok due to 5 samples inside threshold",
            state_timestamp_us=judged_us,
            timestamp_us=judged_us,
            judged_us=judged_us,
        )


def one_round(ids: np.ndarray, at_us: int, chance: np.random.Generator) -> Batch:
    """Give a sample of each of these series at one instant."""
    return Batch(ids, np.full(len(ids), at_us, np.int64), 10.0 + chance.random(len(ids)))


class FleetStore:
    """A fleet's series, and a few polls that came before, for what is about the engine alone."""

    def __init__(self, count: int, newest_us: int) -> None:
        """Store polls of all series a minute apart, the newest at this event time."""
        self.ids = np.arange(1, count + 1, dtype=np.int64)
        self._polls_us = [newest_us - back * PERIOD_S * US_PER_S for back in range(POLLS)]

    def get_series(self, series_id: int) -> Series:
        """Give one series."""
        return _series(series_id, metadata_of(series_id - 1))

    def all_series(self) -> Iterator[Series]:
        """Give every series; those of an instance share its metadata."""
        metadata: dict[str, Any] = {}
        for series_id in self.ids.tolist():
            if (series_id - 1) % METERS == 0:
                metadata = metadata_of(series_id - 1)
            yield _series(series_id, metadata)

    def series(self, selection: Selection) -> list[Series]:
        """Give what a selection by resource matches."""
        wanted = {one.value for one in selection.conditions if one.field == "resource_id"}
        return [
            one
            for one in self.all_series()
            if one.key.meter == selection.meter and one.key.resource_id in wanted
        ]

    def scan(self, _series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the polls in a span of event time, of every series."""
        chance = np.random.default_rng(2)
        polls = [at_us for at_us in reversed(self._polls_us) if start_us < at_us <= end_us]
        return Batch.concatenate([one_round(self.ids, at_us, chance) for at_us in polls])

    def subscribe(self, _callback: Any) -> None:
        """Never call it: no series is added."""


def _series(series_id: int, metadata: dict[str, Any]) -> Series:
    number = series_id - 1
    return Series(
        series_id=series_id,
        key=SeriesKey(meter_of(number), resource_of(number), project_of(number)),
        type=SampleType.GAUGE,
        unit="%",
        user_id="4f5bd1b2a3c44de0b7cf0d6b3b2c4e11",
        source="openstack",
        metadata=metadata,
    )
