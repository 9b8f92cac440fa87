# SPDX-License-Identifier: Apache-2.0
"""The rules of alarms: thresholds, and expressions over thresholds and other alarms.

The types that need other services are in `outside`, `events` and `balancers`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from thermostat.alarms.balancers import LoadBalancerRule
from thermostat.alarms.events import EventRule
from thermostat.alarms.outside import OUTSIDE_TYPES, OutsideRule
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.texts import Name

MAX_CONDITIONS = 100
"""How many conditions a query may have."""
MAX_PERIOD_S = 31_536_000
"""The longest period: a year, as in Aodh."""


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

    meter_name: Name
    """What is measured, such as `cpu_util`."""
    query: Annotated[tuple[Condition, ...], Meta(max_length=MAX_CONDITIONS)] = ()
    """Which resources: all conditions must hold."""
    period: Annotated[int, Meta(ge=1, le=MAX_PERIOD_S)] = 60
    """Seconds that one datapoint covers."""
    statistic: Statistic = Statistic.AVG
    """How the samples of a period, and of a group, become one datapoint."""
    comparison_operator: Operator = Operator.EQ
    """How datapoints are compared with the threshold."""
    threshold: float
    """What datapoints are compared with; finite."""
    evaluation_periods: Annotated[int, Meta(ge=1, le=100)] = 1
    """N: how many datapoints form the window."""
    datapoints_to_alarm: Annotated[int, Meta(ge=1, le=100)] | None = None
    """M: how many of the N must breach; null means all N."""
    treat_missing_data: MissingData = MissingData.MISSING
    """How a period without samples counts."""
    exclude_outliers: bool = False
    """Whether datapoints of unusually few or many samples are left out."""
    clear_threshold: float | None = None
    """In state alarm datapoints are compared with this instead of `threshold`; null: the same."""
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


class OutsideLeaf(msgspec.Struct, frozen=True, tag_field="kind", tag="outside"):
    """A rule over an outside store's datapoints inside an expression, with a state of its own."""

    rule: OutsideRule


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


Expression = Leaf | OutsideLeaf | AlarmRef | Not | AllOf | AnyOf


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
    """Alarms of the same project, from 2 to 100 different ones."""
    operator: Combine = Combine.AND
    """How their states are joined."""

    @property
    def expression(self) -> Expression:
        """The same as an expression."""
        operands = tuple(AlarmRef(alarm_id) for alarm_id in self.alarm_ids)
        return AllOf(operands) if self.operator is Combine.AND else AnyOf(operands)

    @property
    def suppressor(self) -> None:
        """None: a combination has no suppressor."""
        return


JoinedRule = CompositeRule | CombinationRule
"""A rule that joins states."""
Rule = ThresholdRule | JoinedRule | OutsideRule | EventRule | LoadBalancerRule

RULE_TYPES: Mapping[str, type[Rule]] = {
    "threshold": ThresholdRule,
    "composite": CompositeRule,
    "combination": CombinationRule,
    **OUTSIDE_TYPES,
    "event": EventRule,
    "loadbalancer_member_health": LoadBalancerRule,
}
"""The types of rules, by the name that stands in an alarm's `type`."""

_NAMES = {known: name for name, known in RULE_TYPES.items()}


def rule_type(rule: Rule) -> str:
    """Give the name of this rule's type."""
    return _NAMES[type(rule)]
