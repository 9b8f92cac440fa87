# SPDX-License-Identifier: Apache-2.0
"""Rules whose datapoints outside stores are asked for, as columns. Pure: no I/O, no clock.

Each rule is a slot. Slots that are due are gathered to one poll a store; what the store answered
waits in its slots until it is judged. A store has one poll under way at a time, and only the
answers to the newest question of a slot count: so an edit, a poll that was given up and a store
that comes back late never bring what is old.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.outside import OutsideRule
from thermostat.evaluate import answered, decide
from thermostat.evaluate.answered import Shape
from thermostat.evaluate.polls import LONGEST_RETRY_S, Pace, Poll, Store, Wanted
from thermostat.evaluate.schedules import Schedules
from thermostat.evaluate.ticks import US_PER_S
from thermostat.outside.base import Answer, Question

LATE_S = 10
"""An alarm is late when its question has been due for so long, in seconds."""
UNTOLD = -1
NOTHING = 0
"""The number of the reason where there is none."""
MOST_REASONS = 10_000
_NOT_ASKED = 0
_NEVER = np.iinfo(np.int64).max // 2
_NOWHERE = -1
_NO_ANSWER = Answer(())
_NO_SLOTS = np.empty(0, np.int64)
_FIELDS: Mapping[str, type[np.generic]] = {
    "alarm": np.int32,
    "threshold": np.float64,
    "operator": np.uint8,
    "shape": np.int32,
    "state": np.int8,
    "store": np.int16,
    "period_us": np.int64,
    "due_us": np.int64,
    "asked": np.int64,
    "asked_us": np.int64,
    "schedule": np.int32,
    "repeats": np.uint8,
    "told": np.int32,
    "answered": np.bool_,
    "fresh": np.bool_,
    "frozen": np.bool_,
    "is_leaf": np.bool_,
}


class Polled:
    """The slots. Not thread-safe."""

    alarm: NDArray[np.int32]
    """The number of the alarm that each slot belongs to."""
    threshold: NDArray[np.float64]
    operator: NDArray[np.uint8]
    """`decide.OPERATOR_MASKS`."""
    shape: NDArray[np.int32]
    state: NDArray[np.int8]
    store: NDArray[np.int16]
    period_us: NDArray[np.int64]
    due_us: NDArray[np.int64]
    """When the next question is due."""
    asked: NDArray[np.int64]
    """The number of the poll whose answer is waited for; 0: none."""
    asked_us: NDArray[np.int64]
    """Up to when the last answer was asked for."""
    schedule: NDArray[np.int32]
    """The number of the alarm's time constraints; 0: always."""
    repeats: NDArray[np.uint8]
    """Bit i: actions are repeated in the state of number i."""
    told: NDArray[np.int32]
    """The number of the reason for insufficient data that was last told."""
    answered: NDArray[np.bool_]
    """Whether an answer waits to be judged."""
    fresh: NDArray[np.bool_]
    """Whether it is a leaf whose state says nothing yet."""
    frozen: NDArray[np.bool_]
    """Whether a transition of its alarm is open: it is not judged meanwhile."""
    is_leaf: NDArray[np.bool_]
    """Whether the slot belongs to a composite rule."""

    def __init__(self, stores: Mapping[str, str], pace: Pace, schedules: Schedules) -> None:
        """Ask the stores of these names, by the types of rules that they answer."""
        self._pace = pace
        self._schedules = schedules
        self._lag_us = int(pace.lag_s * US_PER_S)
        self._patience_us = int(pace.patience_s * US_PER_S)
        names = list(dict.fromkeys(stores.values()))
        self._stores = [Store(name) for name in names]
        self._store_of = {kind: names.index(name) for kind, name in stores.items()}
        self._shapes: dict[Shape, int] = {}
        self._shape_list: list[Shape] = []
        self._reasons: dict[str | None, int] = {None: NOTHING}
        self._reason_count = 0
        self._questions: list[Question | None] = []
        self._answers: list[Answer] = []
        self._free: list[int] = []
        self._now_us = 0
        self._next_us = 0
        self._polls = 0
        self.has_answers = False
        """Whether some answer may wait to be judged."""
        self.size = 0
        """Slots in use, free ones between them included."""
        for name, kind in _FIELDS.items():
            setattr(self, name, np.zeros(0, kind))

    def __len__(self) -> int:
        return self.size - len(self._free)

    # -- slots ----------------------------------------------------------------------------------

    def open_all(self, wanted: Wanted) -> NDArray[np.int64]:
        """Open a slot for each of these rules, due at once; give their numbers."""
        count = len(wanted)
        if not count:
            return _NO_SLOTS
        reused = [self._free.pop() for _ in range(min(len(self._free), count))]
        size = self.size + count - len(reused)
        if size > len(self.due_us):
            self._reserve(max(64, size, len(self.due_us) * 5 // 4))
        slots = np.concatenate([np.array(reused, np.int64), np.arange(self.size, size)])
        self.size = size
        for name in ("asked", "asked_us", "answered", "frozen", "due_us"):
            getattr(self, name)[slots] = 0
        rules = wanted.rules
        self.alarm[slots] = wanted.numbers
        self.threshold[slots] = [rule.threshold for rule in rules]
        self.operator[slots] = [decide.OPERATOR_MASKS[rule.comparison_operator] for rule in rules]
        self.shape[slots] = [self._shape_number(Shape.of(rule)) for rule in rules]
        self.store[slots] = [self._store_of.get(_type(rule), _NOWHERE) for rule in rules]
        self.period_us[slots] = [self._pace.period_us(rule.granularity) for rule in rules]
        self.state[slots] = [decide.NUMBERS[state] for state in wanted.states]
        self.schedule[slots] = wanted.schedules
        self.repeats[slots] = wanted.repeats
        self.told[slots] = UNTOLD
        self.is_leaf[slots] = wanted.is_leaf
        self.fresh[slots] = wanted.fresh
        for slot, rule, project_id in zip(slots.tolist(), rules, wanted.projects, strict=True):
            self._questions[slot] = Question(rule, project_id)
        self._next_us = 0
        return slots

    def close(self, slot: int) -> None:
        """Close a slot; what is still answered to it is dropped."""
        self.due_us[slot] = _NEVER
        self.asked[slot] = _NOT_ASKED
        self.answered[slot] = False
        self._questions[slot], self._answers[slot] = None, _NO_ANSWER
        self._free.append(slot)

    def rule(self, slot: int) -> OutsideRule:
        """Give the rule of a slot."""
        question = self._questions[slot]
        if question is None:
            raise LookupError(f"slot {slot} is closed")
        return question.rule

    def answer(self, slot: int) -> Answer:
        """Give the last answer to a slot."""
        return self._answers[slot]

    def reasons(self, slots: NDArray[np.int64]) -> NDArray[np.int32]:
        """Give the numbers of the reasons why the answers to these slots have no datapoints."""
        answers = self._answers
        return np.array(
            [self._reason_number(answers[slot].reason) for slot in slots.tolist()], np.int32
        )

    @property
    def store_names(self) -> list[str]:
        """The names of the stores, by number."""
        return [store.name for store in self._stores]

    def late(self, store: str, now_us: int) -> int:
        """Give how many slots' questions to a store are late. It may be called from any thread."""
        due_us, number = self.due_us, self.store
        size = min(len(due_us), len(number), self.size)
        late = due_us[:size] < now_us - LATE_S * US_PER_S
        late &= number[:size] == self.store_names.index(store)
        return int(np.count_nonzero(late))

    def _shape_number(self, shape: Shape) -> int:
        number = self._shapes.get(shape)
        if number is None:
            number = self._shapes[shape] = len(self._shape_list)
            self._shape_list.append(shape)
        return number

    def _reason_number(self, reason: str | None) -> int:
        number = self._reasons.get(reason)
        if number is None:
            if len(self._reasons) >= MOST_REASONS:
                self._reasons = {None: NOTHING}
            self._reason_count += 1
            number = self._reasons[reason] = self._reason_count
        return number

    def _reserve(self, slots: int) -> None:
        for name, kind in _FIELDS.items():
            new = np.full(slots, _NEVER, kind) if name == "due_us" else np.zeros(slots, kind)
            new[: self.size] = getattr(self, name)[: self.size]
            setattr(self, name, new)
        more = slots - len(self._questions)
        self._questions += [None] * more
        self._answers += [_NO_ANSWER] * more

    # -- asking ---------------------------------------------------------------------------------

    def due(self, now_us: int) -> list[Poll]:
        """Give the polls that are to be begun now.

        Slots of a store that cannot be reached, or that there is none for, are answered here.
        """
        self._follow_clock(now_us)
        if now_us < self._next_us or not len(self):
            return []
        for store in self._stores:
            if store.is_silent(now_us, self._patience_us):
                self._give_up(store, now_us)
        due = np.flatnonzero(self.due_us[: self.size] <= now_us)
        due = self._not_resting(due, now_us)
        of_store = self.store[due]
        polls = []
        for number in np.unique(of_store).tolist():
            poll = self._poll(number, due[of_store == number], now_us)
            if poll is not None:
                polls.append(poll)
        self._next_us = int(self.due_us[: self.size].min())
        for store in self._stores:
            if store.flying is not None:
                self._next_us = min(self._next_us, store.since_us + self._patience_us)
        return polls

    def _follow_clock(self, now_us: int) -> None:
        """Put off nothing for longer than from now on, where the clock was set back."""
        if now_us < self._now_us:
            due_us = self.due_us[: self.size]
            latest_us = now_us + self.period_us[: self.size]
            np.minimum(due_us, latest_us, out=due_us, where=due_us < _NEVER)
            for store in self._stores:
                store.retry_us = min(store.retry_us, now_us + LONGEST_RETRY_S * US_PER_S)
                store.since_us = min(store.since_us, now_us)
            self._next_us = 0
        self._now_us = now_us

    def _give_up(self, store: Store, now_us: int) -> None:
        """Wait no longer for what is under way; a store that hangs is not asked anything else."""
        if store.flying is not None:
            slots = self._waiting_for(store.flying)
            self.due_us[slots] = now_us + LONGEST_RETRY_S * US_PER_S
            self._leave_without(slots, now_us, [store.silence] * len(slots))

    def _waiting_for(self, poll: Poll) -> NDArray[np.int64]:
        slots: NDArray[np.int64] = poll.slots[self.asked[poll.slots] == poll.number]
        return slots

    def _not_resting(self, due: NDArray[np.int64], now_us: int) -> NDArray[np.int64]:
        """Leave out those whose alarms are not judged at this time."""
        schedule = self.schedule[due]
        if not schedule.any():
            return due
        is_open = self._schedules.open(schedule, now_us)
        self._put_off(due[~is_open], now_us)
        return due[is_open]

    def _poll(self, number: int, due: NDArray[np.int64], now_us: int) -> Poll | None:
        if number == _NOWHERE:
            self._put_off(due, now_us)
            kinds = [_type(self.rule(slot)) for slot in due.tolist()]
            self._leave_without(due, now_us, [f"no store answers {kind} rules" for kind in kinds])
            return None
        store = self._stores[number]
        if store.is_silent(now_us, self._patience_us):
            self.due_us[due] = now_us + LONGEST_RETRY_S * US_PER_S
            self._leave_without(due, now_us, [store.silence] * len(due))
            return None
        if store.flying is not None or not len(due):
            return None
        if now_us < store.retry_us:
            self.due_us[due] = store.retry_us
            if store.is_unreachable:
                self._leave_without(due, now_us, [store.reason] * len(due))
            return None
        self._put_off(due, now_us)
        self._polls += 1
        self.asked[due] = self._polls
        questions = [one for slot in due.tolist() if (one := self._questions[slot]) is not None]
        poll = Poll(self._polls, store.name, due, questions, now_us - self._lag_us)
        store.flying, store.since_us = poll, now_us
        return poll

    def _put_off(self, slots: NDArray[np.int64], now_us: int) -> None:
        """Let these be due when their period has passed, counted from the epoch."""
        period_us = self.period_us[slots]
        passed = (now_us - self._lag_us) // period_us
        self.due_us[slots] = (passed + 1) * period_us + self._lag_us

    def _leave_without(self, slots: NDArray[np.int64], now_us: int, reasons: Iterable[str]) -> None:
        """Answer these slots with no datapoints, for these reasons."""
        shapes = [self._shape_list[number] for number in self.shape[slots].tolist()]
        for slot, shape, reason in zip(slots.tolist(), shapes, reasons, strict=True):
            self._answers[slot] = Answer((None,) * shape.points, reason)
        self.asked[slots] = _NOT_ASKED
        self.asked_us[slots] = now_us
        self.answered[slots] = True
        self.has_answers = True

    # -- answers --------------------------------------------------------------------------------

    def take(self, poll: Poll, answers: Sequence[Answer]) -> None:
        """Take in what a store has answered to a poll; what is out of date is dropped."""
        store = self._landed(poll)
        store.recover()
        is_waiting = self.asked[poll.slots] == poll.number
        slots = poll.slots[is_waiting]
        own = self._answers
        for slot, answer in zip(slots.tolist(), compress(answers, is_waiting), strict=True):
            own[slot] = answer
        self.asked[slots] = _NOT_ASKED
        self.asked_us[slots] = poll.time_us
        self.answered[slots] = True
        self.has_answers = True

    def fail(self, poll: Poll, reason: str, now_us: int) -> None:
        """Take in that a store could not be asked."""
        store = self._landed(poll)
        store.fail(reason, now_us)
        slots = self._waiting_for(poll)
        self.asked[slots] = _NOT_ASKED
        self.due_us[slots] = store.retry_us
        if store.is_unreachable:
            self._leave_without(slots, now_us, [reason] * len(slots))

    def _landed(self, poll: Poll) -> Store:
        store = next(one for one in self._stores if one.name == poll.store)
        if store.flying is poll:
            store.flying = None
        self._next_us = 0
        return store

    # -- judging --------------------------------------------------------------------------------

    def judge(self) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Give the slots with answers that are to be judged now, and the states that follow.

        The states of the slots do not change yet.
        """
        waiting = self.answered[: self.size]
        slots = np.flatnonzero(waiting & ~self.frozen[: self.size])
        self.has_answers = bool(waiting.any())
        after = np.empty(len(slots), np.int8)
        shapes = self.shape[slots]
        for number in np.unique(shapes).tolist():
            own = np.flatnonzero(shapes == number)
            cols = slots[own]
            shape = self._shape_list[number]
            after[own] = answered.states(
                self._values(cols, shape.points),
                shape,
                threshold=self.threshold[cols],
                operator=self.operator[cols],
                state=self.state[cols],
            )
        return slots, after

    def _values(self, slots: NDArray[np.int64], points: int) -> NDArray[np.float64]:
        """Give the datapoints of answers, shape (points, slots); NaN: there is none."""
        answers, numbers = self._answers, slots.tolist()
        rows = [answers[slot].values for slot in numbers]
        values = _numbers(rows, (len(slots), points))
        if values is not None:
            return values.T
        for slot in numbers:  # find those that are at fault
            if _numbers(answers[slot].values, (points,)) is None:
                answers[slot] = Answer((None,) * points, f"the store gave no {points} datapoints")
        return np.array([answers[slot].values for slot in numbers], np.float64).T

    def done(self, slots: NDArray[np.int64]) -> None:
        """Note that the answers to these slots were judged."""
        self.answered[slots] = False
        self.fresh[slots] = False


def _numbers(values: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Give values as an array; None where they have another shape, or are no numbers."""
    try:
        found = np.array(values, np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.shape == shape else None


def _type(rule: OutsideRule) -> str:
    return str(rule.__struct_config__.tag)
