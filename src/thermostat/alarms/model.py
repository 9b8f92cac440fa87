# SPDX-License-Identifier: Apache-2.0
"""The alarm: a rule, a state, and actions for each state."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from thermostat.alarms.query import Condition, Operator

NOT_EVALUATED = "Not evaluated yet"
MAX_PERIOD_S = 31_536_000


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


class Statistic(StrEnum):
    """How the samples of one period become one datapoint."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    LAST = "last"
    STDDEV = "stddev"


class MissingData(StrEnum):
    """How a period without samples counts."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "not_breaching"


class ThresholdRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compare a statistic of a group, period by period, with a threshold."""

    meter_name: Annotated[str, Meta(min_length=1, max_length=255)]
    query: tuple[Condition, ...] = ()
    period: Annotated[int, Meta(ge=1, le=MAX_PERIOD_S)] = 60
    """Seconds that one datapoint covers."""
    statistic: Statistic = Statistic.AVG
    comparison_operator: Operator = Operator.EQ
    threshold: float
    evaluation_periods: Annotated[int, Meta(ge=1, le=100)] = 1
    """N: how many datapoints form the window."""
    datapoints_to_alarm: Annotated[int, Meta(ge=1, le=100)] | None = None
    """M: how many of the N must breach; None means all N."""
    treat_missing_data: MissingData = MissingData.MISSING
    exclude_outliers: bool = False

    @property
    def needed(self) -> int:
        """M, resolved."""
        return self.datapoints_to_alarm or self.evaluation_periods


class TimeConstraint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recurring span of time in which an alarm is evaluated."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    description: str = ""
    start: str
    """When the span begins, as a cron expression."""
    duration: Annotated[int, Meta(ge=0, le=MAX_PERIOD_S)]
    """How long the span lasts, in seconds; at most a year."""
    timezone: Annotated[str, Meta(max_length=255)] = ""
    """An IANA time zone name; empty means UTC."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm as it is stored. Timestamps are microseconds since the epoch, UTC."""

    alarm_id: str
    name: str
    description: str
    enabled: bool
    severity: Severity
    rule: ThresholdRule
    ok_actions: tuple[str, ...] = ()
    alarm_actions: tuple[str, ...] = ()
    insufficient_data_actions: tuple[str, ...] = ()
    repeat_actions: bool = False
    time_constraints: tuple[TimeConstraint, ...] = ()
    user_id: str
    project_id: str
    trust_id: str | None = None
    """The trust that `trust+` actions are delivered with; never shown to anyone."""
    state: State = State.INSUFFICIENT_DATA
    state_reason: str = NOT_EVALUATED
    state_timestamp_us: int
    timestamp_us: int
    """When the definition last changed."""
    evaluate_timestamp_us: int | None = None
    revision: int = 1
    """Grows with each change of definition or state: a transition is written only onto its own."""

    def actions(self, state: State) -> tuple[str, ...]:
        """Give the actions to call when the alarm is in this state."""
        return {
            State.OK: self.ok_actions,
            State.ALARM: self.alarm_actions,
            State.INSUFFICIENT_DATA: self.insufficient_data_actions,
        }[state]


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement worth telling: a change of state, or an unchanged one whose actions repeat."""

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

    @property
    def is_change(self) -> bool:
        """Tell a change of state from a repetition."""
        return self.state is not self.previous
