# SPDX-License-Identifier: Apache-2.0
"""OS::Metering::Alarm: a statistic of a group, period by period, against a threshold."""

import math
from collections.abc import Mapping
from typing import Any

from heat.common.i18n import _
from heat.engine import constraints, properties

from . import alarm_base, matching

_Schema = properties.Schema

OPERATORS = ["lt", "le", "eq", "ne", "ge", "gt"]
STATISTICS = ["avg", "min", "max", "sum", "count", "last", "stddev"]
VALUE_TYPES = ["integer", "float", "string", "boolean", "datetime"]
QUERY_FIELDS = r"(resource_id|project_id|user_id|source|(resource_)?metadata\..+)$"


class Finite(constraints.Constraint):
    """Refuses NaN and infinity, which Heat takes for numbers and no JSON can carry."""

    valid_types = (constraints.Schema.NUMBER_TYPE,)

    def _str(self) -> str:
        return str(_("The value must be a finite number."))

    def _err_msg(self, value: Any) -> str:
        return str(_("%s is not a finite number") % value)

    def _is_valid(self, value: Any, schema: Any, context: Any) -> bool:  # noqa: ARG002 - Heat's form
        return math.isfinite(_Schema.str_to_num(value))

    def _constraint(self) -> bool:
        return True


class MeteringAlarm(alarm_base.BaseAlarm):
    """An alarm on a meter of a group of resources.

    Each period gives one datapoint: the statistic over the samples of all resources that match.
    When the datapoints of all evaluation periods breach the threshold, the alarm is in the state
    `alarm` and its actions are called, such as a scaling policy of the same stack. The type is
    the one of 2013; numbers and booleans may be written as strings, as templates did then.
    """

    alarm_type = "threshold"

    PROPERTIES = (
        METER_NAME, STATISTIC, COMPARISON_OPERATOR, THRESHOLD, PERIOD, EVALUATION_PERIODS,
        MATCHING_METADATA, QUERY,
    ) = (
        "meter_name", "statistic", "comparison_operator", "threshold", "period",
        "evaluation_periods", "matching_metadata", "query",
    )  # fmt: skip

    QUERY_KEYS = (
        FIELD, OP, VALUE, TYPE,
    ) = (
        "field", "op", "value", "type",
    )  # fmt: skip

    properties_schema = {  # noqa: RUF012 - Heat's own form
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
            default=[],
            update_allowed=True,
        ),
        **alarm_base.common_properties_schema,
    }

    def rule(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Give the API's threshold rule for these properties."""
        terms = (self.FIELD, self.OP, self.VALUE)
        written = [{key: term[key] for key in terms} for term in props[self.QUERY]]
        matched = matching.conditions(props[self.METER_NAME], props[self.MATCHING_METADATA])
        plain = set(self.PROPERTIES) - {self.MATCHING_METADATA, self.QUERY}
        return {self.QUERY: [*written, *matched]} | {name: props[name] for name in plain}

    def parse_live_resource_data(
        self, resource_properties: Mapping[str, Any], resource_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Give the properties whose live value is not the one that the template asks for."""
        live = super().parse_live_resource_data(resource_properties, resource_data)
        if self.QUERY in live:
            # The service keeps one query; what of it came from matching_metadata is not known.
            live[self.MATCHING_METADATA] = {}
        return live


def resource_mapping() -> dict[str, type[MeteringAlarm]]:
    """Tell Heat which types this module holds."""
    return {"OS::Metering::Alarm": MeteringAlarm}
