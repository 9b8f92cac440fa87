# SPDX-License-Identifier: Apache-2.0
"""Which steps of which windows are due. Pure: no I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermostat.evaluate.members import Asked, Members
from thermostat.evaluate.pool import Pool

MOST_STEPS_BEHIND = 1000
"""After a longer pause than this many steps a window goes on with the newest ones."""


@dataclass(slots=True)
class Work:
    """Windows of one pool that have steps to be judged."""

    pool: Pool
    cols: NDArray[np.int64]
    until: NDArray[np.int64]
    """The last step of each that is due, in ticks."""

    def next_step(self) -> int:
        """Give the oldest step that is to be judged next."""
        return int(self.pool.step[self.pool.compact(self.cols)].min()) + 1

    def at(self, step: int) -> NDArray[np.int64]:
        """Give the windows whose next step this is."""
        due = self.pool.step[self.pool.compact(self.cols)] == step - 1
        return self.cols if due.all() else self.cols[due]

    def rest(self) -> "Work | None":
        """Give what is still to be judged, or None."""
        own = self.pool.compact(self.cols)
        left = (self.pool.step[own] < self.until) & ~self.pool.frozen[own]
        if not left.any():
            return None
        return Work(self.pool, self.cols[left], self.until[left])


def due_work(
    pools: Sequence[Pool],
    members: Members,
    *,
    now_us: int,
    allowed_lag_us: int,
    are_held: bool,
) -> list[Work]:
    """Give the windows that have steps to be judged at this time.

    With `are_held` samples wait for steps further on: only steps before those are due.
    """
    asked: list[tuple[Pool, NDArray[np.int64]]] = []
    for pool in pools:
        cols = np.flatnonzero(pool.touched[: pool.size])
        cols = cols[pool.alive[cols] & ~pool.frozen[cols]]
        if len(cols):
            asked.append((pool, cols))
    if asked:
        _look_at_progress(asked, members, now_us)
    touched = dict(asked)
    due = []
    for pool in pools:
        if now_us >= pool.due_us:
            work = _due_in(pool, now_us, allowed_lag_us)
        else:  # none is overdue: only those that something came for can be due
            work = _due_among(pool, touched.get(pool), now_us)
        if work is not None:
            due.append(work)
    return _reached(due) if are_held else due


def _reached(due: list[Work]) -> list[Work]:
    """Leave out the steps that some window cannot reach before what is held is counted.

    Windows begin at different steps after a restart; all go on in the order of event time.
    """
    reach_us = min(
        ((one.next_step() - 1 + one.pool.slack) * one.pool.tick_us for one in due), default=0
    )
    for one in due:
        one.pool.due_us = 0  # some of it is left
        np.minimum(one.until, reach_us // one.pool.tick_us, out=one.until)
    return [rest for one in due if (rest := one.rest()) is not None]


def _look_at_progress(
    asked: list[tuple[Pool, NDArray[np.int64]]], members: Members, now_us: int
) -> None:
    """Note up to which step all live members of these windows have reported."""
    questions = []
    for pool, cols in asked:
        own = pool.compact(cols)
        step_us = (pool.step[own] + 1) * pool.tick_us
        questions.append(Asked(pool.window[own], step_us, pool.tick_us))
    for (pool, cols), progress in zip(asked, members.progress(questions, now_us), strict=True):
        own = pool.compact(cols)
        # one that no live member has reported up to is -1, which is before every step
        pool.ready[own] = np.minimum(progress.lowest_us, now_us) // pool.tick_us
        # who is live may change as time goes on, without a sample, where a member is ahead
        pool.touched[own] = progress.newest_us > now_us


def _due_among(pool: Pool, cols: NDArray[np.int64] | None, now_us: int) -> Work | None:
    """Give those of these windows that have a step up to which all have reported."""
    if cols is None:
        return None
    own = pool.compact(cols)
    until = np.minimum(pool.ready[own], now_us // pool.tick_us)
    ready = np.flatnonzero(pool.step[own] < until)
    return Work(pool, cols[ready], until[ready]) if len(ready) else None


def _due_in(pool: Pool, now_us: int, allowed_lag_us: int) -> Work | None:
    """Look through all windows of a pool."""
    size = pool.size
    lagging_us = now_us - allowed_lag_us
    overdue: Any = lagging_us // pool.tick_us
    if pool.newest_since_us > lagging_us:
        overdue = np.where(pool.since_us[:size] <= lagging_us, overdue, 0)
    until = np.minimum(np.maximum(overdue, pool.ready[:size]), now_us // pool.tick_us)
    waiting = pool.alive[:size] & ~pool.frozen[:size]
    cols = np.flatnonzero((pool.step[:size] < until) & waiting)
    if not len(cols):
        pool.due_us = _next_overdue_us(pool, waiting) + allowed_lag_us
        return None
    oldest = now_us // pool.tick_us - MOST_STEPS_BEHIND
    behind = cols[pool.step[cols] < oldest]
    if len(behind):
        pool.skip_to(oldest, behind)
        cols = cols[pool.step[cols] < until[cols]]
    return Work(pool, cols, until[pool.compact(cols)])


def _next_overdue_us(pool: Pool, waiting: NDArray[np.bool_]) -> int:
    """Give from when on the first of these windows may be waited for no longer than the lag."""
    next_us = (pool.step[: pool.size] + 1) * pool.tick_us
    np.maximum(next_us, pool.since_us[: pool.size], out=next_us)
    earliest_us = next_us.min(where=waiting, initial=np.iinfo(np.int64).max // 2)
    return int(earliest_us)
