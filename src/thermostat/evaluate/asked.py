# SPDX-License-Identifier: Apache-2.0
"""Alarms with outside rules, being evaluated: from what stores answered to transitions."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import Standing, Transition
from thermostat.evaluate import decide
from thermostat.evaluate.answered import explain
from thermostat.evaluate.joined import Joined, action_bits
from thermostat.evaluate.polled import UNTOLD, Polled
from thermostat.evaluate.polls import Poll, Wanted
from thermostat.evaluate.residents import Residents
from thermostat.evaluate.schedules import Schedules
from thermostat.outside.base import Answer

LOG = logging.getLogger(__name__)


class Asked:
    """The alarms with one outside rule, and the leaves of composites that are such rules."""

    def __init__(
        self, polled: Polled, residents: Residents, joined: Joined, schedules: Schedules
    ) -> None:
        self._polled = polled
        self._residents = residents
        self._joined = joined
        self._schedules = schedules
        self._slots: dict[int, int] = {}
        self._open: dict[int, Answer] = {}
        """By alarm with an open transition: the answer that it rests on."""
        self._allowance: int | None = None
        self.is_behind = False
        """Whether more would have followed from what was answered than was allowed."""

    def __contains__(self, number: int) -> bool:
        return number in self._slots

    # -- alarms ---------------------------------------------------------------------------------

    def open_all(self, wanted: Wanted) -> NDArray[np.int64]:
        """Ask for the datapoints of these rules from now on; give their slots."""
        slots = self._polled.open_all(wanted)
        for number, slot, is_leaf in zip(
            wanted.numbers, slots.tolist(), wanted.is_leaf, strict=True
        ):
            if not is_leaf:
                self._slots[number] = slot
        return slots

    def update(self, number: int, alarm: Standing) -> None:
        """Go on with another definition of an alarm, whose rule is the same."""
        self._open.pop(number, None)
        slot = self._slots[number]
        self._polled.state[slot] = decide.NUMBERS[alarm.state]
        self._polled.schedule[slot] = self._schedules.number(alarm.time_constraints)
        self._polled.repeats[slot] = action_bits(alarm) if alarm.repeat_actions else 0
        self._polled.told[slot] = UNTOLD  # its reason may be another one now
        self._polled.frozen[slot] = False

    def remove(self, number: int) -> None:
        """Evaluate this alarm no longer."""
        self._joined.held.discard(number)
        self._open.pop(number, None)
        self._polled.close(self._slots.pop(number))

    def state_of(self, number: int) -> int:
        """Give the written state of an alarm."""
        return int(self._polled.state[self._slots[number]])

    # -- asking ---------------------------------------------------------------------------------

    def due(self, now_us: int) -> Sequence[Poll]:
        """Give what is to be asked now."""
        return self._polled.due(now_us)

    def take(self, poll: Poll, answers: Sequence[Answer]) -> None:
        """Take in what a store has answered."""
        self._polled.take(poll, answers)

    def fail(self, poll: Poll, reason: str, now_us: int) -> None:
        """Take in that a store could not be asked."""
        self._polled.fail(poll, reason, now_us)

    @property
    def stores(self) -> Sequence[str]:
        """The names of the stores."""
        return self._polled.store_names

    def late(self, store: str, now_us: int) -> int:
        """Give how many rules wait for long for a question to this store; from any thread."""
        return self._polled.late(store, now_us)

    # -- judging --------------------------------------------------------------------------------

    def allow(self, transitions: int) -> None:
        """Give so many transitions, and the others when this is called again.

        A store that all of a sudden cannot be reached may change any number of alarms at once; who
        writes that should look after the other alarms in between.
        """
        self._allowance = transitions

    def judge(self, now_us: int, most: int) -> list[Transition]:
        """Judge what was answered; give at most so many transitions, the others the next time."""
        polled = self._polled
        if self._allowance is not None:
            most = min(most, self._allowance)
        if most <= 0 or not polled.has_answers:
            return []
        slots, after = polled.judge()
        is_leaf = polled.is_leaf[slots]
        woken = self._step(slots[is_leaf], after[is_leaf], most)
        slots, after = slots[~is_leaf], after[~is_leaf]
        changed = after != polled.state[slots]
        called = (polled.repeats[slots] >> after.view(np.uint8)) & np.uint8(1) != 0
        told = changed | called | self._lacks_words(slots, after, changed)
        polled.done(slots[~told])
        # whatever names one of these waits until it is written
        self._joined.held = set(polled.alarm[slots[told]].tolist())
        found = np.flatnonzero(told)
        self.is_behind = max(len(found), woken) > most
        if len(found) > most:
            found = found[_in_turn(polled.store[slots[found]])[:most]]
        transitions = list(self._tell(slots[found], after[found], now_us))
        if self._allowance is not None:
            self._allowance -= max(len(transitions), woken)
        return transitions

    def _step(self, slots: NDArray[np.int64], after: NDArray[np.int8], most: int) -> int:
        """Let at most so many composites look at those of their leaves that have changed.

        All leaves of one that were answered are looked at together. Gives how many have changed.
        """
        polled = self._polled
        called = (polled.repeats[slots] >> after.view(np.uint8)) & np.uint8(1) != 0
        woken = (after != polled.state[slots]) | called
        alarm = polled.alarm[slots]
        alarms = np.unique(alarm[woken])
        if len(alarms) > most:
            now = ~np.isin(alarm, alarms[most:])
            slots, after, woken, alarm = slots[now], after[now], woken[now], alarm[now]
        polled.state[slots] = after
        polled.done(slots)
        self._joined.step(alarm[woken].tolist())
        return len(alarms)

    def _lacks_words(
        self, slots: NDArray[np.int64], after: NDArray[np.int8], changed: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Tell which stay in insufficient data for a reason that was not told yet."""
        lacking: NDArray[np.bool_] = (after == decide.UNKNOWN) & ~changed
        found = np.flatnonzero(lacking)
        if len(found):
            lacking[found] = self._polled.told[slots[found]] != self._polled.reasons(slots[found])
        return lacking

    def _tell(
        self, slots: NDArray[np.int64], after: NDArray[np.int8], now_us: int
    ) -> Iterator[Transition]:
        polled = self._polled
        before = polled.state[slots].tolist()
        times_us = polled.asked_us[slots].tolist()
        for slot, old, new, time_us in zip(
            slots.tolist(), before, after.tolist(), times_us, strict=True
        ):
            number = int(polled.alarm[slot])
            answer = polled.answer(slot)
            state, now = decide.STATES[old], decide.STATES[new]
            alarm_id = self._residents.alarm_id(number)
            try:
                reason, data = explain(polled.rule(slot), answer, state, now)
            except Exception:  # one alarm must not end all alarming
                LOG.exception("Alarm %s cannot be judged", alarm_id)
                polled.done(np.array([slot]))
                continue
            polled.frozen[slot] = True
            self._open[number] = answer
            yield Transition(
                alarm_id=alarm_id,
                revision=int(self._residents.revision[number]),
                previous=state,
                state=now,
                reason=reason,
                reason_data=data,
                timestamp_us=now_us,
                step_us=time_us,
                quiet=now is state and not int(polled.repeats[slot]) >> new & 1,
            )

    # -- what became of it ----------------------------------------------------------------------

    def committed(self, number: int, transition: Transition) -> None:
        """Go on from what the database has now."""
        self._joined.held.discard(number)
        answer = self._open.pop(number, None)
        if answer is None:
            return
        slot = np.array([self._slots[number]])
        state = decide.NUMBERS[transition.state]
        self._polled.state[slot] = state
        self._polled.frozen[slot] = False
        is_newest = self._polled.answer(int(slot[0])) is answer
        if state == decide.UNKNOWN and is_newest:
            self._polled.told[slot] = self._polled.reasons(slot)
        if is_newest:
            self._polled.done(slot)

    def rejected(self, number: int) -> None:
        """Judge the answer of an alarm again: what followed could not be written."""
        self._joined.held.discard(number)
        if self._open.pop(number, None) is not None:
            self._polled.frozen[self._slots[number]] = False


def _in_turn(stores: NDArray[np.int16]) -> NDArray[np.int64]:
    """Give the places of elements so that each store has its turn, however many it has."""
    rank = np.zeros(len(stores), np.int64)
    for store in np.unique(stores).tolist():
        own = np.flatnonzero(stores == store)
        rank[own] = np.arange(len(own))
    return np.argsort(rank, kind="stable")
