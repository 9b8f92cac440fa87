# SPDX-License-Identifier: Apache-2.0
"""The engine: alarms, the windows of their groups, and the steps that are to be judged.

Beside the windows that samples feed there are the rules whose datapoints outside stores have: those
are in `asked`. Of alarms that are judged elsewhere only the state is known, for those that name
them.

It stores nothing and calls nobody: `evaluate` returns transitions, and whoever runs it tells with
`committed` or `rejected` what became of them. An alarm is not judged further while one of its
transitions is open, so that no judgement rests on a state that was never written.

Whoever drives it lets it know of series before their samples: `store.subscribe(engine.describe)`.
"""

import gc
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import Standing, Transition
from thermostat.alarms.outside import OutsideRule
from thermostat.alarms.rules import JoinedRule, ThresholdRule
from thermostat.evaluate import decide
from thermostat.evaluate.asked import Asked
from thermostat.evaluate.composites import Program
from thermostat.evaluate.due import Work
from thermostat.evaluate.filling import Filling
from thermostat.evaluate.joined import Joined, action_bits
from thermostat.evaluate.lacking import NOT_TOLD, Lacking
from thermostat.evaluate.leaves import Leaves
from thermostat.evaluate.opening import Opening
from thermostat.evaluate.polled import Polled
from thermostat.evaluate.polls import Pace
from thermostat.evaluate.pool import Pool
from thermostat.evaluate.residents import NONE, Residents
from thermostat.evaluate.schedules import Schedules
from thermostat.evaluate.telling import Judged, judged
from thermostat.evaluate.ticks import US_PER_S
from thermostat.evaluate.windows import Windows, in_portions
from thermostat.store.base import Batch, SampleStore, Series

