# SPDX-License-Identifier: Apache-2.0
"""Deciding: vectors of datapoints in, vectors of states out. Pure: no I/O, no clock.

The rule, over the window's N datapoints of which M must agree:

- at least M breach the threshold: `alarm`;
- else at least M do not breach: `ok`;
- else the state stays, but from `insufficient data` the newest datapoint decides;
- fewer than M datapoints exist: `insufficient data`.

With M = N this is Aodh's rule to the letter. `treat_missing_data` says how a period without samples
counts: not at all (`missing`), as breaching, as not breaching, or so that too few of them keep the
state (`ignore`).

Every array has one element per window, or one row per datapoint, oldest first, and one column per
window. `reference.py` says the same for one window in plain Python.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import State
from thermostat.alarms.query import Operator
from thermostat.alarms.rules import MissingData

OK, UNKNOWN, ALARM = np.int8(0), np.int8(1), np.int8(2)
"""States as numbers, in the order of Kleene's logic: `and` is the least, `or` the greatest."""

STATES: tuple[State, ...] = (State.OK, State.INSUFFICIENT_DATA, State.ALARM)
"""The state of each number."""
NUMBERS: Mapping[State, int] = {state: number for number, state in enumerate(STATES)}

_POLICIES = tuple(MissingData)
POLICY_NUMBERS: Mapping[MissingData, int] = {policy: i for i, policy in enumerate(_POLICIES)}
_IGNORE = POLICY_NUMBERS[MissingData.IGNORE]
_BREACHING = POLICY_NUMBERS[MissingData.BREACHING]
_NOT_BREACHING = POLICY_NUMBERS[MissingData.NOT_BREACHING]

_BELOW, _EQUAL, _ABOVE = 1, 2, 4
OPERATOR_MASKS: Mapping[Operator, int] = {
    Operator.LT: _BELOW,
    Operator.LE: _BELOW | _EQUAL,
    Operator.EQ: _EQUAL,
    Operator.NE: _BELOW | _ABOVE,
    Operator.GE: _EQUAL | _ABOVE,
    Operator.GT: _ABOVE,
}
"""Which of below, equal and above breach, as bits."""

TOLERANCE = 1e-12
"""A value that is this close to its threshold, relative to the threshold, is equal to it.

Sums of floating-point numbers depend on their order in the last digits; a decision must not.
"""
OUTLIER_SIGMAS = 2


def breaches(
    values: NDArray[np.float64], threshold: NDArray[np.float64], mask: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Tell which values breach; one that is no number breaches nothing."""
    tolerance = np.abs(threshold) * TOLERANCE
    relation = (values > threshold + tolerance).view(np.uint8) << np.uint8(2)
    relation |= (values < threshold - tolerance).view(np.uint8)
    relation |= (relation == 0).view(np.uint8) << np.uint8(1)
    relation &= mask
    breaching: NDArray[np.bool_] = (relation != 0) & ~np.isnan(values)
    return breaching


def states(
    present: NDArray[np.uint8],
    breaching: NDArray[np.uint8],
    *,
    periods: int,
    needed: NDArray[np.uint8],
    policy: NDArray[np.uint8],
    state: NDArray[np.int8],
) -> NDArray[np.int8]:
    """Give the states that follow; `UNDECIDED` where the newest datapoint decides.

    `present` counts the datapoints that exist among the last `periods`, `breaching` those of them
    that breach.
    """
    missing = np.uint8(periods) - present
    holding = present - breaching
    breaching = breaching + np.where(policy == _BREACHING, missing, np.uint8(0))
    holding += np.where(policy == _NOT_BREACHING, missing, np.uint8(0))
    after = state.copy()
    undecided = (state == UNKNOWN) & (present > 0)
    after[undecided] = UNDECIDED
    np.copyto(after, OK, where=holding >= needed)
    np.copyto(after, ALARM, where=breaching >= needed)
    too_few = (breaching + holding) < needed
    np.copyto(after, UNKNOWN, where=too_few)
    np.copyto(after, state, where=too_few & (policy == _IGNORE))
    return after


UNDECIDED = np.int8(-1)
"""From insufficient data, with datapoints that do not agree: the newest one decides."""


def without_outliers(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which datapoints stay: those whose sample count is within mean ± 2 sigma, or 0.

    Mean and sigma are over the window's datapoints that exist. In whole numbers, so exactly:
    |c - S/n| ≤ 2 sigma is (c n - S)² ≤ 4 (n Q - S²), with S the sum and Q the sum of squares.
    """
    counts = counts.astype(np.int64)
    number = np.count_nonzero(counts, axis=0)
    total = counts.sum(axis=0)
    spread = number * (counts * counts).sum(axis=0) - total * total
    away = counts * number - total
    stays: NDArray[np.bool_] = (counts == 0) | (away * away <= OUTLIER_SIGMAS**2 * spread)
    return stays


def newest_kept(keep: NDArray[np.bool_], periods: int) -> NDArray[np.bool_]:
    """Tell which datapoints are the newest `periods` of those that are kept."""
    rank_from_newest = np.cumsum(keep[::-1], axis=0)[::-1]
    chosen: NDArray[np.bool_] = keep & (rank_from_newest <= periods)
    return chosen
