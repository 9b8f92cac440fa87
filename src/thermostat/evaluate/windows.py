# SPDX-License-Identifier: Apache-2.0
"""All windows: which samples reach which of them, and which of their steps are due.

A window is known by a number. Numbers of closed windows are given out again only after index and
members have been swept, so that closing one costs nothing.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import State
from thermostat.alarms.rules import ThresholdRule
from thermostat.evaluate.due import Work, due_work
from thermostat.evaluate.held import Held, Rows
from thermostat.evaluate.matching import WindowIndex
from thermostat.evaluate.members import Members
from thermostat.evaluate.pool import Pool, Shape
from thermostat.evaluate.reasons import Group
from thermostat.evaluate.ticks import SILENT_INTERVALS, US_PER_S
from thermostat.store.base import Batch, Series

LOG = logging.getLogger(__name__)
MOST_HELD = 4_000_000
"""Samples ahead of their windows' steps that are kept, 28 bytes each."""
_SWEEP_FROM = 1024
_SERIES_AT_ONCE = 50_000
_NOWHERE = -1
_Item = TypeVar("_Item")


class Windows:
    """Not thread-safe."""

    def __init__(self, allowed_lag_us: int) -> None:
        self._allowed_lag_us = allowed_lag_us
        self._shapes: dict[Shape, int] = {}
        self._pools: list[Pool] = []
        self._pool_of = np.zeros(0, np.int32)
        self._col_of = np.zeros(0, np.int32)
        self._meter_of = np.zeros(0, np.int32)
        self._meters: list[str] = []
        self._meter_numbers: dict[str, int] = {}
        self._warm_up_us: dict[int, int] = {}
        self._used = 0
        self._free: list[int] = []
        self._closed: list[int] = []
        self._index = WindowIndex()
        self._members = Members()
        self._held = Held(MOST_HELD)
        self._fresh: dict[int, set[tuple[int, int]]] = {}

    @property
    def pools(self) -> Sequence[Pool]:
        """Every pool."""
        return self._pools

    @property
    def held(self) -> int:
        """How many samples wait for their window's steps."""
        return len(self._held)

    @property
    def dropped(self) -> int:
        """How many samples there was no room for among those that wait."""
        return self._held.dropped

    # -- windows --------------------------------------------------------------------------------

    def open_all(
        self,
        rules: Sequence[ThresholdRule],
        projects: Sequence[str],
        *,
        alarms: NDArray[np.int64],
        states: Sequence[State],
    ) -> NDArray[np.int64]:
        """Open an empty window for each rule; give their numbers.

        They have no members yet, and begin with `begin`.
        """
        windows = self._numbers(len(rules))
        by_shape: dict[tuple[Any, ...], list[int]] = {}
        for place, rule in enumerate(rules):
            key = (
                rule.statistic,
                rule.period,
                rule.evaluation_periods,
                rule.exclude_outliers,
                rule.min_reporting_ratio > 0,
            )
            places = by_shape.get(key)
            if places is None:
                by_shape[key] = [place]
            else:
                places.append(place)
        for key, places in by_shape.items():
            number = self._pool_number(Shape(*key))
            own = windows[places]
            self._pool_of[own] = number
            self._col_of[own] = self._pools[number].open_all(
                [rules[place] for place in places],
                windows=own,
                alarms=alarms[places],
                states=[states[place] for place in places],
            )
        numbers = windows.tolist()
        self._index.add_all(numbers, rules, projects)
        self._meter_of[windows] = [self._meter_number(rule.meter_name) for rule in rules]
        self._warm_up_us |= {
            window: rule.warm_up * US_PER_S
            for window, rule in zip(numbers, rules, strict=True)
            if rule.warm_up
        }
        return windows

    def _meter_number(self, meter: str) -> int:
        number = self._meter_numbers.get(meter)
        if number is None:
            number = self._meter_numbers[meter] = len(self._meters)
            self._meters.append(meter)
        return number

    def meter_of(self, window: int) -> str:
        """Give the meter of a window."""
        return self._meters[int(self._meter_of[window])]

    def begin(self, windows: NDArray[np.int64], begin_us: NDArray[np.int64], since_us: int) -> None:
        """Judge windows from the first step after these times on."""
        for pool, cols, own in self.locate_all(windows):
            pool.begin(cols, begin_us[own] // pool.tick_us, since_us)

    def wait_from(self, since_us: int) -> None:
        """Give the members of all windows the allowed lag from this time on."""
        for pool in self._pools:
            pool.wait_from(since_us)

    def ticks_us(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the tick of each window."""
        of_pool = np.array([pool.tick_us for pool in self._pools], np.int64)
        return of_pool[self._pool_of[windows]]

    def trim(self) -> None:
        """Give back the room that is kept for more windows."""
        for pool in self._pools:
            pool.reserve(pool.size)
        self._reserve(self._used)

    def _numbers(self, count: int) -> NDArray[np.int64]:
        """Give numbers for new windows."""
        reused = [self._free.pop() for _ in range(min(len(self._free), count))]
        used = self._used + count - len(reused)
        if used > len(self._pool_of):
            self._reserve(max(64, used, len(self._pool_of) * 5 // 4))
        numbers = np.concatenate([np.array(reused, np.int64), np.arange(self._used, used)])
        self._used = used
        return numbers

    def locate_all(
        self, windows: NDArray[np.int64]
    ) -> Iterator[tuple[Pool, NDArray[np.int64], NDArray[np.int64]]]:
        """Give each pool that has some of these windows, their columns, and their positions."""
        numbers = self._pool_of[windows]
        for number in np.unique(numbers).tolist():
            own = np.flatnonzero(numbers == number)
            yield self._pools[number], self._col_of[windows[own]].astype(np.int64), own

    def close(self, window: int) -> None:
        """Close a window."""
        pool, col = self.locate(window)
        pool.close(col)
        self._pool_of[window] = _NOWHERE
        self._warm_up_us.pop(window, None)
        self._fresh.pop(window, None)
        self._closed.append(window)
        if len(self._closed) > max(_SWEEP_FROM, (self._used - len(self._free)) // 4):
            self._sweep()

    def locate(self, window: int) -> tuple[Pool, int]:
        """Give a window's pool and its column there."""
        return self._pools[self._pool_of[window]], int(self._col_of[window])

    def states(self, windows: NDArray[np.int64]) -> NDArray[np.int8]:
        """Give the states of windows, in the same shape."""
        found = np.zeros(windows.size, np.int8)
        for pool, cols, own in self.locate_all(windows.reshape(-1)):
            found[own] = pool.state[cols]
        return found.reshape(windows.shape)

    def freeze(self, windows: Iterable[int]) -> None:
        """Judge these windows no further until they thaw."""
        for window in windows:
            pool, col = self.locate(window)
            pool.frozen[col] = True

    def thaw(self, windows: Iterable[int]) -> None:
        """Go on with these windows."""
        for window in windows:
            pool, col = self.locate(window)
            pool.thaw(col)

    def wake_at_each_step(self, windows: Iterable[int], states: int) -> None:
        """Let the leaves with these windows call their alarm at each step in these states."""
        for window in windows:
            pool, col = self.locate(window)
            pool.repeats[col] = states

    @property
    def judged_us(self) -> int | None:
        """Up to when every step of every window was judged and written; None without windows.

        It lies right before the first step that was not, and so may lie ahead of the clock.
        """
        next_us = [
            # what a frozen leaf led to is not written yet
            int((pool.step + 1 - (pool.frozen & pool.is_leaf))[pool.alive].min()) * pool.tick_us
            for pool in self._pools
            if len(pool)
        ]
        return min(next_us) - 1 if next_us else None

    def _sweep(self) -> None:
        self._index.drop(self._closed)
        dead = np.zeros(len(self._pool_of), np.bool_)
        dead[self._closed] = True
        self._members.drop_windows(dead)
        rows = self._held.take()
        if rows is not None:
            self._held.add(rows.where(~dead[rows.window]))
        self._free.extend(self._closed)
        self._closed = []

    def _pool_number(self, shape: Shape) -> int:
        number = self._shapes.get(shape)
        if number is None:
            number = self._shapes[shape] = len(self._pools)
            self._pools.append(
                Pool(shape, allowed_lag_us=self._allowed_lag_us, members=self._members)
            )
        return number

    def _reserve(self, windows: int) -> None:
        if windows != len(self._pool_of):
            for name in ("_pool_of", "_col_of", "_meter_of"):
                column = np.full(windows, _NOWHERE, np.int32)
                column[: self._used] = getattr(self, name)[: self._used]
                setattr(self, name, column)
        self._members.reserve_windows(len(self._pool_of))

    # -- members --------------------------------------------------------------------------------

    def describe(self, series: Iterable[Series]) -> None:
        """Take in new and changed series: they join and leave windows as their metadata says."""
        newest = {one.series_id: one for one in series}
        self._members.describe_all(list(newest), [one.first_us for one in newest.values()])
        joining: list[tuple[int, int]] = []
        for series_id, one in newest.items():
            wanted = set(self._matching(one))
            known = set(self._members.windows_of(series_id))
            for window in known - wanted:
                self._members.leave(series_id, window)
            joining += [(series_id, window) for window in wanted - known]
            for window in wanted ^ known:
                self._touch(window)
        self._join([series_id for series_id, _ in joining], [window for _, window in joining])

    def populate(
        self, windows: NDArray[np.int64], series: Iterable[Series]
    ) -> tuple[list[int], list[int]]:
        """Let each of these series feed those of these new windows that it matches.

        Gives the ids of the series that feed one, and of those among them that other windows
        share: those that have them already, and those that match them and are still to be told.
        """
        is_new = np.zeros(len(self._pool_of), np.bool_)
        is_new[windows] = True
        feeding: list[int] = []
        shared: list[int] = []
        for described in in_portions(series, _SERIES_AT_ONCE):
            self._members.describe_all(
                [one.series_id for one in described], [one.first_us for one in described]
            )
            ids, matching = self._matches(described)
            own = is_new[matching]
            wanted_by_others = ids[~own & (self._pool_of[matching] != _NOWHERE)]
            ids, matching = ids[own], matching[own]
            found = np.unique(ids)
            is_shared = self._members.are_feeding(found) | np.isin(found, wanted_by_others)
            feeding += found.tolist()
            shared += found[is_shared].tolist()
            self._join(ids.tolist(), matching.tolist())
        return feeding, shared

    def _matches(self, described: Sequence[Series]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give, as columns, each of these series with each window that it matches."""
        ids: list[int] = []
        windows: list[int] = []
        for one in described:
            for window in self._index.matching(one):
                ids.append(one.series_id)
                windows.append(window)
        return np.array(ids, np.int64), np.array(windows, np.int64)

    def _join(self, series: list[int], windows: list[int]) -> None:
        warm_up_us = [self._warm_up_us.get(window, 0) for window in windows]
        self._members.join_all(series, windows, warm_up_us)

    def groups(self, windows: NDArray[np.int64], begin_us: int, end_us: int) -> list[Group]:
        """Tell of the members of windows whose newest period this is."""
        edges = self._members.edges_of(windows)
        tick_us = np.array([self.locate(one)[0].tick_us for one in windows.tolist()], np.int64)
        position = edges.position
        interval_us = np.where(edges.interval_us > 0, edges.interval_us, tick_us[position])
        live = (edges.last_us >= begin_us - SILENT_INTERVALS * interval_us) & (edges.last_us > 0)
        # of each member the two newest samples are known: those that came since say nothing
        before_us = edges.last_us - edges.interval_us
        reporting = live & (edges.last_us > begin_us)
        reporting &= (edges.last_us <= end_us) | ((edges.interval_us > 0) & (before_us > begin_us))
        slowest_us = np.zeros(len(windows), np.int64)
        np.maximum.at(slowest_us, position[live], edges.interval_us[live])
        count = len(windows)
        return [
            Group(members, living, reported, interval / US_PER_S)
            for members, living, reported, interval in zip(
                np.bincount(position, minlength=count).tolist(),
                np.bincount(position[live], minlength=count).tolist(),
                np.bincount(position[reporting], minlength=count).tolist(),
                slowest_us.tolist(),
                strict=True,
            )
        ]

    def interval_us(self, windows: NDArray[np.int32]) -> NDArray[np.int64]:
        """Give the interval of the member of each window that has one; -1 where it has none.

        It is 0 where it is not known, and of windows with more members, whose edges it would take.
        """
        return self._members.only_interval_us(windows)

    def _matching(self, series: Series) -> list[int]:
        return [
            window for window in self._index.matching(series) if self._pool_of[window] != _NOWHERE
        ]

    def _touch(self, window: int) -> None:
        if self._pool_of[window] != _NOWHERE:
            pool, col = self.locate(window)
            pool.touched[col] = True

    # -- samples --------------------------------------------------------------------------------

    def ingest(self, batch: Batch) -> int:
        """Count stored samples in the windows that their series feed; give how many were late."""
        series, timestamp_us = batch.series_id, batch.timestamp_us
        self._members.report(series, timestamp_us)
        rows, windows = self._members.fed(series, timestamp_us)
        if not len(rows):
            return 0
        fed = Rows(windows, series[rows], timestamp_us[rows], batch.volume[rows])
        if self._fresh:
            fed = self._without_read(fed)
        return self._feed(fed)

    def report(self, batch: Batch) -> None:
        """Note how far series have reported, and count nothing."""
        self._members.report(batch.series_id, batch.timestamp_us)

    def report_ahead(self, batch: Batch, shared: Sequence[int]) -> None:
        """Note how far series have reported by samples that `ingest` may still have to bring.

        A shared series goes no further than it has been ingested: a step of the windows that share
        it would look complete without the sample.
        """
        series, timestamp_us = batch.series_id, batch.timestamp_us
        noted = ~np.isin(series, shared) | self._members.are_reported(series, timestamp_us)
        self._members.report(series[noted], timestamp_us[noted])

    def refill(self, windows: NDArray[np.int64], batch: Batch, *, on_its_way: bool) -> None:
        """Count samples that were read from the store, in these windows only.

        Those that may be on their way from the store to `ingest` are not counted when it brings
        them.
        """
        wanted = np.zeros(len(self._pool_of), np.bool_)
        wanted[windows] = True
        rows, fed = self._members.fed(batch.series_id, batch.timestamp_us)
        own = wanted[fed]
        rows, fed = rows[own], fed[own]
        read = Rows(fed, batch.series_id[rows], batch.timestamp_us[rows], batch.volume[rows])
        if on_its_way:
            for window, series, timestamp_us in zip(
                read.window.tolist(), read.series.tolist(), read.timestamp_us.tolist(), strict=True
            ):
                self._fresh.setdefault(window, set()).add((series, timestamp_us))
        self._feed(read)

    def forget_read(self) -> None:
        """Remember no longer what `refill` has read: nothing of it can still be on its way."""
        self._fresh.clear()

    def _without_read(self, rows: Rows) -> Rows:
        fresh = np.zeros(len(self._pool_of), np.bool_)
        fresh[list(self._fresh)] = True
        kept = np.ones(len(rows), np.bool_)
        for row in np.flatnonzero(fresh[rows.window]).tolist():
            sample = (int(rows.series[row]), int(rows.timestamp_us[row]))
            window = int(rows.window[row])
            if sample in self._fresh[window]:
                kept[row] = False
                self._touch(window)  # now its member has reported
        return rows.where(kept)

    def release(self) -> None:
        """Count the samples whose time has come."""
        rows = self._held.take()
        if rows is not None:
            self._feed(rows)

    def _feed(self, rows: Rows) -> int:
        late = 0
        for number, part in self._by_pool(rows):
            pool = self._pools[number]
            fed = pool.feed(
                self._col_of[part.window].astype(np.int64),
                part.series,
                part.timestamp_us,
                part.volume,
            )
            late += fed.late
            if fed.ahead.any():
                self._held.add(part.where(fed.ahead))
        return late

    def _by_pool(self, rows: Rows) -> Iterator[tuple[int, Rows]]:
        if not len(rows):
            return
        pools = self._pool_of[rows.window]
        first = int(pools[0])
        if (pools == first).all():
            if first != _NOWHERE:
                yield first, rows
            return
        order = np.argsort(pools, kind="stable")
        pools = pools[order]
        edges = [0, *(np.flatnonzero(pools[1:] != pools[:-1]) + 1).tolist(), len(pools)]
        for begin, end in pairwise(edges):
            if pools[begin] != _NOWHERE:
                yield int(pools[begin]), rows.where(order[begin:end])

    # -- steps ----------------------------------------------------------------------------------

    def newest_us(self, windows: NDArray[np.int64], now_us: int) -> NDArray[np.int64]:
        """Give the newest time up to now that any member of each window reported; else now."""
        edges = self._members.edges_of(windows)
        newest_us = np.zeros(len(windows), np.int64)
        np.maximum.at(newest_us, edges.position, edges.last_us)
        return np.where(newest_us > 0, np.minimum(newest_us, now_us), now_us)

    def due(self, now_us: int) -> list[Work]:
        """Give the windows that have steps to be judged at this time.

        A step is due when every live member has reported up to it, and at the latest when the
        allowed lag is over.
        """
        return due_work(
            self._pools,
            self._members,
            now_us=now_us,
            allowed_lag_us=self._allowed_lag_us,
            are_held=bool(len(self._held)),
        )


def in_portions(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Give lists of so many items, the last one of what is left."""
    portion: list[_Item] = []
    for one in items:
        portion.append(one)
        if len(portion) == size:
            yield portion
            portion = []
    if portion:
        yield portion
