# SPDX-License-Identifier: Apache-2.0
"""Counted (window, key) pairs by tick, and quantiles of them. Pure: no I/O, no clock.

A percentile is read from a histogram with logarithmic buckets: a value lies in the bucket that ends
at the next power of gamma, so the answer is within 1 % of an exact one, and two histograms merge by
adding counts (Masson, Rim, Lee: DDSketch, VLDB 2019).
"""

import numpy as np
from numpy.typing import NDArray

RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = float(np.log(_GAMMA))
_FURTHEST = 36_000
"""The exponent of the outermost bucket: beyond every finite float."""
_SHIFT = 40_000
"""What is added to an exponent, so that keys are positive and 0 is free for zero."""
_KEY_BITS = 32
_KEY_OFFSET = 1 << (_KEY_BITS - 1)
_KEY_MASK = (1 << _KEY_BITS) - 1
_NOTHING = (np.empty(0, np.int64), np.empty(0, np.int64))
_COMPACT_FROM = 4096
"""Pairs that may wait in a tick before they are merged."""


def bucket_keys(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give each value's bucket; keys are ordered as the values are, and 0 is zero."""
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        exponent = np.ceil(np.log(size) / _LOG_GAMMA)
    exponent = np.clip(exponent, -_FURTHEST, _FURTHEST) + _SHIFT
    return np.where(values == 0, 0, np.sign(values) * exponent).astype(np.int64)


def bucket_values(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the value that stands for each bucket: at most 1 % away from all that lie in it."""
    with np.errstate(over="ignore"):
        size = 2 * np.exp((np.abs(keys) - _SHIFT) * _LOG_GAMMA) / (_GAMMA + 1)
    return np.where(keys == 0, 0.0, np.sign(keys) * size)


class Pairs:
    """How often each (window, key) came in each tick of a ring."""

    def __init__(self) -> None:
        self._merged: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        """By row of the ring; rows without pairs are not there."""
        self._waiting: dict[int, list[NDArray[np.int64]]] = {}

    def add(
        self, rows: NDArray[np.int64], cols: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> None:
        """Count one of each pair."""
        packed = _pack(cols, keys)
        first = int(rows[0])
        present = [first] if (rows == first).all() else np.unique(rows).tolist()
        for row in present:
            part = packed if len(present) == 1 else packed[rows == row]
            waiting = self._waiting.setdefault(row, [])
            waiting.append(part)
            if sum(map(len, waiting)) > _COMPACT_FROM:
                self._merge(row)

    def clear(self, row: int, cols: NDArray[np.int64]) -> None:
        """Forget the pairs of these windows, in ascending order, in one tick."""
        packed, counts = self._merge(row)
        if not len(packed):
            return
        _, own = _positions(packed >> _KEY_BITS, cols)
        if own.all():
            del self._merged[row]
        else:
            self._merged[row] = (packed[~own], counts[~own])

    def empty(self, col: int) -> None:
        """Forget all pairs of one window."""
        only = np.array([col])
        for row in {*self._merged, *self._waiting}:
            self.clear(row, only)

    def read(
        self, rows: NDArray[np.int64], cols: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Give the pairs of these windows over these ticks, ordered by window and key.

        `cols` is ascending. Gives the window's position in it, the key, and the count.
        """
        merged = [self._merge(row) for row in rows.tolist()]
        packed = np.concatenate([one for one, _ in merged])
        counts = np.concatenate([one for _, one in merged])
        positions, own = _positions(packed >> _KEY_BITS, cols)
        key = (packed & _KEY_MASK) - _KEY_OFFSET
        order = np.lexsort((key[own], positions[own]))
        return positions[own][order], key[own][order], counts[own][order]

    def _merge(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        waiting = self._waiting.pop(row, None)
        if waiting:
            known, counted = self._merged.get(row, _NOTHING)
            packed = np.concatenate([known, *waiting])
            counts = np.concatenate([counted, np.ones(len(packed) - len(known), np.int64)])
            unique, inverse = np.unique(packed, return_inverse=True)
            total = np.bincount(inverse, weights=counts, minlength=len(unique)).astype(np.int64)
            self._merged[row] = (unique, total)
        return self._merged.get(row, _NOTHING)


def quantiles(
    positions: NDArray[np.int64],
    keys: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    windows: int,
    quantile: float,
) -> NDArray[np.float64]:
    """Give the quantile of each window from its counted buckets; NaN where it has none.

    It is the value at rank floor(q (n - 1)) of the n sorted samples, counted from 0.
    """
    totals = np.bincount(positions, weights=counts, minlength=windows).astype(np.int64)
    values = np.full(windows, np.nan)
    filled = np.flatnonzero(totals)
    if len(filled):
        running = np.cumsum(counts)
        before = np.cumsum(totals) - totals
        rank = np.floor(quantile * (totals[filled] - 1)).astype(np.int64)
        at = np.searchsorted(running, before[filled] + rank, side="right")
        values[filled] = bucket_values(keys[at])
    return values


def _pack(cols: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return (cols.astype(np.int64) << _KEY_BITS) | (keys + _KEY_OFFSET)


def _positions(
    wanted: NDArray[np.int64], cols: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give where each value stands in the ascending `cols`, and whether it stands there at all."""
    positions = np.searchsorted(cols, wanted)
    inside = positions < len(cols)
    inside[inside] = cols[positions[inside]] == wanted[inside]
    return positions, inside
