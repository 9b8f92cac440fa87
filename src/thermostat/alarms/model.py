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
    P50 = "p50"
    P75 = "p75"
    P90 = "p90"
    P95 = "p95"
    P98 = "p98"
    P99 = "p99"
    P99_5 = "p99.5"
    P99_9 = "p99.9"

    @property
    def quantile(self) -> float | None:
        """The share of samples at or below a percentile, 0 to 1; None for other statistics."""
        return round(float(self.value[1:]) / 100, 6) if self.value[0] == "p" else None


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
    clear_threshold: float | None = None
    """In state alarm datapoints are compared with this instead of `threshold`; None: the same."""
    min_reporting_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """A datapoint counts only when this share of the group's live members reported in it."""
    warm_up: Annotated[int, Meta(ge=0, le=86_400)] = 0
    """Seconds after its first sample in which a new member does not count."""

    @property
    def needed(self) -> int:
        """M, resolved."""
        return self.datapoints_to_alarm or self.evaluation_periods


class Leaf(msgspec.Struct, frozen=True, tag_field="kind", tag="threshold"):
    """A threshold rule inside an expression; it has a state of its own."""

    rule: ThresholdRule


class AlarmRef(msgspec.Struct, frozen=True, tag_field="kind", tag="alarm"):
    """The state of another alarm of the same project; insufficient data where there is none."""

    alarm_id: str


class Not(msgspec.Struct, frozen=True, tag_field="kind", tag="not"):
    """The opposite: ok for alarm, alarm for ok."""

    operand: "Expression"


class AllOf(msgspec.Struct, frozen=True, tag_field="kind", tag="and"):
    """Alarm where all operands are, ok where one is."""

    operands: "tuple[Expression, ...]"


class AnyOf(msgspec.Struct, frozen=True, tag_field="kind", tag="or"):
    """Alarm where one operand is, ok where all are."""

    operands: "tuple[Expression, ...]"


Expression = Leaf | AlarmRef | Not | AllOf | AnyOf


class CompositeRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Combine the states of threshold rules and of other alarms."""

    expression: Expression
    suppressor: str | None = None
    """While the alarm of this id is in state alarm, this one's actions are withheld."""


class Combine(StrEnum):
    """How a combination joins its alarms; the values are Ceilometer's."""

    AND = "and"
    OR = "or"


class CombinationRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Combine the states of other alarms: Ceilometer's rule, a special case of a composite."""

    alarm_ids: tuple[str, ...]
    operator: Combine = Combine.AND

    @property
    def expression(self) -> Expression:
        """The same as an expression."""
        operands = tuple(AlarmRef(alarm_id) for alarm_id in self.alarm_ids)
        return AllOf(operands) if self.operator is Combine.AND else AnyOf(operands)

    @property
    def suppressor(self) -> None:
        """None: a combination has no suppressor."""
        return


Rule = ThresholdRule | CompositeRule | CombinationRule


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
    rule: Rule
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
    judged_us: int | None = None
    """The newest step of event time whose judgement was written; None before the first."""
    rule_states: tuple[State, ...] = ()
    """The states of the leaves of a composite rule, from left to right; empty: not judged yet."""
    suppressed: bool = False
    """Whether the actions for the current state were withheld because of a suppressor."""

    def actions(self, state: State) -> tuple[str, ...]:
        """Give the actions to call when the alarm is in this state."""
        return {
            State.OK: self.ok_actions,
            State.ALARM: self.alarm_actions,
            State.INSUFFICIENT_DATA: self.insufficient_data_actions,
        }[state]


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement worth writing.

    It is a change of state; or an unchanged one whose actions are called (they repeat, or their
    suppressor has let go); or, where it is `quiet`, one that only what is known of the alarm has
    changed with: no history, no notification, and the alarm's revision stays.
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

    @property
    def is_change(self) -> bool:
        """Tell a change of state from a repetition."""
        return self.state is not self.previous
