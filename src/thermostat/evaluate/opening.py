# SPDX-License-Identifier: Apache-2.0
"""What is to be opened for alarms, as columns: a window for each threshold rule in them.

And, in columns of their own, a slot for each outside rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from thermostat.alarms.model import Standing, State
from thermostat.alarms.outside import OutsideRule
from thermostat.alarms.rules import ThresholdRule
from thermostat.evaluate.composites import Program
from thermostat.evaluate.joined import action_bits
from thermostat.evaluate.lacking import NOT_TOLD, SETTLED
from thermostat.evaluate.polls import Wanted
from thermostat.evaluate.schedules import ALWAYS, Schedules
from thermostat.evaluate.ticks import US_PER_S, tick_s, window_us

NEWEST = -1
"""Judge from the newest step with samples on."""


@dataclass(slots=True)
class Opening:
    """Columns of one length, but for the last."""

    rules: list[ThresholdRule] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """The number of the alarm that each belongs to."""
    states: list[State] = field(default_factory=list)
    begin_us: list[int] = field(default_factory=list)
    """After which event time each is judged, or `NEWEST`."""
    schedules: list[int] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    is_leaf: list[bool] = field(default_factory=list)
    composites: list[tuple[int, Standing, Program, tuple[int, ...]]] = field(default_factory=list)
    """Number, alarm, program, and of each leaf its place here, or its complement in `wanted`."""
    wanted: Wanted = field(default_factory=Wanted)
    """The rules that outside stores are asked for."""
    elsewhere: list[int] = field(default_factory=list)
    """The numbers of the alarms that are judged elsewhere."""

    def add_plain(
        self,
        alarms: Sequence[Standing],
        numbers: Sequence[int],
        schedules: Schedules,
        judged_us: int | None,
    ) -> None:
        """Add the windows of alarms with threshold rules."""
        self.rules += [alarm.rule for alarm in alarms]  # type: ignore[misc]  # all are plain
        self.projects += [alarm.project_id for alarm in alarms]
        self.numbers += numbers
        self.states += [alarm.state for alarm in alarms]
        if judged_us is None:
            self.begin_us += [NEWEST] * len(alarms)
        else:
            self.begin_us += [_begin_us(alarm, judged_us) for alarm in alarms]
        self.schedules += [
            schedules.number(alarm.time_constraints) if alarm.time_constraints else ALWAYS
            for alarm in alarms
        ]
        self.repeats += [action_bits(alarm) if alarm.repeat_actions else 0 for alarm in alarms]
        self.told += [SETTLED if alarm.is_told else NOT_TOLD for alarm in alarms]
        self.is_leaf += [False] * len(alarms)

    def add_outside(self, alarm: Standing, number: int, schedules: Schedules) -> None:
        """Add what is to be asked for an alarm with an outside rule."""
        if not isinstance(alarm.rule, OutsideRule):
            raise TypeError(f"{type(alarm.rule).__name__} is no rule over an outside store")
        self.wanted.add(
            alarm.rule,
            alarm.project_id,
            number=number,
            state=alarm.state,
            schedule=schedules.number(alarm.time_constraints),
            repeats=action_bits(alarm) if alarm.repeat_actions else 0,
        )

    def add_composite(
        self, alarm: Standing, program: Program, number: int, judged_us: int | None
    ) -> None:
        """Add the windows of a composite rule's leaves, and what is to be asked for them."""
        states = alarm.rule_states
        is_known = len(states) == len(program.leaves)
        if not is_known:
            states = (State.INSUFFICIENT_DATA,) * len(program.leaves)
        begin_us = NEWEST if judged_us is None else _begin_us(alarm, judged_us)
        places = []
        for rule, state in zip(program.leaves, states, strict=True):
            if isinstance(rule, ThresholdRule):
                places.append(len(self.rules))
                self._add_leaf(rule, alarm.project_id, number, state, begin_us)
            else:
                places.append(~len(self.wanted))
                self.wanted.add(
                    rule,
                    alarm.project_id,
                    number=number,
                    state=state,
                    is_leaf=True,
                    is_fresh=not is_known,
                )
        self.composites.append((number, alarm, program, tuple(places)))

    def _add_leaf(
        self, rule: ThresholdRule, project_id: str, number: int, state: State, begin_us: int
    ) -> None:
        self.rules.append(rule)
        self.projects.append(project_id)
        self.numbers.append(number)
        self.states.append(state)
        self.begin_us.append(begin_us)
        self.schedules.append(ALWAYS)
        self.repeats.append(0)
        self.told.append(SETTLED)
        self.is_leaf.append(True)

    def reach_us(self, allowed_lag_us: int) -> list[int]:
        """Give how far back from now each window may have to be filled."""
        of_shape: dict[tuple[int, int, bool], int] = {}
        reaches = []
        for rule in self.rules:
            shape = (rule.period, rule.evaluation_periods, rule.exclude_outliers)
            reach_us = of_shape.get(shape)
            if reach_us is None:
                reach_us = window_us(rule) + allowed_lag_us + 2 * tick_s(rule.period) * US_PER_S
                of_shape[shape] = reach_us
            reaches.append(reach_us)
        return reaches


def _begin_us(alarm: Standing, judged_us: int) -> int:
    return judged_us if alarm.judged_us is None else max(judged_us, alarm.judged_us)
