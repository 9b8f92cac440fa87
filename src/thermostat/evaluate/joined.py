# SPDX-License-Identifier: Apache-2.0
"""Alarms with composite rules, being evaluated: looked at when one of their inputs has changed."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from thermostat.alarms.model import Standing, Transition
from thermostat.evaluate import decide
from thermostat.evaluate.composites import Code, Composite, Program, References, describe, evaluate
from thermostat.evaluate.leaves import Leaves
from thermostat.evaluate.residents import Residents
from thermostat.evaluate.schedules import Schedules

LOG = logging.getLogger(__name__)
ALL_STATES = 0b111


class Joined:
    """The composite alarms, by their number among the residents."""

    def __init__(self, residents: Residents, leaves: Leaves, schedules: Schedules) -> None:
        self._residents = residents
        self._leaves = leaves
        self._schedules = schedules
        self._alarms: dict[int, Composite] = {}
        self._references = References()
        self._changed: set[int] = set()
        self._new: set[int] = set()
        self._levels: dict[int, int] = {}
        self.held: set[int] = set()
        """The residents that change as soon as it is written: alarms that name them wait for it."""

    def __contains__(self, number: int) -> bool:
        return number in self._alarms

    # -- alarms ---------------------------------------------------------------------------------

    def add(
        self,
        number: int,
        alarm: Standing,
        program: Program,
        leaves: tuple[int, ...],
        state_of: Callable[[int], int],
    ) -> None:
        """Evaluate this alarm, which has these `Leaves`, from now on."""
        named = program.references
        if program.suppressor is not None:
            named = (*named, program.suppressor)
        numbers = tuple(self._number_of(one, alarm.project_id, state_of) for one in named)
        for one in numbers:
            self._references.dependents[one].add(number)
        count = len(program.references)
        composite = Composite(
            number=number,
            program=program,
            leaves=leaves,
            references=numbers[:count],
            suppressor=numbers[count] if len(numbers) > count else -1,
        )
        composite.written = tuple(decide.NUMBERS[state] for state in alarm.rule_states)
        self._alarms[number] = composite
        self._levels.clear()
        self._look_for_circles(composite)
        self.update(number, alarm)

    def _number_of(self, alarm_id: str, project_id: str, state_of: Callable[[int], int]) -> int:
        """Give the number of an alarm that another one of this project names."""
        resident = self._residents.find_in(project_id, alarm_id)
        state = int(decide.UNKNOWN) if resident is None else state_of(resident)
        return self._references.number(project_id, alarm_id, state)

    def _look_for_circles(self, composite: Composite) -> None:
        """Find out whether an alarm closes a circle; all alarms in it are marked."""
        circle = self._way_back(composite)
        for one in circle:
            one.is_circular = True
        if circle:
            names = ", ".join(self._residents.alarm_id(one.number) for one in circle)
            LOG.error("Alarms that name each other in a circle are not judged: %s", names)

    def _way_back(self, start: Composite) -> list[Composite]:
        """Give the alarms on a way from one alarm down to itself; none where there is no way."""
        above: dict[int, Composite] = {}
        waiting = [start]
        while waiting:
            one = waiting.pop()
            for below in self._below(one):
                if below is start:
                    way = [one]
                    while way[-1] is not start:
                        way.append(above[way[-1].number])
                    return way
                if below.number not in above:
                    above[below.number] = one
                    waiting.append(below)
        return []

    def _below(self, composite: Composite) -> list[Composite]:
        """Give the composite alarms that one names."""
        project_id = self._residents.project_id(composite.number)
        numbers = (
            self._residents.find_in(project_id, alarm_id)
            for alarm_id in (*composite.program.references, composite.program.suppressor)
            if alarm_id is not None
        )
        return [self._alarms[number] for number in numbers if number in self._alarms]

    def update(self, number: int, alarm: Standing) -> None:
        """Go on with another definition of an alarm, whose rule is the same."""
        composite = self._alarms[number]
        composite.state = decide.NUMBERS[alarm.state]
        composite.suppressed = alarm.suppressed
        composite.acts = action_bits(alarm)
        composite.repeats = alarm.repeat_actions
        composite.schedule = self._schedules.number(alarm.time_constraints)
        composite.told = alarm.is_told
        self._let_go(composite)
        self._changed.add(number)

    def remove(self, number: int) -> None:
        """Evaluate this alarm no longer."""
        composite = self._alarms.pop(number)
        self._levels.clear()
        for one in (*composite.references, composite.suppressor):
            if one >= 0:
                self._references.dependents[one].discard(number)
        for leaf in composite.leaves:
            self._leaves.close(leaf)
        self._changed.discard(number)
        self._new.discard(number)

    def state_of(self, number: int) -> int:
        """Give the written state of a composite alarm."""
        return self._alarms[number].state

    @property
    def names_any(self) -> bool:
        """Whether any alarm was ever named by a composite one."""
        return bool(self._references.numbers)

    def is_named(self, resident: int) -> bool:
        """Tell whether a composite alarm names this alarm."""
        if not self._references.numbers:
            return False
        key = (self._residents.project_id(resident), self._residents.alarm_id(resident))
        number = self._references.numbers.get(key)
        return number is not None and bool(self._references.dependents[number])

    def note_state(self, resident: int, state: int) -> None:
        """Take in the written state of any alarm; one that is going is in insufficient data."""
        if self._references.numbers:
            project_id = self._residents.project_id(resident)
            alarm_id = self._residents.alarm_id(resident)
            self._changed |= self._references.set_state(project_id, alarm_id, state)

    def step(self, numbers: Iterable[int]) -> None:
        """Note that a leaf of these alarms was judged."""
        for number in numbers:
            self._alarms[number].stepped = True
            self._changed.add(number)

    # -- judging --------------------------------------------------------------------------------

    def wait(self, number: int) -> None:
        """Look at a new alarm from the next step on: what it names may be new, too."""
        self._changed.discard(number)
        self._new.add(number)

    def admit_new(self) -> None:
        """Look at the new alarms from now on."""
        self._changed |= self._new
        self._new = set()

    def judge(self, time_us: int, now_us: int) -> list[Transition]:
        """Give what follows for the alarms whose inputs have changed, as of this event time.

        It goes from the bottom up, and stops where a transition must be written before the alarms
        that name its alarm can be looked at: call it again then, until it gives none.
        """
        while ready := self._ready(time_us):
            found = [
                transition
                for alike in _by_shape(ready)
                for transition in self._judge_alike(alike, time_us, now_us)
            ]
            if found:
                return found
        return []

    def _ready(self, time_us: int) -> list[Composite]:
        """Give the lowest of the alarms whose inputs have changed."""
        waiting = [
            composite
            for composite in map(self._alarms.__getitem__, sorted(self._changed))
            if not composite.is_open
            and self._schedules.is_open(composite.schedule, time_us)
            and self._leaves.are_known(composite.leaves)
            and not self._is_to_wait(composite)
        ]
        self._find_levels(waiting)
        levels = self._levels
        lowest = min((levels[composite.number] for composite in waiting), default=0)
        return [composite for composite in waiting if levels[composite.number] == lowest]

    def _is_to_wait(self, composite: Composite) -> bool:
        """Tell whether an alarm that this one names is about to change."""
        if not self.held:
            return False
        project_id = self._residents.project_id(composite.number)
        named = (*composite.program.references, composite.program.suppressor)
        return any(
            self._residents.find_in(project_id, alarm_id) in self.held
            for alarm_id in named
            if alarm_id is not None
        )

    def _find_levels(self, composites: list[Composite]) -> None:
        """Find how many alarms stand below each of these, at the most; a circle is cut somewhere.

        It holds until alarms come or go.
        """
        levels = self._levels
        stack = [composite for composite in composites if composite.number not in levels]
        while stack:
            one = stack[-1]
            below = self._below(one)
            if one.number not in levels:
                levels[one.number] = 0  # until those below have theirs
                stack += [other for other in below if other.number not in levels]
            else:
                stack.pop()
                lower = max((levels[other.number] for other in below), default=0)
                levels[one.number] = max(levels[one.number], 1 + lower)

    def _judge_alike(
        self, alike: list[Composite], time_us: int, now_us: int
    ) -> Iterator[Transition]:
        """Judge alarms whose rules have one shape."""
        leaves = np.array([one.leaves for one in alike], np.int64).T
        references = np.array([one.references for one in alike], np.int64).T
        leaf_states = self._leaves.states(leaves)
        code = alike[0].program.code
        after = evaluate(code, leaf_states, self._references.states[references])
        for composite, state, own in zip(
            alike, after.tolist(), leaf_states.T.tolist(), strict=True
        ):
            self._changed.discard(composite.number)
            try:
                transition = self._decide(composite, state, tuple(own), time_us, now_us)
            except Exception:  # one alarm must not end all alarming
                alarm_id = self._residents.alarm_id(composite.number)
                LOG.exception("Alarm %s cannot be judged", alarm_id)
                continue
            if transition is not None:
                self._hold(composite)
                yield transition

    def _decide(
        self, composite: Composite, after: int, leaves: tuple[int, ...], time_us: int, now_us: int
    ) -> Transition | None:
        if composite.is_circular:
            after = int(decide.UNKNOWN)
        suppressing = composite.suppressor >= 0 and (
            self._references.states[composite.suppressor] == decide.ALARM
        )
        is_change = after != composite.state
        released = composite.suppressed and not suppressing and not is_change
        repeated = composite.repeats and composite.stepped and bool(composite.acts >> after & 1)
        repeated = repeated and not is_change and not suppressing
        composite.stepped = False
        quiet = not (is_change or released or repeated)
        if quiet and composite.told and leaves == composite.written:
            return None
        if is_change:
            suppressed = suppressing and bool(composite.acts >> after & 1)
        else:
            suppressed = composite.suppressed and not released
        before, now = decide.STATES[composite.state], decide.STATES[after]
        states = tuple(decide.STATES[number] for number in leaves)
        reason, data = describe(
            composite.program,
            states,
            [decide.STATES[self._references.states[one]] for one in composite.references],
            before=before,
            after=now,
            suppressor=composite.program.suppressor if suppressed else None,
        )
        return Transition(
            alarm_id=self._residents.alarm_id(composite.number),
            revision=int(self._residents.revision[composite.number]),
            previous=before,
            state=now,
            reason=reason,
            reason_data=data,
            timestamp_us=now_us,
            step_us=time_us,
            rule_states=states,
            suppressed=suppressed,
            quiet=quiet,
        )

    # -- what became of it ----------------------------------------------------------------------

    def committed(self, number: int, transition: Transition) -> None:
        """Go on from what the database has now."""
        composite = self._alarms[number]
        composite.state = decide.NUMBERS[transition.state]
        composite.suppressed = transition.suppressed
        composite.written = tuple(decide.NUMBERS[state] for state in transition.rule_states)
        composite.told = True
        self._let_go(composite)
        if self._is_to_be_looked_at_again(composite):
            self._changed.add(number)

    def rejected(self, number: int) -> None:
        """Look at an alarm again: what followed could not be written."""
        composite = self._alarms[number]
        composite.stepped = True
        self._let_go(composite)
        self._changed.add(number)

    def _is_to_be_looked_at_again(self, composite: Composite) -> bool:
        """Tell whether an input may have changed while a transition was open."""
        return bool(composite.references) or composite.suppressor >= 0

    def _hold(self, composite: Composite) -> None:
        composite.is_open = True
        self._leaves.freeze(composite.leaves)

    def _let_go(self, composite: Composite) -> None:
        composite.is_open = False
        self._leaves.thaw(composite.leaves)
        wake = ALL_STATES if composite.repeats else 0
        self._leaves.wake_at_each_step(composite.leaves, wake)


def _by_shape(composites: list[Composite]) -> Iterable[list[Composite]]:
    alike: dict[Code, list[Composite]] = defaultdict(list)
    for composite in composites:
        alike[composite.program.code].append(composite)
    return alike.values()


def action_bits(alarm: Standing) -> int:
    """Give a number whose bit i tells whether the alarm has actions for the state of number i."""
    return sum(1 << decide.NUMBERS[state] for state in alarm.acts_on)
