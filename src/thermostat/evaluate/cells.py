# SPDX-License-Identifier: Apache-2.0
"""What the samples of one tick and one window come to, by statistic. Pure: no I/O, no clock.

Cells are columns of shape (ticks in the ring, windows). Samples are scattered into them as they
come; a datapoint merges the cells of its ticks, always from the oldest to the newest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.rules import Statistic
from thermostat.evaluate.sketch import Pairs, bucket_keys, quantiles

Columns = slice | NDArray[np.int64]
"""Which windows: a span of columns, or ascending column numbers."""
Rows = Sequence[slice]
"""Which ticks, oldest first: one span of ring rows, or two where the ring ends between them."""


class Cells(Protocol):
    """The cells of one statistic."""

    count: NDArray[np.int32]
    """How many samples each cell has."""

    def reserve(self, windows: int, used: int) -> None:
        """Make room for this many windows in all, of which so many are in use."""
        ...

    def add(
        self,
        rows: NDArray[np.int64],
        cols: NDArray[np.int64],
        timestamp_us: NDArray[np.int64],
        volume: NDArray[np.float64],
    ) -> None:
        """Count samples, each in its cell."""
        ...

    def clear(self, row: int, cols: Columns, chosen: NDArray[np.bool_] | None) -> None:
        """Empty the cells of one tick, of the chosen columns or of all."""
        ...

    def empty(self, col: int) -> None:
        """Empty all cells of one window."""
        ...

    def merge(
        self, rows: Rows, cols: Columns, datapoints: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Give counts and values, shape (datapoints, windows), of consecutive equal spans of ticks.

        A value without samples is NaN or any number: its count, 0, tells.
        """
        ...


def make_cells(statistic: Statistic, depth: int) -> Cells:
    """Give empty cells for a statistic, in a ring of `depth` ticks."""
    quantile = statistic.quantile
    return _Percentile(depth, quantile) if quantile is not None else _KINDS[statistic](depth)


