# SPDX-License-Identifier: Apache-2.0
"""A threshold rule as templates write it: its properties, and the API's rule for them."""

from collections.abc import Mapping
from typing import Any

from heat.common.i18n import _
from heat.engine import constraints, properties

from . import matching
from .validation import Finite

_Schema = properties.Schema

OPERATORS = ["lt", "le", "eq", "ne", "ge", "gt"]
STATISTICS = [
    *("avg", "min", "max", "sum", "count", "last", "stddev"),
    *("p50", "p75", "p90", "p95", "p98", "p99", "p99.5", "p99.9"),
]
MISSING_DATA = ["missing", "ignore", "breaching", "not_breaching"]
VALUE_TYPES = ["integer", "float", "string", "boolean", "datetime"]
QUERY_FIELDS = r"(resource_id|project_id|user_id|source|(resource_)?metadata\..+)$"

PROPERTIES = (
    METER_NAME, STATISTIC, COMPARISON_OPERATOR, THRESHOLD, PERIOD, EVALUATION_PERIODS,
    MATCHING_METADATA, QUERY,
    DATAPOINTS_TO_ALARM, TREAT_MISSING_DATA, EXCLUDE_OUTLIERS, CLEAR_THRESHOLD,
    MIN_REPORTING_RATIO, WARM_UP,
) = (
    "meter_name", "statistic", "comparison_operator", "threshold", "period",
    "evaluation_periods", "matching_metadata", "query",
    "datapoints_to_alarm", "treat_missing_data", "exclude_outliers", "clear_threshold",
    "min_reporting_ratio", "warm_up",
)  # fmt: skip

QUERY_KEYS = (
    FIELD, OP, VALUE, TYPE,
) = (
    "field", "op", "value", "type",
)  # fmt: skip


properties_schema = {
    METER_NAME: _Schema(
        _Schema.STRING,
        _("The meter, such as cpu_util."),
        required=True,
        constraints=[constraints.Length(min=1, max=255)],
        update_allowed=True,
    ),
    STATISTIC: _Schema(
        _Schema.STRING,
        _("How the samples of one period become one datapoint."),
        default="avg",
        constraints=[constraints.AllowedValues(STATISTICS)],
        update_allowed=True,
    ),
    COMPARISON_OPERATOR: _Schema(
        _Schema.STRING,
        _("How a datapoint is compared with the threshold."),
        default="eq",
        constraints=[constraints.AllowedValues(OPERATORS)],
        update_allowed=True,
    ),
    THRESHOLD: _Schema(
        _Schema.NUMBER,
        _("What a datapoint is compared with, in the meter's unit."),
        required=True,
        constraints=[Finite()],
        update_allowed=True,
    ),
    PERIOD: _Schema(
        _Schema.INTEGER,
        _("How many seconds one datapoint covers."),
        default=60,
        constraints=[constraints.Range(min=1, max=31_536_000)],
        update_allowed=True,
    ),
    EVALUATION_PERIODS: _Schema(
        _Schema.INTEGER,
        _("How many datapoints must breach, one after the other."),
        default=1,
        constraints=[constraints.Range(min=1, max=100)],
        update_allowed=True,
    ),
    MATCHING_METADATA: _Schema(
        _Schema.MAP,
        _("Which resources: those whose metadata has these values, by key."),
        default={},
        update_allowed=True,
    ),
    QUERY: _Schema(
        _Schema.LIST,
        _("Which resources: those that meet all of these conditions and matching_metadata."),
        schema=_Schema(
            _Schema.MAP,
            schema={
                FIELD: _Schema(
                    _Schema.STRING,
                    _("resource_id, project_id, user_id, source, or metadata.<key>."),
                    required=True,
                    constraints=[constraints.AllowedPattern(QUERY_FIELDS)],
                ),
                OP: _Schema(
                    _Schema.STRING,
                    _("How the field is compared with the value."),
                    default="eq",
                    constraints=[constraints.AllowedValues(OPERATORS)],
                ),
                VALUE: _Schema(_Schema.STRING, _("The value."), required=True),
                TYPE: _Schema(
                    _Schema.STRING,
                    _(
                        "Taken from templates that have it, and not needed: a value is "
                        "compared as what the field is."
                    ),
                    constraints=[constraints.AllowedValues(VALUE_TYPES)],
                ),
            },
        ),
        constraints=[constraints.Length(max=100)],
        default=[],
        update_allowed=True,
    ),
    DATAPOINTS_TO_ALARM: _Schema(
        _Schema.INTEGER,
        _("How many of the evaluation periods' datapoints must breach; none: all of them."),
        constraints=[constraints.Range(min=1, max=100)],
        update_allowed=True,
    ),
    TREAT_MISSING_DATA: _Schema(
        _Schema.STRING,
        _("What a period without samples counts as."),
        constraints=[constraints.AllowedValues(MISSING_DATA)],
        update_allowed=True,
    ),
    EXCLUDE_OUTLIERS: _Schema(
        _Schema.BOOLEAN,
        _("Leave out datapoints of which unusually few or many samples came."),
        update_allowed=True,
    ),
    CLEAR_THRESHOLD: _Schema(
        _Schema.NUMBER,
        _("What a datapoint is compared with while the alarm is in the state alarm."),
        constraints=[Finite()],
        update_allowed=True,
    ),
    MIN_REPORTING_RATIO: _Schema(
        _Schema.NUMBER,
        _("A datapoint counts only when this share of the group's members has reported, 0 to 1."),
        constraints=[constraints.Range(min=0, max=1), Finite()],
        update_allowed=True,
    ),
    WARM_UP: _Schema(
        _Schema.INTEGER,
        _("How many seconds after its first sample a new member does not count."),
        constraints=[constraints.Range(min=0, max=86_400)],
        update_allowed=True,
    ),
}

RELATED = (
    DATAPOINTS_TO_ALARM, EVALUATION_PERIODS, CLEAR_THRESHOLD, THRESHOLD, COMPARISON_OPERATOR
)  # fmt: skip
"""The properties that `check` looks at."""
_UPPER = ("gt", "ge")
_LOWER = ("lt", "le")


def rule(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the API's threshold rule for these properties."""
    terms = (FIELD, OP, VALUE)
    written = [{key: term[key] for key in terms} for term in values[QUERY]]
    matched = matching.conditions(values[METER_NAME], values[MATCHING_METADATA])
    plain = [name for name in PROPERTIES if name not in {MATCHING_METADATA, QUERY}]
    return {QUERY: [*written, *matched]} | {
        name: values[name] for name in plain if values[name] is not None
    }


def check(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Give the property that does not go with the others, and why; None: they all agree."""
    needed, periods = values[DATAPOINTS_TO_ALARM], values[EVALUATION_PERIODS]
    if needed is not None and needed > periods:
        return DATAPOINTS_TO_ALARM, f"{needed} is more than evaluation_periods, {periods}"
    clear, threshold, operator = (
        values[name] for name in (CLEAR_THRESHOLD, THRESHOLD, COMPARISON_OPERATOR)
    )
    if clear is None:
        return None
    if operator not in _UPPER + _LOWER:
        return CLEAR_THRESHOLD, f"makes no sense with comparison_operator {operator}"
    if clear > threshold if operator in _UPPER else clear < threshold:
        side = "at most" if operator in _UPPER else "at least"
        return CLEAR_THRESHOLD, f"must be {side} the threshold, {threshold:g}"
    return None
