# SPDX-License-Identifier: Apache-2.0
"""Deciding: datapoints in, a state with its reason out. Pure: no I/O, no clock.

The rule, over the window's N datapoints of which M must agree:

- at least M breach the threshold: `alarm`;
- else at least M do not breach: `ok`;
- else the state stays, but from `insufficient data` the newest datapoint decides;
- fewer than M datapoints exist: `insufficient data`.

With M = N this is Aodh's rule to the letter. `treat_missing_data` says how a period without samples
counts: not at all (`missing`), as breaching, as not breaching, or so that too few of them keep the
state (`ignore`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Any

from thermostat.alarms.model import MissingData, State, Statistic, ThresholdRule

OUTLIER_SIGMAS = 2.0


@dataclass(frozen=True, slots=True)
class Datapoint:
    """One statistic of one period, (start, end], over a whole group."""

    start_us: int
    end_us: int
    count: int
    """How many samples it was made from; 0: it is missing."""
    value: float | None
    """The statistic, in the meter's unit; None where it is missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state that follows from a window, and why."""

    state: State
    reason: str
    reason_data: dict[str, Any]


def datapoint(
    statistic: Statistic, start_us: int, end_us: int, samples: Sequence[tuple[int, float]]
) -> Datapoint:
    """Make one datapoint from the (event time, volume) pairs of one period, in any order."""
    count = len(samples)
    if not count:
        return Datapoint(start_us, end_us, 0, None)
    volumes = [volume for _, volume in samples]
    match statistic:
        case Statistic.AVG:
            value = _total(volumes) / count
        case Statistic.MIN:
            value = min(volumes)
        case Statistic.MAX:
            value = max(volumes)
        case Statistic.SUM:
            value = _total(volumes)
        case Statistic.COUNT:
            value = float(count)
        case Statistic.LAST:
            value = max(samples)[1]
        case Statistic.STDDEV:
            mean = _total(volumes) / count
            value = sqrt(_total([(volume - mean) * (volume - mean) for volume in volumes]) / count)
    return Datapoint(start_us, end_us, count, value)


def _total(values: Sequence[float]) -> float:
    """Add exactly; what is too large for a float becomes infinite, or no number at all."""
    try:
        return fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


def window_length(rule: ThresholdRule) -> int:
    """Give how many datapoints `judge` wants: N, or 2 N where outliers are to be excluded."""
    return rule.evaluation_periods * (2 if rule.exclude_outliers else 1)


def judge(rule: ThresholdRule, datapoints: Sequence[Datapoint], state: State) -> Verdict:
    """Judge a window of `window_length(rule)` datapoints, oldest first, against its rule."""
    if rule.exclude_outliers:
        datapoints = _without_outliers(datapoints)
    window = datapoints[-rule.evaluation_periods :]
    present = [point for point in window if point.count]
    missing = rule.evaluation_periods - len(present)
    breaching = sum(_breaches(rule, point) for point in present)
    holding = len(present) - breaching
    if rule.treat_missing_data is MissingData.BREACHING:
        breaching += missing
    elif rule.treat_missing_data is MissingData.NOT_BREACHING:
        holding += missing

    if breaching + holding < rule.needed:
        if rule.treat_missing_data is MissingData.IGNORE:
            return _verdict(rule, state, state, window)
        return _verdict(rule, State.INSUFFICIENT_DATA, state, window)
    if breaching >= rule.needed:
        return _verdict(rule, State.ALARM, state, window)
    if holding >= rule.needed:
        return _verdict(rule, State.OK, state, window)
    if state is State.INSUFFICIENT_DATA and present:
        newest = State.ALARM if _breaches(rule, present[-1]) else State.OK
        return _verdict(rule, newest, state, window)
    return _verdict(rule, state, state, window)


def _breaches(rule: ThresholdRule, point: Datapoint) -> bool:
    return rule.comparison_operator.holds(point.value, rule.threshold)


def _without_outliers(datapoints: Sequence[Datapoint]) -> Sequence[Datapoint]:
    """Drop the datapoints whose sample count lies outside mean ± 2 sigma of the window's counts."""
    present = [point for point in datapoints if point.count]
    if not present:
        return datapoints
    mean = fsum(point.count for point in present) / len(present)
    sigma = sqrt(fsum((point.count - mean) ** 2 for point in present) / len(present))
    return [
        point
        for point in datapoints
        if not point.count or abs(point.count - mean) <= OUTLIER_SIGMAS * sigma
    ]


def _verdict(
    rule: ThresholdRule, state: State, previous: State, window: Sequence[Datapoint]
) -> Verdict:
    """Say the outcome in words and in Aodh's `reason_data` form."""
    present = [point for point in window if point.count]
    most_recent = present[-1].value if present else None
    change = f"Transition to {state}" if state is not previous else f"Remaining as {state}"
    if state is State.INSUFFICIENT_DATA:
        disposition, count = "unknown", rule.evaluation_periods - len(present)
        why = f"{count} of {rule.evaluation_periods} datapoints missing"
    else:
        disposition = "outside" if state is State.ALARM else "inside"
        count = sum(_breaches(rule, point) is (state is State.ALARM) for point in present)
        why = f"{count} samples {disposition} threshold, most recent: {_figure(most_recent)}"
    values = ", ".join(_figure(point.value) if point.count else "missing" for point in window)
    test = (
        f"{rule.statistic} of {rule.meter_name} over {rule.period} s "
        f"{rule.comparison_operator.symbol} {_figure(rule.threshold)}"
    )
    return Verdict(
        state,
        f"{change} due to {why} ({test}: {values or 'missing'})",
        {
            "type": "threshold",
            "disposition": disposition,
            "count": count,
            "most_recent": most_recent,
            "datapoints": [
                {
                    "period_start": point.start_us / 1e6,
                    "period_end": point.end_us / 1e6,
                    "value": point.value if point.count else None,
                    "count": point.count,
                }
                for point in window
            ],
        },
    )


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
