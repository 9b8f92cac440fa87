# SPDX-License-Identifier: Apache-2.0
"""Why an alarm is in a state, in words and in Aodh's `reason_data`. Pure: no I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thermostat.alarms.model import State
from thermostat.alarms.rules import ThresholdRule
from thermostat.evaluate import decide


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
class Group:
    """What is known of a group's members when a step is judged."""

    members: int
    """How many series the query matches."""
    live: int
    """How many of them are not silent."""
    reporting: int
    """How many of the live ones reported in the newest period."""
    interval_s: float
    """The time between two samples of the slowest live member; 0 where it is not known."""


Reason = tuple[str, dict[str, Any]]
"""A sentence, and Aodh's `reason_data` with our `datapoints`."""


def breaches(rule: ThresholdRule, value: float | None, before: State) -> bool:
    """Tell whether a value breaches: in state alarm, `clear_threshold`."""
    if value is None:
        return False
    threshold = effective_threshold(rule, before)
    found = decide.breaches(
        np.array([value]),
        np.array([threshold]),
        np.array([decide.OPERATOR_MASKS[rule.comparison_operator]], np.uint8),
    )
    return bool(found[0])


def effective_threshold(rule: ThresholdRule, before: State) -> float:
    """Give what datapoints are compared with in this state."""
    if before is State.ALARM and rule.clear_threshold is not None:
        return rule.clear_threshold
    return rule.threshold


def counted(rule: ThresholdRule, datapoints: Sequence[Datapoint]) -> Sequence[Datapoint]:
    """Give the last N datapoints, without outliers where the rule excludes them."""
    if rule.exclude_outliers:
        counts = np.array([[point.count] for point in datapoints])
        stays = decide.without_outliers(counts)[:, 0].tolist()
        datapoints = [point for point, kept in zip(datapoints, stays, strict=True) if kept]
    return datapoints[-rule.evaluation_periods :]


def explain(
    rule: ThresholdRule,
    datapoints: Sequence[Datapoint],
    before: State,
    after: State,
    group: Group | None = None,
) -> Reason:
    """Say why a window leads from one state to another, or leaves it."""
    window = counted(rule, datapoints)
    present = [point for point in window if point.count]
    most_recent = present[-1].value if present else None
    if after is State.INSUFFICIENT_DATA:
        disposition, count = "unknown", rule.evaluation_periods - len(present)
        why = _what_is_missing(rule, count, group)
    else:
        disposition = "outside" if after is State.ALARM else "inside"
        count = sum(
            breaches(rule, point.value, before) is (after is State.ALARM) for point in present
        )
        why = f"{count} samples {disposition} threshold, most recent: {figure(most_recent)}"
    change = f"Transition to {after}" if after is not before else f"Remaining as {after}"
    values = ", ".join(figure(point.value) if point.count else "missing" for point in window)
    return (
        f"{change} due to {why} ({comparison(rule, before)}: {values or 'missing'})",
        {
            "type": "threshold",
            "disposition": disposition,
            "count": count,
            "most_recent": most_recent,
            "threshold": rule.threshold,
            "comparison_operator": rule.comparison_operator,
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


def comparison(rule: ThresholdRule, before: State = State.OK) -> str:
    """Give a rule as a comparison, with what datapoints are compared with in this state."""
    return (
        f"{rule.statistic} of {rule.meter_name} over {rule.period} s "
        f"{rule.comparison_operator.symbol} {figure(effective_threshold(rule, before))}"
    )


def figure(value: float | None) -> str:
    """Give a number with six digits."""
    return "none" if value is None else f"{value:.6g}"


def _what_is_missing(rule: ThresholdRule, missing: int, group: Group | None) -> str:
    why = f"{missing} of {rule.evaluation_periods} datapoints missing"
    if group is None:
        return why
    if not group.members:
        return f"{why}; no resource matches the query"
    why = f"{why}; {group.reporting} of {group.live} live members reported"
    if rule.min_reporting_ratio:
        why = f"{why}, at least {figure(rule.min_reporting_ratio * 100)} % must"
    if group.interval_s > rule.period:
        why = (
            f"{why}; members report every {figure(group.interval_s)} s,"
            f" the period is {rule.period} s"
        )
    return why
