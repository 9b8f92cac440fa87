# SPDX-License-Identifier: Apache-2.0
"""The alarm: a rule, a state, and actions for each state."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from thermostat.alarms.rules import MAX_PERIOD_S, Rule
from thermostat.alarms.texts import Description, Name, Word

NOT_EVALUATED = "Not evaluated yet"


class State(StrEnum):
    """What an alarm says of its group; the values are Aodh's."""

    OK = "ok"
    ALARM = "alarm"
    INSUFFICIENT_DATA = "insufficient data"


class Severity(StrEnum):
    """How much an alarm matters to its owner; the values are Aodh's."""

    LOW = "low"
    MODERATE = "moderate"
    CRITICAL = "critical"


class TimeConstraint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recurring span of time in which an alarm is evaluated."""

    name: Name
    """Each of an alarm's has another."""
    description: Description = ""
    """Left out: a sentence about start and duration."""
    start: str
    """When the span begins, as a cron expression."""
    duration: Annotated[int, Meta(ge=0, le=MAX_PERIOD_S)]
    """How long the span lasts, in seconds; at most a year."""
    timezone: Word = ""
    """An IANA time zone name; empty means UTC."""


class Alarm(msgspec.Struct, frozen=True):
    """One alarm as it is stored. Timestamps are microseconds since the epoch, UTC.

    Give its fields by name; by position is for those who make a million of them, since it takes a
    sixth of the time.
    """

    alarm_id: str
    name: str
    description: str
    enabled: bool
    severity: Severity
    rule: Rule
    user_id: str
    project_id: str
    state_timestamp_us: int
    timestamp_us: int
    """When the definition last changed."""
    ok_actions: tuple[str, ...] = ()
    alarm_actions: tuple[str, ...] = ()
    insufficient_data_actions: tuple[str, ...] = ()
    repeat_actions: bool = False
    time_constraints: tuple[TimeConstraint, ...] = ()
    trust_id: str | None = None
    """The trust that `trust+` actions are delivered with; never shown to anyone."""
    state: State = State.INSUFFICIENT_DATA
    state_reason: str = NOT_EVALUATED
    evaluate_timestamp_us: int | None = None
    revision: int = 1
    """Grows with each change of definition or state: a transition is written only onto its own."""
    judged_us: int | None = None
    """The newest step of event time whose judgement was written; None before the first."""
    rule_states: tuple[State, ...] = ()
    """The states of the leaves of a composite rule, from left to right; empty: not judged yet."""
    suppressed: bool = False
    """Whether the actions for the current state were withheld because of a suppressor."""

    @property
    def standing(self) -> "Standing":
        """What the evaluator needs of it."""
        return Standing(
            alarm_id=self.alarm_id,
            project_id=self.project_id,
            rule=self.rule,
            time_constraints=self.time_constraints,
            state=self.state,
            is_told=self.state_reason != NOT_EVALUATED,
            revision=self.revision,
            repeat_actions=self.repeat_actions,
            acts_on=tuple(state for state in State if self.actions(state)),
            judged_us=self.judged_us,
            rule_states=self.rule_states,
            suppressed=self.suppressed,
        )

    def actions(self, state: State) -> tuple[str, ...]:
        """Give the actions to call when the alarm is in this state."""
        return {
            State.OK: self.ok_actions,
            State.ALARM: self.alarm_actions,
            State.INSUFFICIENT_DATA: self.insufficient_data_actions,
        }[state]


ACTION_FIELDS = ("ok_actions", "alarm_actions", "insufficient_data_actions")
"""Where an alarm has its actions."""


class Standing(msgspec.Struct, frozen=True):
    """What the evaluator needs of an alarm: a million of them are read at its start."""

    alarm_id: str
    project_id: str
    rule: Rule
    time_constraints: tuple[TimeConstraint, ...]
    state: State
    is_told: bool
    """Whether its `state_reason` says anything yet."""
    revision: int
    repeat_actions: bool
    acts_on: tuple[State, ...]
    """The states that it has actions for."""
    judged_us: int | None
    rule_states: tuple[State, ...]
    suppressed: bool


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement worth writing.

    It is a change of state; or an unchanged one whose actions are called (they repeat, or their
    suppressor has let go); or, where it is `quiet`, one that only what is known of the alarm has
    changed with: no history, no notification, and the alarm's revision stays; or, where it
    `recurs`, one that happened again: told as a change is, but the alarm's revision stays.
    """

    alarm_id: str
    revision: int
    """The alarm's revision that was judged."""
    previous: State
    state: State
    reason: str
    """A sentence with the datapoints that decided."""
    reason_data: dict[str, Any]
    """Aodh's `type`, `disposition`, `count`, `most_recent`, and our `datapoints`."""
    timestamp_us: int
    """When it was judged."""
    step_us: int = 0
    """The step of event time that decided."""
    rule_states: tuple[State, ...] = ()
    """The states of a composite rule's leaves, from left to right."""
    suppressed: bool = False
    """Whether the actions of this state are withheld."""
    quiet: bool = False
    """Whether only `state_reason`, `rule_states`, `suppressed` and `judged_us` are written."""
    recurs: bool = False
    """Whether an unchanged state is in the history, with its reason, as something that happened."""

    @property
    def is_change(self) -> bool:
        """Tell a change of state from a repetition."""
        return self.state is not self.previous


class RefusedTransition(Exception):  # noqa: N818 - it names what was refused
    """The database takes no such transition of this alarm; those of others may well be written."""
