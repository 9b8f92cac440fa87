# SPDX-License-Identifier: Apache-2.0
"""Which members of a window reported in which tick, for rules with a `min_reporting_ratio`. Pure.

Only the pools of such rules keep this.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thermostat.evaluate.cells import Rows
from thermostat.evaluate.members import Edges, is_live
from thermostat.evaluate.sketch import Pairs


class Period(NamedTuple):
    """One period of all windows of a pool."""

    begin: int
    """The tick before its first one."""
    end: int
    """Its last tick."""
    rows: Rows


ROUNDING = 1e-9
"""What a share may miss its ratio by: 3 of 5 members are 0.6, whatever the last digit says."""


class Reporters:
    """The (window, series) pairs of each tick of a ring."""

    def __init__(self) -> None:
        self._pairs = Pairs()

    def add(
        self, rows: NDArray[np.int64], cols: NDArray[np.int64], series: NDArray[np.int64]
    ) -> None:
        """Note that these series reported."""
        self._pairs.add(rows, cols, series)

    def clear(self, row: int, cols: NDArray[np.int64]) -> None:
        """Forget one tick of these windows, in ascending order."""
        self._pairs.clear(row, cols)

    def empty(self, col: int) -> None:
        """Forget one window."""
        self._pairs.empty(col)

    def enough(
        self,
        edges: Edges,
        periods: Sequence[Period],
        *,
        cols: NDArray[np.int64],
        ratio: NDArray[np.float64],
        tick_us: int,
    ) -> NDArray[np.bool_]:
        """Tell in which periods the share of live members that reported is at least the ratio.

        Shape (periods, windows). Live are those that were when the period began, and those that
        have joined in it; not those that warm up. Without live members no share is enough.
        """
        ticks_us = np.full(len(edges.position), tick_us)
        answer = []
        for period in periods:
            begin_us = np.full(len(ticks_us), period.begin * tick_us)
            live = is_live(edges, begin_us, ticks_us)
            live &= np.maximum(edges.first_us, edges.from_us) <= period.end * tick_us
            ring_rows = np.concatenate([np.arange(span.start, span.stop) for span in period.rows])
            position, series, _ = self._pairs.read(ring_rows, cols)
            reported = np.isin(
                edges.position << 32 | edges.series, position << 32 | series, kind="sort"
            )
            windows = len(cols)
            members = np.bincount(edges.position[live], minlength=windows)
            reporting = np.bincount(edges.position[live & reported], minlength=windows)
            answer.append((members > 0) & (reporting >= ratio * members - ROUNDING))
        return np.stack(answer)
