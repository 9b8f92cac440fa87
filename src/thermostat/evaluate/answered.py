# SPDX-License-Identifier: Apache-2.0
"""Deciding by what an outside store has answered. Pure: no I/O, no clock.

The N newest datapoints decide as those of a live window do, all N being needed. Of a `prometheus`
rule with `for` the breach must also have lasted: until the points of that whole span breach, an
alarm stays as it is, or becomes `ok` where its data was insufficient.
"""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import State
from thermostat.alarms.outside import (
    GnocchiMetricsRule,
    GnocchiResourceGroupRule,
    GnocchiResourcesRule,
    OutsideRule,
    PrometheusRule,
)
from thermostat.alarms.rules import MissingData
from thermostat.evaluate import decide
from thermostat.evaluate.reasons import Reason, figure
from thermostat.outside.base import Answer

_MISSING = decide.POLICY_NUMBERS[MissingData.MISSING]
MOST_SHOWN = 200
"""Characters of a query that a reason shows."""


class Shape(NamedTuple):
    """How the datapoints of an answer are counted."""

    periods: int
    """N: how many of the newest must agree."""
    lasting: int
    """How many of the newest must breach for an alarm, beside that."""

    @staticmethod
    def of(rule: OutsideRule) -> "Shape":
        """Give the shape of a rule's answers."""
        return Shape(rule.evaluation_periods, rule.lasting)

    @property
    def points(self) -> int:
        """How many datapoints an answer has."""
        return max(self.periods, self.lasting)


def states(
    values: NDArray[np.float64],
    shape: Shape,
    *,
    threshold: NDArray[np.float64],
    operator: NDArray[np.uint8],
    state: NDArray[np.int8],
) -> NDArray[np.int8]:
    """Give the states that follow.

    `values` has the datapoints, shape (points, alarms), the oldest first; NaN: there is none.
    `operator` has `decide.OPERATOR_MASKS`.
    """
    breaching = decide.breaches(values, threshold, operator)
    newest = slice(len(values) - shape.periods, None)
    after = decide.states(
        np.sum(~np.isnan(values[newest]), axis=0, dtype=np.uint8),
        np.sum(breaching[newest], axis=0, dtype=np.uint8),
        periods=shape.periods,
        needed=np.full(len(state), shape.periods, np.uint8),
        policy=np.full(len(state), _MISSING, np.uint8),
        state=state,
    )
    undecided = after == decide.UNDECIDED
    after[undecided] = np.where(breaching[-1, undecided], decide.ALARM, decide.OK)
    if shape.lasting > 1:
        has_lasted = breaching[len(values) - shape.lasting :].all(axis=0)
        too_soon = (after == decide.ALARM) & ~has_lasted
        before = state[too_soon]
        after[too_soon] = np.where(before == decide.UNKNOWN, decide.OK, before)
    return after


def explain(rule: OutsideRule, answer: Answer, before: State, after: State) -> Reason:
    """Say why an answer leads from one state to another, or leaves it."""
    values = [None if value is None or isnan(value) else value for value in answer.values]
    present = [value for value in values if value is not None]
    most_recent = present[-1] if present else None
    if after is State.INSUFFICIENT_DATA:
        newest = values[-rule.evaluation_periods :]
        disposition, count = "unknown", newest.count(None)
        why = f"{count} of {len(newest)} datapoints missing"
        if answer.reason is not None:
            why = f"{why}; {answer.reason}"
    else:
        disposition = "outside" if after is State.ALARM else "inside"
        breaching = int(np.count_nonzero(_breaches(rule, present)))
        count = breaching if after is State.ALARM else len(present) - breaching
        why = f"{count} samples {disposition} threshold, most recent: {figure(most_recent)}"
    change = f"Transition to {after}" if after is not before else f"Remaining as {after}"
    shown = ", ".join("missing" if value is None else figure(value) for value in values)
    return (
        f"{change} due to {why} ({comparison(rule)}: {shown})",
        {
            "type": "threshold",
            "disposition": disposition,
            "count": count,
            "most_recent": most_recent,
            "threshold": rule.threshold,
            "comparison_operator": rule.comparison_operator,
            "datapoints": [{"value": value} for value in values],
        },
    )


def comparison(rule: OutsideRule) -> str:
    """Give a rule as a comparison."""
    compared = f"{_subject(rule)} {rule.comparison_operator.symbol} {figure(rule.threshold)}"
    if isinstance(rule, PrometheusRule) and rule.for_:
        return f"{compared} for {rule.for_} s"
    return compared


def _subject(rule: OutsideRule) -> str:
    match rule:
        case PrometheusRule():
            return _shown(rule.query)
        case GnocchiResourcesRule():
            what = f"{rule.metric} of {rule.resource_type} {rule.resource_id}"
        case GnocchiMetricsRule():
            what = f"metrics {_shown(', '.join(rule.metrics))}"
        case GnocchiResourceGroupRule():
            what = f"{rule.metric} of each {rule.resource_type} with {_shown(rule.query)}"
    return f"{rule.aggregation_method} of {what} over {rule.granularity} s"


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _breaches(rule: OutsideRule, values: Sequence[float]) -> NDArray[np.bool_]:
    return decide.breaches(
        np.array(values, np.float64),
        np.array([rule.threshold]),
        np.array([decide.OPERATOR_MASKS[rule.comparison_operator]], np.uint8),
    )
