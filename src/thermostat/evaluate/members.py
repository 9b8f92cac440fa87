# SPDX-License-Identifier: Apache-2.0
"""Which series feed which windows, and how far each has reported. Pure: no I/O, no clock.

An edge joins one series to one window. The edges of a series are a linked list through `_next`, so
that an edge is added without rebuilding anything and a sample finds its windows in a few steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from thermostat.evaluate.ticks import SILENT_INTERVALS

_T = TypeVar("_T", bound=np.generic)
_NONE = -1
_SEVERAL = -2
"""That a window has, or once had, more than one member."""
_SPECIAL = 2
"""Elements that every column of series has, for the two values that are no series."""
_CHUNK = 32_768
_NEVER = np.int64(-1)
_FAR = np.iinfo(np.int64).max
_SWEEP_FROM = 1024
"""Dead edges that may be left before they are swept out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Windows of one tick whose progress is asked for."""

    windows: NDArray[np.int32]
    step_us: NDArray[np.int64]
    """The next step of each."""
    tick_us: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the live members of some windows have reported."""

    lowest_us: NDArray[np.int64]
    """Up to when all live members of each window have reported; -1 where there is none."""
    newest_us: NDArray[np.int64]
    """The newest event time that any member of each window reported; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of some windows, as columns."""

    position: NDArray[np.int64]
    """Which of the asked windows each belongs to."""
    series: NDArray[np.int64]
    last_us: NDArray[np.int64]
    """The member's newest sample."""
    interval_us: NDArray[np.int64]
    """The time between the member's two newest samples; 0 before its second one."""
    from_us: NDArray[np.int64]
    """Before this event time the member does not count: it warms up."""
    first_us: NDArray[np.int64]
    """The member's first sample."""