LOG = logging.getLogger(__name__)
MOST_TOLD = 10_000
"""Transitions that one call of `evaluate` gives, or little more; the next call gives the others."""
ON_ITS_WAY_US = 60 * US_PER_S
"""How long a stored sample may be on its way to `ingest`."""
ALARMS_AT_ONCE = 20_000
"""Alarms whose definitions are held in memory at once while all are loaded."""
_NO_NUMBERS = np.empty(0, np.int64)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Let no collection walk over the growing dictionaries again and again; it finds nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Engine:
    """Evaluates alarms over live windows that ingestion feeds. Not thread-safe."""

    def __init__(
        self,
        store: SampleStore,
        allowed_lag_s: float,
        outside: Mapping[str, str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Give outside rules, by their types, to the stores of these names, at this pace."""
        self._allowed_lag_us = int(allowed_lag_s * US_PER_S)
        self._windows = Windows(self._allowed_lag_us)
        self._lacking = Lacking(self._windows)
        self._filling = Filling(store, self._windows, self._allowed_lag_us)
        self._schedules = Schedules()
        self._residents = Residents()
        polled = Polled(outside or {}, pace or Pace(), self._schedules)
        leaves = Leaves(self._windows, polled)
        self._joined = Joined(self._residents, leaves, self._schedules)
        self.asked = Asked(polled, self._residents, self._joined, self._schedules)
        """The alarms with outside rules."""
        self._elsewhere: dict[int, int] = {}
        """The states of the alarms that are not judged here, by number."""
        self._open: dict[int, tuple[Pool, int, int, int]] = {}
        """By alarm with an open transition: its pool, column, step, and what is told then."""
        self._on_its_way_until_us = 0
        self._paused_us: int | None = None
        """The step at which judging goes on once its transitions are written."""
        self.failures = 0
        """Steps that could not be judged; their reasons are in the log."""

    def __len__(self) -> int:
        return len(self._residents) - len(self._elsewhere)

    @property
    def held(self) -> int:
        """How many samples wait for the steps that they belong to."""
        return self._windows.held

    @property
    def dropped(self) -> int:
        """How many samples there was no room for among those that wait."""
        return self._windows.dropped

    @property
    def judged_us(self) -> int | None:
        """Up to when every step of every alarm has been judged and written; None without alarms."""
        return self._windows.judged_us

    # -- alarms ---------------------------------------------------------------------------------

    def load(self, alarms: Iterable[Standing], now_us: int, judged_us: int | None) -> None:
        """Evaluate all these alarms from now on: the start of a service.

        Their windows are rebuilt from the store. They are judged from the step after `judged_us`
        on, or after the last one whose judgement was written where that is later; with None, from
        the newest step that has samples on. Raises StoreError.
        """
        with _no_garbage_collection():
            opened, begin_us = [_NO_NUMBERS], [_NO_NUMBERS]
            reach_us = 0
            are_new = not len(self)
            for portion in in_portions(alarms, ALARMS_AT_ONCE):
                new = portion if are_new else list(filter(self._is_new, portion))
                opening = self._admit(new, judged_us)
                opened.append(self._open_all(opening))
                begin_us.append(np.array(opening.begin_us, np.int64))
                reaches_us = opening.reach_us(self._allowed_lag_us)
                reach_us = max(reach_us, max(reaches_us, default=0))
            windows = np.concatenate(opened)
            if len(windows):
                self._filling.rebuild(windows, np.concatenate(begin_us), reach_us, now_us)

    def wait_from(self, now_us: int) -> None:
        """Give all senders the allowed lag from this time on: before, nobody took their samples."""
        self._windows.wait_from(now_us)

    def put(self, alarm: Standing, now_us: int) -> None:
        """Evaluate this alarm from now on, or with this definition. Raises StoreError."""
        self.put_all([alarm], now_us)

    def put_all(self, alarms: Sequence[Standing], now_us: int) -> None:
        """Evaluate these alarms from now on, or with these definitions from now on.

        They are judged from the newest step that has samples on. Raises StoreError; the alarms are
        then not evaluated, and may be put again.
        """
        opening = self._admit(list(filter(self._is_new, alarms)), None)
        windows = self._open_all(opening)
        for number, *_ in opening.composites:
            self._joined.wait(number)
        if not len(windows):
            return
        try:
            self._filling.fill(windows, opening, now_us)
            self._on_its_way_until_us = now_us + ON_ITS_WAY_US
        except Exception:
            for number in set(opening.numbers):
                self.remove(self._residents.alarm_id(number))
            raise

    def remove(self, alarm_id: str) -> None:
        """Evaluate this alarm no longer; nothing happens if it was not being evaluated."""
        number = self._residents.find(alarm_id)
        if number is not None:
            self._take_out(number, int(decide.UNKNOWN))

    def park(self, transition: Transition) -> bool:
        """Evaluate an alarm no longer until it is put again; False: it was edited meanwhile.

        The alarms that name it go on with the state that was written before this transition.
        """
        number = self._residents.find(transition.alarm_id)
        if number is None or self._residents.revision[number] != transition.revision:
            return False
        self._take_out(number, self._state_of(number))
        return True

    def _take_out(self, number: int, state: int) -> None:
        """Evaluate an alarm no longer; this is its state from now on for those that name it."""
        if number in self._joined:
            self._joined.remove(number)
        elif number in self.asked:
            self.asked.remove(number)
        elif self._elsewhere.pop(number, None) is None:
            self._windows.close(int(self._residents.window[number]))
        self._open.pop(number, None)
        self._joined.note_state(number, state)
        self._residents.remove(number)

    def _admit(self, new: Sequence[Standing], judged_us: int | None) -> Opening:
        """Take in new alarms; give the windows that must be opened for them."""
        numbers = self._residents.add_all(new)
        opening = Opening()
        plain = [place for place, alarm in enumerate(new) if isinstance(alarm.rule, ThresholdRule)]
        opening.add_plain(
            [new[place] for place in plain],
            [numbers[place] for place in plain],
            self._schedules,
            judged_us,
        )
        for alarm, number in zip(new, numbers, strict=True):
            if isinstance(alarm.rule, JoinedRule):
                opening.add_composite(alarm, Program.of(alarm.rule), number, judged_us)
            elif isinstance(alarm.rule, OutsideRule):
                opening.add_outside(alarm, number, self._schedules)
            elif not isinstance(alarm.rule, ThresholdRule):
                self._elsewhere[number] = decide.NUMBERS[alarm.state]
                opening.elsewhere.append(number)
        return opening

    def _is_new(self, alarm: Standing) -> bool:
        """Tell whether windows must be opened for an alarm; if not, it is up to date now."""
        known = self._residents.find(alarm.alarm_id)
        if known is None:
            return True
        if self._residents.revision[known] > alarm.revision:
            return False  # two edits at once: the newer one came first
        if self._residents.is_same(known, alarm):
            self._update(known, alarm)
            return False
        self.remove(alarm.alarm_id)
        return True

    def _open_all(self, opening: Opening) -> NDArray[np.int64]:
        numbers = np.array(opening.numbers, np.int64)
        windows = self._windows.open_all(
            opening.rules, opening.projects, alarms=numbers, states=opening.states
        )
        for pool, cols, own in self._windows.locate_all(windows):
            pool.schedule[cols] = np.array(opening.schedules, np.int32)[own]
            pool.repeats[cols] = np.array(opening.repeats, np.uint8)[own]
            pool.told[cols] = np.array(opening.told, np.uint8)[own]
            pool.is_leaf[cols] = np.array(opening.is_leaf, np.bool_)[own]
        plain = ~np.array(opening.is_leaf, np.bool_)
        self._residents.window[numbers[plain]] = windows[plain]
        slots = self.asked.open_all(opening.wanted)
        for number, alarm, program, places in opening.composites:
            leaves = tuple(
                int(windows[place]) if place >= 0 else ~int(slots[~place]) for place in places
            )
            self._joined.add(number, alarm, program, leaves, self._state_of)
        if self._joined.names_any:
            composites = (number for number, *_ in opening.composites)
            others = (*opening.wanted.alarms, *opening.elsewhere)
            for number in dict.fromkeys(chain(numbers[plain].tolist(), composites, others)):
                self._joined.note_state(number, self._state_of(number))
        return windows

    def _update(self, number: int, alarm: Standing) -> None:
        """Go on with an alarm whose group and rule are as they were."""
        self._residents.revision[number] = alarm.revision
        if number in self._joined:
            self._joined.update(number, alarm)
        elif number in self.asked:
            self.asked.update(number, alarm)
        elif number in self._elsewhere:
            self._elsewhere[number] = decide.NUMBERS[alarm.state]
        else:
            self._open.pop(number, None)
            pool, col = self._windows.locate(int(self._residents.window[number]))
            pool.state[col] = decide.NUMBERS[alarm.state]
            pool.schedule[col] = self._schedules.number(alarm.time_constraints)
            pool.repeats[col] = action_bits(alarm) if alarm.repeat_actions else 0
            pool.thaw(col)
        self._joined.note_state(number, decide.NUMBERS[alarm.state])

    def _state_of(self, number: int) -> int:
        """Give the written state of an alarm; one that is to be opened has it noted then."""
        window = int(self._residents.window[number])
        if window != NONE:
            pool, col = self._windows.locate(window)
            return int(pool.state[col])
        if number in self._joined:
            return self._joined.state_of(number)
        if number in self.asked:
            return self.asked.state_of(number)
        return self._elsewhere.get(number, int(decide.UNKNOWN))

    # -- samples --------------------------------------------------------------------------------

    def describe(self, series: Sequence[Series]) -> None:
        """Take in new and changed series, before their samples."""
        self._windows.describe(series)

    def ingest(self, batch: Batch) -> int:
        """Count stored samples in the windows of the alarms whose groups they belong to.

        Gives how many of them came too late for a window that they match.
        """
        return self._windows.ingest(batch)

    # -- judging --------------------------------------------------------------------------------

    def evaluate(self, now_us: int) -> list[Transition]:
        """Judge every step that is due at this time, in the order of event time.

        Gives what is to be written, at most one transition an alarm: call it again when it was told
        what became of them, until it gives none. An alarm that cannot be judged, which is a fault
        of ours, costs the others nothing: its step is passed over.
        """
        if now_us > self._on_its_way_until_us:
            self._windows.forget_read()
        transitions: list[Transition] = []
        if self._paused_us is not None:
            transitions = self._joined.judge(self._paused_us, now_us)
            if transitions:
                return transitions
            self._paused_us = None
        self._joined.admit_new()
        while len(transitions) < MOST_TOLD:
            self._windows.release()
            work = self._windows.due(now_us)
            if not work:
                break
            self._judge_in_order(work, now_us, transitions)
            if self._paused_us is not None or len(transitions) >= MOST_TOLD:
                for one in work:  # some of it may be left
                    one.pool.due_us = 0
            if self._paused_us is not None:
                return transitions
            if not self._windows.held:
                break
        answered = self.asked.judge(now_us, max(1, MOST_TOLD - len(transitions)))
        return [*transitions, *answered, *self._joined.judge(now_us, now_us)]

    def _judge_in_order(self, work: list[Work], now_us: int, transitions: list[Transition]) -> None:
        """Judge step by step; pause where composite alarms must wait for what is written first."""
        while work and len(transitions) < MOST_TOLD:
            step_us = min(one.next_step() * one.pool.tick_us for one in work)
            before = len(transitions)
            for one in work:
                if step_us % one.pool.tick_us == 0:
                    step = step_us // one.pool.tick_us
                    cols = one.at(step)
                    if len(cols):
                        self._judge(one.pool, step, cols, now_us, transitions)
            if self._is_to_pause(step_us, now_us, transitions, before):
                self._paused_us = step_us
                return
            work = [rest for one in work if (rest := one.rest()) is not None]

    def _is_to_pause(
        self, step_us: int, now_us: int, transitions: list[Transition], before: int
    ) -> bool:
        """Judge composite alarms, unless what was told since `before` must be written first."""
        if any(map(self._is_named, transitions[before:])):
            return True
        joined = self._joined.judge(step_us, now_us)
        transitions += joined
        return bool(joined)

    def _is_named(self, transition: Transition) -> bool:
        number = self._residents.find(transition.alarm_id)
        return number is not None and self._joined.is_named(number)

    def _judge(
        self,
        pool: Pool,
        step: int,
        cols: NDArray[np.int64],
        now_us: int,
        transitions: list[Transition],
    ) -> None:
        try:
            after = pool.judge(step, cols)
        except Exception:
            if len(cols) > 1:  # find the one that is at fault
                for part in np.array_split(cols, 2):
                    self._judge(pool, step, part, now_us, transitions)
                return
            self._pass_over(pool, step, int(cols[0]))
            return
        own = pool.compact(cols)
        changed = after != pool.state[own]
        called = (pool.repeats[own] >> after.view(np.uint8)) & np.uint8(1) != 0
        told = changed | called | self._lacking.are_untold(pool, cols, after, changed)
        if pool.schedule.any():
            told &= self._schedules.open(pool.schedule[own], step * pool.tick_us)
        is_leaf = pool.is_leaf[own]
        if is_leaf.any():
            self._step_leaves(pool, cols, after, is_leaf & (changed | called))
            told &= ~is_leaf
        pool.advance(step, cols[~told] if told.any() else cols)
        found = np.flatnonzero(told)
        if len(found):
            found = found[: max(1, MOST_TOLD - len(transitions))]
            transitions.extend(self._tell(pool, step, cols[found], after[found], now_us))

    def _step_leaves(
        self,
        pool: Pool,
        cols: NDArray[np.int64],
        after: NDArray[np.int8],
        woken: NDArray[np.bool_],
    ) -> None:
        found = np.flatnonzero(woken)
        pool.state[cols[found]] = after[found]
        self._joined.step(pool.alarm[cols[found]].tolist())

    def _tell(
        self,
        pool: Pool,
        step: int,
        cols: NDArray[np.int64],
        after: NDArray[np.int8],
        now_us: int,
    ) -> Iterator[Transition]:
        lacks = self._lacking.groups(pool, step, cols, after)
        for place, one in enumerate(judged(pool, step, cols, after)):
            group, told = lacks.get(place, (None, NOT_TOLD))
            number = int(pool.alarm[one.col])
            try:
                meter = self._windows.meter_of(int(pool.window[one.col]))
                reason, data = one.reason(meter, group)
            except Exception:
                self._pass_over(pool, step, one.col)
                continue
            pool.frozen[one.col] = True
            self._open[number] = (pool, one.col, step, told)
            yield self._transition(number, one, (reason, data), now_us)

    def _transition(
        self, number: int, one: Judged, reason: tuple[str, dict[str, object]], now_us: int
    ) -> Transition:
        called = int(one.pool.repeats[one.col]) >> decide.NUMBERS[one.after] & 1
        return Transition(
            alarm_id=self._residents.alarm_id(number),
            revision=int(self._residents.revision[number]),
            previous=one.before,
            state=one.after,
            reason=reason[0],
            reason_data=reason[1],
            timestamp_us=now_us,
            step_us=one.step * one.pool.tick_us,
            quiet=one.after is one.before and not called,
        )

    def _pass_over(self, pool: Pool, step: int, col: int) -> None:
        """Go on behind a step that cannot be judged, within the handler of what it raised."""
        self.failures += 1
        alarm_id = self._residents.alarm_id(int(pool.alarm[col]))
        LOG.exception("Alarm %s cannot be judged", alarm_id)
        pool.advance(step, np.array([col]))

    # -- what became of it ----------------------------------------------------------------------

    def committed(self, transition: Transition) -> None:
        """Go on from the state that this transition left in the database."""
        number = self._residents.find(transition.alarm_id)
        # Where an edit came between writing and telling, `put` has brought the newer alarm.
        if number is None or self._residents.revision[number] != transition.revision:
            return
        if number in self._joined:
            self._joined.committed(number, transition)
        elif number in self.asked:
            self.asked.committed(number, transition)
        elif number in self._open:
            pool, col, step, told = self._open.pop(number)
            pool.state[col] = decide.NUMBERS[transition.state]
            pool.told[col] = told
            pool.thaw(col)
            pool.advance(step, np.array([col]))
        self._residents.revision[number] += transition.is_change
        self._joined.note_state(number, decide.NUMBERS[transition.state])

    def rejected(self, transition: Transition) -> None:
        """Judge the step of this transition again: it could not be written."""
        number = self._residents.find(transition.alarm_id)
        if number is None:
            return
        if number in self._joined:
            self._joined.rejected(number)
        elif number in self.asked:
            self.asked.rejected(number)
        elif number in self._open:
            pool, col, _, _ = self._open.pop(number)
            pool.thaw(col)