class _Cells:
    """Columns beside the count, each with the value that an empty cell has."""

    FIELDS: ClassVar[Mapping[str, tuple[type[np.generic], float]]] = {}

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._fields: dict[str, tuple[type[np.generic], float]] = {
            "count": (np.int32, 0),
            **self.FIELDS,
        }
        self.count: NDArray[np.int32]
        for name, (kind, empty) in self._fields.items():
            setattr(self, name, np.full((depth, 0), empty, kind))

    def reserve(self, windows: int, used: int) -> None:
        for name, (kind, empty) in self._fields.items():
            new = np.zeros((self._depth, windows), kind)  # takes no memory until it is used
            new[:, :used] = getattr(self, name)[:, :used]
            if empty:
                new[:, used:] = empty
            setattr(self, name, new)

    def clear(self, row: int, cols: Columns, chosen: NDArray[np.bool_] | None) -> None:
        for name, (_, empty) in self._fields.items():
            if chosen is None:
                getattr(self, name)[row, cols] = empty
            else:
                np.copyto(getattr(self, name)[row, cols], empty, where=chosen)

    def empty(self, col: int) -> None:
        for name, (_, empty) in self._fields.items():
            getattr(self, name)[:, col] = empty

    def add(
        self,
        rows: NDArray[np.int64],
        cols: NDArray[np.int64],
        timestamp_us: NDArray[np.int64],
        volume: NDArray[np.float64],
    ) -> None:
        cells = rows * self.count.shape[1] + cols
        self._scatter(cells, timestamp_us, volume)
        np.add.at(self.count.reshape(-1), cells, np.ones(len(cells), np.int32))

    def _scatter(
        self, cells: NDArray[np.int64], timestamp_us: NDArray[np.int64], volume: NDArray[np.float64]
    ) -> None:
        """Count samples in the other columns; `count` is still as it was before them."""

    def merge(
        self, rows: Rows, cols: Columns, datapoints: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        count = self._block("count", rows, cols, datapoints)
        total = np.add.reduce(count, axis=1, dtype=np.int64)
        return total, self._value(rows, cols, datapoints, total)

    def _value(
        self, _rows: Rows, _cols: Columns, _datapoints: int, total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        return total.astype(np.float64)

    def _block(self, name: str, rows: Rows, cols: Columns, datapoints: int) -> NDArray[Any]:
        """Give one column's cells, shape (datapoints, ticks of each, windows), oldest first."""
        column = getattr(self, name)
        parts = [column[span, cols] for span in rows]
        block: NDArray[Any] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return block.reshape(datapoints, -1, block.shape[-1])


class _Count(_Cells):
    """count."""


class _Sum(_Cells):
    """sum."""

    FIELDS: ClassVar = {"sum": (np.float64, 0.0)}
    sum: NDArray[np.float64]

    def _scatter(
        self,
        cells: NDArray[np.int64],
        _timestamp_us: NDArray[np.int64],
        volume: NDArray[np.float64],
    ) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            np.add.at(self.sum.reshape(-1), cells, volume)

    def _value(
        self, rows: Rows, cols: Columns, datapoints: int, _total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore"):
            total: NDArray[np.float64] = np.add.reduce(
                self._block("sum", rows, cols, datapoints), axis=1
            )
            return total


class _Average(_Sum):
    """sum / count."""

    def _value(
        self, rows: Rows, cols: Columns, datapoints: int, total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return super()._value(rows, cols, datapoints, total) / total


class _Extreme(_Cells):
    """min or max."""

    CHOOSE: ClassVar[np.ufunc]
    extreme: NDArray[np.float64]

    def _scatter(
        self,
        cells: NDArray[np.int64],
        _timestamp_us: NDArray[np.int64],
        volume: NDArray[np.float64],
    ) -> None:
        self.CHOOSE.at(self.extreme.reshape(-1), cells, volume)

    def _value(
        self, rows: Rows, cols: Columns, datapoints: int, _total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        block = self._block("extreme", rows, cols, datapoints)
        extreme: NDArray[np.float64] = self.CHOOSE.reduce(block, axis=1)
        return extreme


class _Minimum(_Extreme):
    """min."""

    FIELDS: ClassVar = {"extreme": (np.float64, np.inf)}
    CHOOSE = np.minimum


class _Maximum(_Extreme):
    """max."""

    FIELDS: ClassVar = {"extreme": (np.float64, -np.inf)}
    CHOOSE = np.maximum


class _Last(_Cells):
    """The newest sample; of several at one instant, the greatest."""

    FIELDS: ClassVar = {"newest_us": (np.int64, 0), "last": (np.float64, 0.0)}
    newest_us: NDArray[np.int64]
    last: NDArray[np.float64]

    def _scatter(
        self,
        cells: NDArray[np.int64],
        timestamp_us: NDArray[np.int64],
        volume: NDArray[np.float64],
    ) -> None:
        newest_us, last = self.newest_us.reshape(-1), self.last.reshape(-1)
        order = np.lexsort((volume, timestamp_us))  # of one cell the last assignment stays
        cells, timestamp_us, volume = cells[order], timestamp_us[order], volume[order]
        known_us = newest_us[cells]
        newer = (timestamp_us > known_us) | ((timestamp_us == known_us) & (volume > last[cells]))
        newest_us[cells[newer]] = timestamp_us[newer]
        last[cells[newer]] = volume[newer]

    def _value(
        self, rows: Rows, cols: Columns, datapoints: int, _total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        newest_us = self._block("newest_us", rows, cols, datapoints)
        last = self._block("last", rows, cols, datapoints)
        at = newest_us.argmax(axis=1)[:, np.newaxis]
        return np.take_along_axis(last, at, axis=1)[:, 0]


class _Deviation(_Cells):
    """stddev, of the whole population.

    Each cell sums differences from its own first sample, and cells merge by their means (Chan,
    Golub, LeVeque 1979): plain sums of squares lose all digits where the mean is large.
    """

    FIELDS: ClassVar = {
        "base": (np.float64, 0.0),
        "sum": (np.float64, 0.0),
        "squares": (np.float64, 0.0),
    }
    base: NDArray[np.float64]
    sum: NDArray[np.float64]
    squares: NDArray[np.float64]

    def _scatter(
        self,
        cells: NDArray[np.int64],
        _timestamp_us: NDArray[np.int64],
        volume: NDArray[np.float64],
    ) -> None:
        base = self.base.reshape(-1)
        empty = self.count.reshape(-1)[cells] == 0
        base[cells[empty]] = volume[empty]
        with np.errstate(over="ignore", invalid="ignore"):
            difference = volume - base[cells]
            np.add.at(self.sum.reshape(-1), cells, difference)
            np.add.at(self.squares.reshape(-1), cells, difference * difference)

    def _value(
        self, rows: Rows, cols: Columns, datapoints: int, total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        count = self._block("count", rows, cols, datapoints).astype(np.float64)
        sums = self._block("sum", rows, cols, datapoints)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            mean_in_cell = np.where(count > 0, sums / count, 0.0)
            within = self._block("squares", rows, cols, datapoints) - sums * mean_in_cell
            level = self._block("base", rows, cols, datapoints) + mean_in_cell
            mean = np.add.reduce(level * count, axis=1) / total
            away = level - mean[:, np.newaxis]
            between = np.where(count > 0, count * away * away, 0.0)
            variance = np.add.reduce(within + between, axis=1) / total
            deviation: NDArray[np.float64] = np.sqrt(np.maximum(variance, 0.0))
        return deviation


class _Percentile(_Cells):
    """A percentile, from a sketch."""

    def __init__(self, depth: int, quantile: float) -> None:
        super().__init__(depth)
        self._quantile = quantile
        self._buckets = Pairs()

    def add(
        self,
        rows: NDArray[np.int64],
        cols: NDArray[np.int64],
        timestamp_us: NDArray[np.int64],
        volume: NDArray[np.float64],
    ) -> None:
        super().add(rows, cols, timestamp_us, volume)
        self._buckets.add(rows, cols, bucket_keys(volume))

    def clear(self, row: int, cols: Columns, chosen: NDArray[np.bool_] | None) -> None:
        super().clear(row, cols, chosen)
        numbers = column_numbers(cols)
        self._buckets.clear(row, numbers if chosen is None else numbers[chosen])

    def empty(self, col: int) -> None:
        super().empty(col)
        self._buckets.empty(col)

    def _value(
        self, rows: Rows, cols: Columns, datapoints: int, total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        numbers = column_numbers(cols)
        ticks = np.concatenate([np.arange(span.start, span.stop) for span in rows])
        return np.stack(
            [
                quantiles(
                    *self._buckets.read(part, numbers),
                    windows=total.shape[1],
                    quantile=self._quantile,
                )
                for part in ticks.reshape(datapoints, -1)
            ]
        )


def column_numbers(cols: Columns) -> NDArray[np.int64]:
    """Give the columns as numbers."""
    return np.arange(cols.start, cols.stop) if isinstance(cols, slice) else cols


_KINDS: Mapping[Statistic, type[_Cells]] = {
    Statistic.AVG: _Average,
    Statistic.MIN: _Minimum,
    Statistic.MAX: _Maximum,
    Statistic.SUM: _Sum,
    Statistic.COUNT: _Count,
    Statistic.LAST: _Last,
    Statistic.STDDEV: _Deviation,
}
