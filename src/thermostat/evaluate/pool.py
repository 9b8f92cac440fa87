# SPDX-License-Identifier: Apache-2.0
"""All windows of one shape, as columns: their cells, their rules, their states. Pure: no clock.

A window holds the ticks that its next step reaches back to, and `slack` ticks ahead of it, in a
ring. At each step only the newest datapoint is made; whether the earlier ones breached is kept, a
byte a step, in a second ring of the same rows. Where a late sample came, or after a restart, those
bytes are made anew from the cells for one period of steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import State
from thermostat.alarms.rules import Statistic, ThresholdRule
from thermostat.evaluate import decide
from thermostat.evaluate.cells import Columns, Rows, column_numbers, make_cells
from thermostat.evaluate.members import Members
from thermostat.evaluate.reporters import Period, Reporters
from thermostat.evaluate.ticks import US_PER_S, tick_s

CHUNK = 32_768
"""Windows that are judged together: their columns fit into a processor's cache."""

_PRESENT, _BREACH, _BREACH_CLEAR = np.uint8(1), np.uint8(2), np.uint8(4)
_FIELDS: Mapping[str, type[np.generic]] = {
    "window": np.int32,
    "alarm": np.int32,
    "threshold": np.float64,
    "clear_threshold": np.float64,
    "operator": np.uint8,
    "needed": np.uint8,
    "policy": np.uint8,
    "ratio": np.float64,
    "state": np.int8,
    "step": np.int64,
    "since_us": np.int64,
    "stale_until": np.int64,
    "ready": np.int64,
    "schedule": np.int32,
    "repeats": np.uint8,
    "told": np.uint8,
    "alive": np.bool_,
    "frozen": np.bool_,
    "touched": np.bool_,
    "is_leaf": np.bool_,
}


class Shape(NamedTuple):
    """What all windows of a pool have in common."""

    statistic: Statistic
    period_s: int
    periods: int
    """N."""
    exclude_outliers: bool
    counts_reporters: bool
    """Whether a share of the members must have reported."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What became of samples."""

    late: int
    """How many came too late for every step still to be judged."""
    ahead: NDArray[np.bool_]
    """Which are too far ahead of their window's steps to be counted yet."""


