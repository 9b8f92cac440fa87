# SPDX-License-Identifier: Apache-2.0
"""Rules whose datapoints are asked of an outside store: Gnocchi, or one that answers PromQL.

Their fields and defaults are Aodh's; `evaluation_periods`, `granularity` and `for` of a
`prometheus` rule are additions.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from thermostat.alarms.query import Operator
from thermostat.alarms.texts import NO_NUL, Name

MAX_GRANULARITY_S = 31_536_000
"""The longest granularity: a year, as in Aodh."""
MOST_INSTANTS = 1_000
"""How many instants the `for` of a rule may span: more of them need a longer granularity."""
MAX_QUERY = 10_000
"""The longest query, in characters."""

_AGGREGATES = ("mean", "max", "min", "sum", "count", "median", "std", "first", "last")
AGGREGATION_METHODS = f"{', '.join(_AGGREGATES)}, 1pct to 99pct, each also after rate:"
"""Gnocchi's aggregation methods, in words; every Gnocchi has these and no others."""

_Query = Annotated[str, Meta(min_length=1, max_length=MAX_QUERY, pattern=NO_NUL)]
_Periods = Annotated[int, Meta(ge=1, le=100)]
_Granularity = Annotated[int, Meta(ge=1, le=MAX_GRANULARITY_S)]


class _GnocchiRule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """What the rules over Gnocchi's measures share."""

    threshold: float
    """What datapoints are compared with; finite."""
    comparison_operator: Operator = Operator.EQ
    """How datapoints are compared with the threshold."""
    aggregation_method: Name
    """How the measures of one period, and of a group, become one datapoint."""
    evaluation_periods: _Periods = 1
    """N: how many datapoints form the window."""
    granularity: _Granularity = 60
    """Seconds that one datapoint covers."""

    @property
    def lasting(self) -> int:
        """How many successive datapoints must breach beside the N: one."""
        return 1

    @property
    def points(self) -> int:
        """How many datapoints an answer has: N."""
        return self.evaluation_periods


class GnocchiResourcesRule(
    _GnocchiRule, frozen=True, kw_only=True, tag="gnocchi_resources_threshold"
):
    """Compare a metric of one resource with a threshold."""

    metric: Name
    """The metric's name."""
    resource_id: Name
    """The resource's id."""
    resource_type: Name
    """The resource's type, such as `instance`."""


class GnocchiMetricsRule(
    _GnocchiRule, frozen=True, kw_only=True, tag="gnocchi_aggregation_by_metrics_threshold"
):
    """Compare an aggregate over metrics, named by their ids, with a threshold."""

    metrics: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1_000)]
    """The ids of the metrics."""


class GnocchiResourceGroupRule(
    _GnocchiRule, frozen=True, kw_only=True, tag="gnocchi_aggregation_by_resources_threshold"
):
    """Compare an aggregate over one metric of a group of resources with a threshold."""

    metric: Name
    """The metric's name."""
    query: _Query
    """Which resources, in Gnocchi's query language: JSON text."""
    resource_type: Name
    """The resources' type, such as `instance`."""


GnocchiRule = GnocchiResourcesRule | GnocchiMetricsRule | GnocchiResourceGroupRule


class PrometheusRule(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="prometheus",
):
    """Compare the answer to a PromQL query with a threshold."""

    query: _Query
    """In PromQL; it sees series of the alarm's project only."""
    threshold: float
    """What the values are compared with; finite."""
    comparison_operator: Operator = Operator.EQ
    """How values are compared with the threshold."""
    evaluation_periods: _Periods = 1
    """N: how many instants form the window."""
    granularity: _Granularity = 60
    """Seconds between two instants."""
    for_: Annotated[int, Meta(ge=0, le=MAX_GRANULARITY_S)] = msgspec.field(name="for", default=0)
    """Seconds that a breach must have lasted."""

    @property
    def lasting(self) -> int:
        """How many successive instants must breach for the breach to have lasted."""
        return -(-self.for_ // self.granularity) + 1

    @property
    def points(self) -> int:
        """How many instants an answer has: as many as `evaluation_periods` and `for` need."""
        return max(self.evaluation_periods, self.lasting)


def is_aggregation_method(text: str) -> bool:
    """Tell whether Gnocchi has such an aggregation method."""
    plain = text.removeprefix("rate:")
    percent = plain.removesuffix("pct")
    return plain in _AGGREGATES or (
        percent != plain and percent in {str(number) for number in range(1, 100)}
    )


OutsideRule = GnocchiResourcesRule | GnocchiMetricsRule | GnocchiResourceGroupRule | PrometheusRule

OUTSIDE_TYPES: dict[str, type[OutsideRule]] = {
    "gnocchi_resources_threshold": GnocchiResourcesRule,
    "gnocchi_aggregation_by_metrics_threshold": GnocchiMetricsRule,
    "gnocchi_aggregation_by_resources_threshold": GnocchiResourceGroupRule,
    "prometheus": PrometheusRule,
}