class Members:
    """Series and edges as columns. Not thread-safe."""

    def __init__(self) -> None:
        self._last_us = np.zeros(_SPECIAL, np.int64)
        self._previous_us = np.zeros(_SPECIAL, np.int64)
        self._live_until_us = np.zeros(_SPECIAL, np.int64)
        """Up to when each series is live; 0 before its second sample."""
        self._first_us = np.zeros(_SPECIAL, np.int64)
        self._head = np.full(_SPECIAL, _NONE, np.int32)
        self._mark = np.zeros(_SPECIAL, np.int32)
        self._edges = 0
        self._series = np.zeros(0, np.int32)
        self._window = np.zeros(0, np.int32)
        self._next = np.zeros(0, np.int32)
        self._from_us = np.zeros(0, np.int64)
        self._dead_edges = 0
        self._warming = False
        self.count = np.zeros(0, np.int32)
        """How many members each window has."""
        self._only = np.zeros(0, np.int32)
        """The member of each window that has one; `_NONE` where there is none."""
        self._position_of = np.full(1, _NONE, np.int32)

    def __len__(self) -> int:
        return self._edges - self._dead_edges

    def reserve_windows(self, windows: int) -> None:
        """Make room for this many windows in all."""
        if windows > len(self.count):
            size = max(windows, len(self.count) * 5 // 4)
            self.count = _grown(self.count, size, 0)
            self._only = _grown(self._only, size, _NONE)
            self._position_of = np.full(size + 1, _NONE, np.int32)

    # -- edges ----------------------------------------------------------------------------------

    def describe(self, series: int, first_us: int) -> None:
        """Note a series' first sample."""
        self._reserve_series(series)
        self._first_us[series] = first_us

    def describe_all(self, series: list[int], first_us: list[int]) -> None:
        """Note the first samples of many series."""
        if series:
            self._reserve_series(max(series))
            self._first_us[np.array(series)] = first_us

    def windows_of(self, series: int) -> list[int]:
        """Give the windows that a series feeds."""
        windows = []
        if series < len(self._head):
            edge = int(self._head[series])
            while edge != _NONE:
                windows.append(int(self._window[edge]))
                edge = int(self._next[edge])
        return windows

    def are_feeding(self, series: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which of these series feed a window, or fed one that was closed since."""
        self._reserve_series(int(series.max(initial=0)))
        feeding: NDArray[np.bool_] = self._head[series] != _NONE
        return feeding

    def join(self, series: int, window: int, *, warm_up_us: int = 0) -> None:
        """Let a series feed a window that it does not feed yet."""
        self.join_all([series], [window], [warm_up_us])

    def join_all(self, series: list[int], windows: list[int], warm_up_us: list[int]) -> None:
        """Let each series feed the window beside it; no pair may be there already."""
        if not series:
            return
        self._reserve_series(max(series))
        begin, end = self._edges, self._edges + len(series)
        self._reserve_edges(end)
        numbers = np.array(series, np.int32)
        self._series[begin:end] = numbers
        self._window[begin:end] = windows
        warm_us = np.array(warm_up_us, np.int64)
        self._warming |= bool(warm_us.any())
        self._from_us[begin:end] = np.where(warm_us > 0, self._first_us[numbers] + warm_us, 0)
        self._link(begin, end)
        self._edges = end
        joined = self._window[begin:end]
        np.add.at(self.count, joined, np.ones(end - begin, np.int32))
        self._only[joined] = np.where(self.count[joined] == 1, numbers, _SEVERAL)

    def leave(self, series: int, window: int) -> None:
        """Let a series feed a window no longer; what it fed before stays in the window."""
        edge, before = int(self._head[series]), _NONE
        while edge != _NONE and self._window[edge] != window:
            before, edge = edge, int(self._next[edge])
        if edge == _NONE:
            return
        if before == _NONE:
            self._head[series] = self._next[edge]
        else:
            self._next[before] = self._next[edge]
        self.count[window] -= 1
        if not self.count[window]:
            self._only[window] = _NONE
        self._window[edge] = _NONE
        self._dead_edges += 1
        if self._dead_edges > max(_SWEEP_FROM, self._edges // 2):
            self._sweep()

    def drop_windows(self, dead: NDArray[np.bool_]) -> None:
        """Forget every edge to these windows, given as a mask over all of them."""
        window = self._window[: self._edges]
        own = (window != _NONE) & dead[window]
        self.count[dead] = 0
        self._only[dead] = _NONE
        if own.any():
            window[own] = _NONE
            self._sweep()

    def _sweep(self) -> None:
        """Take out the edges that are dead."""
        kept = np.flatnonzero(self._window[: self._edges] != _NONE)
        for name in ("_series", "_window", "_from_us"):
            column = getattr(self, name)
            column[: len(kept)] = column[kept]
        self._edges, self._dead_edges = len(kept), 0
        self._head[:] = _NONE
        self._link(0, self._edges)

    def _link(self, begin: int, end: int) -> None:
        """Put edges at the heads of their series' lists."""
        series = self._series[begin:end]
        order = np.argsort(series, kind="stable")
        ordered = series[order]
        same_as_before = np.zeros(len(ordered), np.bool_)
        same_as_before[1:] = ordered[1:] == ordered[:-1]
        edges = (begin + order).astype(np.int32)
        behind = np.where(same_as_before, np.roll(edges, 1), self._head[ordered])
        self._next[edges] = behind
        last = np.ones(len(ordered), np.bool_)
        last[:-1] = ~same_as_before[1:]
        self._head[ordered[last]] = edges[last]

    # -- samples --------------------------------------------------------------------------------

    def report(self, series: NDArray[np.int64], timestamp_us: NDArray[np.int64]) -> None:
        """Note that these series reported at these event times, in any order."""
        self._reserve_series(int(series.max(initial=0)))
        while len(series):
            rows = np.arange(len(series), dtype=np.int32)
            self._mark[series] = rows
            is_last = self._mark[series] == rows
            if is_last.all():
                self._report_once(series, timestamp_us)
                return
            self._report_once(series[is_last], timestamp_us[is_last])
            series, timestamp_us = series[~is_last], timestamp_us[~is_last]

    def are_reported(
        self, series: NDArray[np.int64], timestamp_us: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Tell which of these series have reported up to these event times."""
        self._reserve_series(int(series.max(initial=0)))
        reported: NDArray[np.bool_] = timestamp_us <= self._last_us[series]
        return reported

    def _report_once(self, series: NDArray[np.int64], timestamp_us: NDArray[np.int64]) -> None:
        """Keep the two newest times of each series; none comes twice here."""
        last_us, previous_us = self._last_us[series], self._previous_us[series]
        older_us = np.minimum(last_us, timestamp_us)
        np.maximum(previous_us, older_us, out=older_us)
        older_us = np.where(timestamp_us == last_us, previous_us, older_us)
        newest_us = np.maximum(last_us, timestamp_us)
        self._previous_us[series] = older_us
        self._last_us[series] = newest_us
        silent_us = ((newest_us - older_us) * SILENT_INTERVALS).astype(np.int64)
        self._live_until_us[series] = np.where(older_us > 0, newest_us + silent_us, 0)

    def fed(
        self, series: NDArray[np.int64], timestamp_us: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Give a row and a window for each window that each of these samples counts in."""
        rows = np.flatnonzero(self._head[series] != _NONE)
        edges = self._head[series[rows]]
        all_rows, all_windows = [], []
        while len(rows):
            if self._warming:
                warm = timestamp_us[rows] >= self._from_us[edges]
                all_rows.append(rows[warm])
                all_windows.append(self._window[edges[warm]])
            else:
                all_rows.append(rows)
                all_windows.append(self._window[edges])
            edges = self._next[edges]
            more = edges != _NONE
            rows, edges = rows[more], edges[more]
        if len(all_rows) == 1:
            return all_rows[0], all_windows[0]
        return (
            np.concatenate([np.empty(0, np.int64), *all_rows]),
            np.concatenate([np.empty(0, np.int32), *all_windows]),
        )

    # -- progress -------------------------------------------------------------------------------

    def edges_of(self, windows: NDArray[Any]) -> Edges:
        """Give the edges of these windows."""
        own, position = self._edges_and_positions(windows)
        series = self._series[own]
        last_us, previous_us = self._last_us[series], self._previous_us[series]
        return Edges(
            position=position.astype(np.int64),
            series=series.astype(np.int64),
            last_us=last_us,
            interval_us=np.where(previous_us > 0, last_us - previous_us, 0),
            from_us=self._from_us[own],
            first_us=self._first_us[series],
        )

    def only_interval_us(self, windows: NDArray[np.int32]) -> NDArray[np.int64]:
        """Give the interval of the only member of each window; 0: unknown or more, -1: none."""
        only = self._only[windows]
        previous_us = self._previous_us[only]
        interval_us = np.where(previous_us > 0, self._last_us[only] - previous_us, 0)
        return np.where(only == _NONE, -1, np.where(only == _SEVERAL, 0, interval_us))

    def progress(self, asked: Sequence[Asked], now_us: int) -> list[Progress]:
        """Tell how far the live members of windows have reported, at their next steps.

        Who is live is asked of the newest step that anyone has reported up to, but of none in the
        future: a member whose clock is ahead must not make the others look silent. A member that
        warms up is not waited for.
        """
        answers = [self._progress_of_singles(one, now_us) for one in asked]
        others = [self._with_several(one) for one in asked]
        questions = [
            Asked(one.windows[own], one.step_us[own], one.tick_us)
            for one, own in zip(asked, others, strict=True)
        ]
        if any(len(one.windows) for one in questions):
            for answer, own, found in zip(
                answers, others, self._progress_of_groups(questions, now_us), strict=True
            ):
                answer.lowest_us[own] = found.lowest_us
                answer.newest_us[own] = found.newest_us
        return answers

    def _with_several(self, asked: Asked) -> NDArray[np.int64]:
        """Give the positions of the windows that need a look at each member."""
        if self._warming:
            return np.arange(len(asked.windows))
        return np.flatnonzero(self._only[asked.windows] == _SEVERAL)

    def _progress_of_singles(self, asked: Asked, now_us: int) -> Progress:
        """Give the progress of windows with one member: most have, and no edge is looked at."""
        lowest_us = np.empty(len(asked.windows), np.int64)
        newest_us = np.empty(len(asked.windows), np.int64)
        silent_us = int(asked.tick_us * SILENT_INTERVALS)
        for begin in range(0, len(asked.windows), _CHUNK):
            own = slice(begin, begin + _CHUNK)
            only = self._only[asked.windows[own]]
            last_us = np.where(only >= 0, self._last_us[only], 0)
            live_until_us = self._live_until_us[only]
            first_only = live_until_us == 0
            if first_only.any():
                live_until_us[first_only] = last_us[first_only] + silent_us
            asked_us = np.minimum(last_us, now_us) // asked.tick_us * asked.tick_us
            np.maximum(asked_us, asked.step_us[own], out=asked_us)
            live = (live_until_us >= asked_us) & (last_us > 0)
            lowest_us[own] = np.where(live, last_us, _NEVER)
            newest_us[own] = last_us
        return Progress(lowest_us, newest_us)

    def _progress_of_groups(self, asked: Sequence[Asked], now_us: int) -> list[Progress]:
        """Give the progress of windows of any number of members."""
        windows = np.concatenate([one.windows for one in asked])
        edges, position = self._edges_and_positions(windows)
        series = self._series[edges]
        last_us, live_until_us = self._last_us[series], self._live_until_us[series]
        newest_us = np.zeros(len(windows), np.int64)
        np.maximum.at(newest_us, position, last_us)
        asked_us, tick_us = self._steps_to_ask_of(asked, newest_us, now_us)
        first_only = np.flatnonzero(live_until_us == 0)
        if len(first_only):
            silent_us = (tick_us[position[first_only]] * SILENT_INTERVALS).astype(np.int64)
            live_until_us[first_only] = last_us[first_only] + silent_us
        live = live_until_us >= asked_us[position]
        if self._warming:
            live &= last_us >= self._from_us[edges]
        lowest_us = np.full(len(windows), _FAR)
        np.minimum.at(lowest_us, position[live], last_us[live])
        lowest_us[lowest_us == _FAR] = _NEVER
        answers, begin = [], 0
        for one in asked:
            own = slice(begin, begin + len(one.windows))
            answers.append(Progress(lowest_us[own], newest_us[own]))
            begin = own.stop
        return answers

    @staticmethod
    def _steps_to_ask_of(
        asked: Sequence[Asked], newest_us: NDArray[np.int64], now_us: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the step at which each window's members must be live, and its tick."""
        steps_us, ticks_us, begin = [], [], 0
        for one in asked:
            own = slice(begin, begin + len(one.windows))
            reached_us = np.minimum(newest_us[own], now_us) // one.tick_us * one.tick_us
            steps_us.append(np.maximum(one.step_us, reached_us))
            ticks_us.append(np.full(len(one.windows), one.tick_us))
            begin = own.stop
        return np.concatenate(steps_us), np.concatenate(ticks_us)

    def _edges_and_positions(
        self, windows: NDArray[Any]
    ) -> tuple[slice | NDArray[np.int64], NDArray[np.int32]]:
        """Give the edges of these windows, and which of the windows each belongs to."""
        position_of = self._position_of
        position_of[windows] = np.arange(len(windows), dtype=np.int32)
        # a dead edge has window -1: the last element, which no window has
        position = position_of[self._window[: self._edges]]
        position_of[windows] = _NONE
        own = position != _NONE
        if own.all():
            return slice(0, self._edges), position
        edges = np.flatnonzero(own)
        return edges, position[edges]

    # -- room -----------------------------------------------------------------------------------

    def reserve_series(self, series: int) -> None:
        """Make room for series up to this id."""
        self._reserve_series(series, exact=True)

    def _reserve_series(self, series: int, *, exact: bool = False) -> None:
        if series < len(self._last_us):
            return
        size = series + 1 if exact else max(series + 1, len(self._last_us) * 5 // 4, 64)
        for name in ("_last_us", "_previous_us", "_live_until_us", "_first_us"):
            setattr(self, name, _grown(getattr(self, name), size, 0))
        self._head = _grown(self._head, size, _NONE)
        self._mark = _grown(self._mark, size, 0)

    def _reserve_edges(self, edges: int) -> None:
        if edges <= len(self._series):
            return
        size = max(edges, len(self._series) * 5 // 4, 64)
        for name in ("_series", "_window", "_next", "_from_us"):
            setattr(self, name, _grown(getattr(self, name), size, 0))


def is_live(
    edges: Edges, asked_us: NDArray[np.int64], tick_us: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell whether each member was silent for no longer than 1.5 of its own interval."""
    interval_us = np.where(edges.interval_us > 0, edges.interval_us, tick_us)
    live: NDArray[np.bool_] = edges.last_us >= asked_us - SILENT_INTERVALS * interval_us
    return live


def _grown(column: NDArray[_T], size: int, empty: int) -> NDArray[_T]:
    if size <= len(column):
        return column
    new = np.full(size, empty, column.dtype)
    new[: len(column)] = column
    return new