class Pool:
    """The windows of one shape. Not thread-safe."""

    window: NDArray[np.int32]
    """The number that the engine knows each window by."""
    alarm: NDArray[np.int32]
    """The number of the alarm that each window belongs to."""
    threshold: NDArray[np.float64]
    clear_threshold: NDArray[np.float64]
    operator: NDArray[np.uint8]
    """`decide.OPERATOR_MASKS`."""
    needed: NDArray[np.uint8]
    """M."""
    policy: NDArray[np.uint8]
    """`decide.POLICY_NUMBERS`."""
    ratio: NDArray[np.float64]
    """The share of live members that must have reported."""
    state: NDArray[np.int8]
    step: NDArray[np.int64]
    """The last judged step, in ticks since the epoch."""
    since_us: NDArray[np.int64]
    """When the window was opened: until the allowed lag after this, senders may catch up."""
    stale_until: NDArray[np.int64]
    """Up to this step all datapoints are made anew."""
    ready: NDArray[np.int64]
    """Up to this step all live members have reported."""
    schedule: NDArray[np.int32]
    """The number of the alarm's time constraints; 0: always."""
    repeats: NDArray[np.uint8]
    """Bit i: actions are repeated in the state of number i."""
    told: NDArray[np.uint8]
    """Which words for insufficient data were last told."""
    alive: NDArray[np.bool_]
    frozen: NDArray[np.bool_]
    """Whether a transition of its alarm is open: it is not judged meanwhile."""
    touched: NDArray[np.bool_]
    """Whether samples or members came since its progress was looked at."""
    is_leaf: NDArray[np.bool_]
    """Whether the window belongs to a composite rule."""

    def __init__(self, shape: Shape, *, allowed_lag_us: int, members: Members) -> None:
        self.shape = shape
        self.tick_us = tick_s(shape.period_s) * US_PER_S
        self.ticks = shape.period_s * US_PER_S // self.tick_us
        """Ticks a period."""
        self.length = shape.periods * (2 if shape.exclude_outliers else 1)
        """Datapoints a window."""
        self.slack = -(-allowed_lag_us // self.tick_us) + 2
        """Ticks beyond the next step that samples are counted in."""
        self.depth = self.length * self.ticks + self.slack
        self.size = 0
        """Columns in use, free ones between them included."""
        self.due_us = 0
        """Before this time only windows that something came for have a step due; 0: unknown."""
        self.newest_since_us = 0
        """The newest time at which a window was opened."""
        self._free: list[int] = []
        self._members = members
        self._cells = make_cells(shape.statistic, self.depth)
        self._flags = np.zeros((self.depth, 0), np.uint8)
        self._hysteresis = False
        self._reporters = Reporters() if shape.counts_reporters else None
        # what an earlier datapoint counts for may change with the window, and with the members
        self._makes_all = shape.exclude_outliers or shape.counts_reporters
        for name, kind in _FIELDS.items():
            setattr(self, name, np.zeros(0, kind))

    def __len__(self) -> int:
        return self.size - len(self._free)

    # -- windows --------------------------------------------------------------------------------

    def reserve(self, windows: int) -> None:
        """Make room for this many windows in all: those there are, or more."""
        if windows == len(self.step):
            return
        for name, kind in _FIELDS.items():
            new = np.zeros(windows, kind)
            new[: self.size] = getattr(self, name)[: self.size]
            setattr(self, name, new)
        flags = np.zeros((self.depth, windows), np.uint8)
        flags[:, : self.size] = self._flags[:, : self.size]
        self._flags = flags
        self._cells.reserve(windows, self.size)

    def open_all(
        self,
        rules: Sequence[ThresholdRule],
        *,
        windows: NDArray[np.int64],
        alarms: NDArray[np.int64],
        states: Sequence[State],
    ) -> NDArray[np.int64]:
        """Give the columns of new, empty windows."""
        reused = [self._free.pop() for _ in range(min(len(self._free), len(rules)))]
        size = self.size + len(rules) - len(reused)
        if size > len(self.step):
            self.reserve(max(size, len(self.step) * 3 // 2))
        cols = np.concatenate([np.array(reused, np.int64), np.arange(self.size, size)])
        self.size = size
        self.window[cols], self.alarm[cols] = windows, alarms
        self.threshold[cols] = [rule.threshold for rule in rules]
        self.clear_threshold[cols] = [
            rule.threshold if rule.clear_threshold is None else rule.clear_threshold
            for rule in rules
        ]
        self._hysteresis |= bool((self.threshold[cols] != self.clear_threshold[cols]).any())
        self.operator[cols] = [decide.OPERATOR_MASKS[rule.comparison_operator] for rule in rules]
        self.needed[cols] = [rule.needed for rule in rules]
        self.policy[cols] = [decide.POLICY_NUMBERS[rule.treat_missing_data] for rule in rules]
        self.ratio[cols] = [rule.min_reporting_ratio for rule in rules]
        self.state[cols] = [decide.NUMBERS[state] for state in states]
        for name in ("told", "schedule", "repeats", "frozen", "is_leaf"):
            getattr(self, name)[cols] = 0
        self.alive[cols] = self.touched[cols] = True
        return cols

    def begin(self, cols: NDArray[np.int64], steps: NDArray[np.int64], since_us: int) -> None:
        """Judge windows from the step after this one on."""
        self.step[cols], self.since_us[cols] = steps, since_us
        self.stale_until[cols] = steps + self.ticks
        self.ready[cols] = 0
        self.newest_since_us = max(self.newest_since_us, since_us)
        self.due_us = 0

    def wait_from(self, since_us: int) -> None:
        """Give all members the allowed lag from this time on."""
        self.since_us[: self.size] = self.newest_since_us = since_us
        self.due_us = 0

    def thaw(self, col: int) -> None:
        """Go on with a window that was frozen."""
        self.frozen[col], self.touched[col] = False, True
        self.due_us = 0

    def close(self, col: int) -> None:
        """Give a window's column back, empty."""
        self.alive[col] = False
        self._cells.empty(col)
        if self._reporters is not None:
            self._reporters.empty(col)
        self._flags[:, col] = 0
        self._free.append(col)
        if not len(self):
            self.size, self._free = 0, []
            self.reserve(0)

    # -- samples --------------------------------------------------------------------------------

    def feed(
        self,
        cols: NDArray[np.int64],
        series: NDArray[np.int64],
        timestamp_us: NDArray[np.int64],
        volume: NDArray[np.float64],
    ) -> Fed:
        """Count samples, each in its window; what is too late or too far ahead is left out."""
        self.touched[cols] = True
        tick = (timestamp_us + (self.tick_us - 1)) // self.tick_us
        lead = tick - self.step[cols]
        late = lead < 2 - self.length * self.ticks
        ahead = lead > self.slack + 1
        if late.any() or ahead.any():
            kept = ~(late | ahead)
            cols, series, tick, lead = cols[kept], series[kept], tick[kept], lead[kept]
            timestamp_us, volume = timestamp_us[kept], volume[kept]
        if len(cols):
            rows = tick % self.depth
            self._cells.add(rows, cols, timestamp_us, volume)
            if self._reporters is not None:
                self._reporters.add(rows, cols, series)
            behind = lead <= 0
            if behind.any():
                stale = cols[behind]
                self.stale_until[stale] = self.step[stale] + self.ticks
        return Fed(int(np.count_nonzero(late)), ahead)

    # -- steps ----------------------------------------------------------------------------------

    def judge(self, step: int, numbers: NDArray[np.int64]) -> NDArray[np.int8]:
        """Give the state of each of these windows after this step, which follows their last one.

        Columns are ascending. The windows do not advance yet.
        """
        if self._makes_all or 2 * len(numbers) < self.size:
            judge = self._judge_all if self._makes_all else self._judge_newest
            parts = [numbers[begin : begin + CHUNK] for begin in range(0, len(numbers), CHUNK)]
            return np.concatenate([judge(step, part, None) for part in parts])
        # all columns of a chunk are judged faster than most of them, one by one
        chosen = self._mask(numbers)
        after = np.concatenate(
            [
                self._judge_newest(step, chunk, None if chosen is None else chosen[chunk])
                for begin in range(0, self.size, CHUNK)
                for chunk in [slice(begin, min(begin + CHUNK, self.size))]
            ]
        )
        return after if chosen is None else after[numbers]

    def advance(self, step: int, numbers: NDArray[np.int64]) -> None:
        """Go on from this step: the oldest tick makes room for a new one."""
        row = (step + 1 - self.length * self.ticks) % self.depth
        if 2 * len(numbers) < self.size:
            self.step[numbers] = step
            self._clear(row, numbers)
        else:
            chosen = self._mask(numbers)
            np.copyto(self.step[: self.size], step, where=True if chosen is None else chosen)
            self._clear(row, slice(0, self.size), chosen)

    def skip_to(self, step: int, cols: NDArray[np.int64]) -> None:
        """Go on from this step without judging those before it."""
        for last in np.unique(self.step[cols]).tolist():
            part = cols[self.step[cols] == last]
            for passed in range(max(last + 1, step - self.depth), step + 1):
                self.advance(passed, part)
        self.stale_until[cols] = step + self.ticks

    def datapoints(
        self, step: int, cols: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Give the counts and values of the windows that end at this step, oldest first.

        Shape (datapoints, windows). A count is 0 where too few members reported.
        """
        ticks = self.length * self.ticks
        count, value = self._cells.merge(self._rows(step, ticks), cols, self.length)
        enough = self._enough(step, cols, self.length)
        return (count if enough is None else np.where(enough, count, 0)), value

    def _judge_newest(
        self, step: int, cols: Columns, chosen: NDArray[np.bool_] | None
    ) -> NDArray[np.int8]:
        """Make the newest datapoint, and count with what is known of the earlier ones.

        Nothing changes of columns that are not chosen; their answers mean nothing.
        """
        count, value = self._cells.merge(self._rows(step, self.ticks), cols, 1)
        flags = self._flag(count, value, cols)[0]
        stale = step <= self.stale_until[cols]
        if chosen is None:
            self._flags[step % self.depth, cols] = flags
        else:
            np.copyto(self._flags[step % self.depth, cols], flags, where=chosen)
            stale &= chosen
        if self.length > 1 and stale.any():
            self._refresh(step, column_numbers(cols)[stale])
        rows = [(step - back * self.ticks) % self.depth for back in range(self.length)]
        return self._decide([self._flags[row, cols] for row in rows], cols)

    def _judge_all(self, step: int, cols: NDArray[np.int64], _chosen: None) -> NDArray[np.int8]:
        """Make all datapoints, and leave out those with unusual sample counts."""
        count, value = self.datapoints(step, cols)
        flags = self._flag(count, value, cols)
        if self.shape.exclude_outliers:
            kept = decide.newest_kept(decide.without_outliers(count), self.shape.periods)
            flags[~kept] = 0
        return self._decide(list(flags[::-1]), cols)

    def _refresh(self, step: int, cols: NDArray[np.int64]) -> None:
        """Make the flags of all datapoints of this step anew."""
        count, value = self.datapoints(step, cols)
        flags = self._flag(count, value, cols)
        for back in range(self.length):
            row = (step - back * self.ticks) % self.depth
            self._flags[row, cols] = flags[self.length - 1 - back]

    def _flag(
        self,
        count: NDArray[np.int64],
        value: NDArray[np.float64],
        cols: Columns,
    ) -> NDArray[np.uint8]:
        """Tell of each datapoint, shape (datapoints, windows), whether it exists and breaches."""
        present = count > 0
        mask = self.operator[cols]
        flags = present.view(np.uint8) * _PRESENT
        breach = decide.breaches(value, self.threshold[cols], mask) & present
        flags |= breach.view(np.uint8) * _BREACH
        if self._hysteresis:
            breach = decide.breaches(value, self.clear_threshold[cols], mask) & present
            flags |= breach.view(np.uint8) * _BREACH_CLEAR
        return flags

    def _decide(self, flags: list[NDArray[np.uint8]], cols: Columns) -> NDArray[np.int8]:
        """Give the states that follow from the flags of each datapoint, newest first."""
        state = self.state[cols]
        present = np.zeros(len(state), np.uint8)
        breaching = np.zeros(len(state), np.uint8)
        which = np.full(len(state), 1, np.uint8)
        if self._hysteresis:
            which[state == decide.ALARM] = 2
        for one in flags:
            present += one & _PRESENT
            breaching += (one >> which) & np.uint8(1)
        after = decide.states(
            present,
            breaching,
            periods=self.shape.periods,
            needed=self.needed[cols],
            policy=self.policy[cols],
            state=state,
        )
        undecided = np.flatnonzero(after == decide.UNDECIDED)
        if len(undecided):
            newest = np.zeros(len(undecided), np.uint8)
            for one in flags:
                newest = np.where(newest & _PRESENT, newest, one[undecided])
            after[undecided] = np.where(newest & _BREACH, decide.ALARM, decide.OK)
        return after

    def _enough(self, step: int, cols: Columns, datapoints: int) -> NDArray[np.bool_] | None:
        """Tell in which datapoints enough of the live members reported; None: in all."""
        if self._reporters is None:
            return None
        numbers = column_numbers(cols)
        edges = self._members.edges_of(self.window[numbers])
        return self._reporters.enough(
            edges,
            [
                Period(end - self.ticks, end, self._rows(end, self.ticks))
                for end in (step - back * self.ticks for back in reversed(range(datapoints)))
            ],
            cols=numbers,
            ratio=self.ratio[numbers],
            tick_us=self.tick_us,
        )

    def compact(self, numbers: NDArray[np.int64]) -> Columns:
        """Give all columns as a span, which is read several times as fast as an index for each."""
        return slice(0, self.size) if len(numbers) == self.size else numbers

    def _mask(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Give which columns these are; None: all."""
        if len(numbers) == self.size:
            return None
        chosen = np.zeros(self.size, np.bool_)
        chosen[numbers] = True
        return chosen

    # -- the ring -------------------------------------------------------------------------------

    def _rows(self, step: int, ticks: int) -> Rows:
        """Give the rows of the ticks that end with this step, oldest first."""
        begin = (step - ticks + 1) % self.depth
        if begin + ticks <= self.depth:
            return [slice(begin, begin + ticks)]
        return [slice(begin, self.depth), slice(0, begin + ticks - self.depth)]

    def _clear(self, row: int, cols: Columns, chosen: NDArray[np.bool_] | None = None) -> None:
        self._cells.clear(row, cols, chosen)
        if self._reporters is not None:
            numbers = column_numbers(cols)
            self._reporters.clear(row, numbers if chosen is None else numbers[chosen])
