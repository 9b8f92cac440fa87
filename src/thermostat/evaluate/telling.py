# SPDX-License-Identifier: Apache-2.0
"""From judged windows to transitions: the words, and what their datapoints were. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import State
from thermostat.alarms.query import Operator
from thermostat.alarms.rules import MissingData, ThresholdRule
from thermostat.evaluate import decide
from thermostat.evaluate.pool import Pool
from thermostat.evaluate.reasons import Datapoint, Group, Reason, explain

_OPERATORS = {mask: operator for operator, mask in decide.OPERATOR_MASKS.items()}
_POLICIES = tuple(MissingData)


@dataclass(frozen=True, slots=True)
class Judged:
    """One window at one step, and the state that it leads to."""

    pool: Pool
    col: int
    step: int
    before: State
    after: State
    datapoints: Sequence[Datapoint]
    """The whole window, oldest first."""

    def reason(self, meter: str, group: Group | None) -> Reason:
        """Say why."""
        rule = rule_of(self.pool, self.col, meter)
        return explain(rule, self.datapoints, self.before, self.after, group)


def judged(pool: Pool, step: int, cols: NDArray[np.int64], after: NDArray[np.int8]) -> list[Judged]:
    """Give these windows with their datapoints; `after` has their new states."""
    counts, values = pool.datapoints(step, cols)
    before = pool.state[cols].tolist()
    period_us = pool.ticks * pool.tick_us
    ends_us = [step * pool.tick_us - back * period_us for back in reversed(range(pool.length))]
    return [
        Judged(
            pool,
            col,
            step,
            decide.STATES[old],
            decide.STATES[new],
            [
                Datapoint(end_us - period_us, end_us, count, value if count else None)
                for end_us, count, value in zip(ends_us, own_counts, own_values, strict=True)
            ],
        )
        for col, old, new, own_counts, own_values in zip(
            cols.tolist(),
            before,
            after.tolist(),
            counts.T.tolist(),
            values.T.tolist(),
            strict=True,
        )
    ]


def rule_of(pool: Pool, col: int, meter: str) -> ThresholdRule:
    """Give a window's rule, but for its query."""
    clear_threshold = float(pool.clear_threshold[col])
    threshold = float(pool.threshold[col])
    return ThresholdRule(
        meter_name=meter,
        period=pool.shape.period_s,
        statistic=pool.shape.statistic,
        comparison_operator=Operator(_OPERATORS[int(pool.operator[col])]),
        threshold=threshold,
        evaluation_periods=pool.shape.periods,
        datapoints_to_alarm=int(pool.needed[col]),
        treat_missing_data=_POLICIES[int(pool.policy[col])],
        exclude_outliers=pool.shape.exclude_outliers,
        clear_threshold=None if clear_threshold == threshold else clear_threshold,
        min_reporting_ratio=float(pool.ratio[col]),
    )
