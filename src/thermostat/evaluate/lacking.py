# SPDX-License-Identifier: Apache-2.0
"""Why windows have insufficient data: which words tell it best, and whether they were told."""

import numpy as np
from numpy.typing import NDArray

from thermostat.evaluate import decide
from thermostat.evaluate.pool import Pool
from thermostat.evaluate.reasons import Group
from thermostat.evaluate.windows import Windows

NOT_TOLD, NO_MEMBERS, SOME_MISSING, TOO_SHORT, SETTLED = range(5)
"""Which words for insufficient data were told; settled: others, before a restart."""


class Lacking:
    """Asks the windows about their members."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def are_untold(
        self,
        pool: Pool,
        cols: NDArray[np.int64],
        after: NDArray[np.int8],
        changed: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Tell which stay in insufficient data for a reason that was not told yet."""
        own = pool.compact(cols)
        lacking: NDArray[np.bool_] = (
            (after == decide.UNKNOWN) & ~changed & (pool.told[own] != SETTLED)
        )
        if lacking.any():
            found = np.flatnonzero(lacking)
            lacking[found] = pool.told[cols[found]] != self._words_for(pool, cols[found])
        return lacking

    def groups(
        self, pool: Pool, step: int, cols: NDArray[np.int64], after: NDArray[np.int8]
    ) -> dict[int, tuple[Group, int]]:
        """Give the group of each window in insufficient data, by position, and which words tell."""
        lacking = np.flatnonzero(after == decide.UNKNOWN)
        if not len(lacking):
            return {}
        groups = self._windows.groups(
            pool.window[cols[lacking]].astype(np.int64),
            begin_us=(step - pool.ticks) * pool.tick_us,
            end_us=step * pool.tick_us,
        )
        words = self._words_for(pool, cols[lacking]).tolist()
        return dict(zip(lacking.tolist(), zip(groups, words, strict=True), strict=True))

    def _words_for(self, pool: Pool, cols: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Give which words tell best why data is insufficient."""
        interval_us = self._windows.interval_us(pool.window[cols])
        words = np.where(interval_us > pool.ticks * pool.tick_us, TOO_SHORT, SOME_MISSING)
        return np.where(interval_us < 0, NO_MEMBERS, words).astype(np.uint8)
