# SPDX-License-Identifier: Apache-2.0
"""OS::Metering::CompositeAlarm: rules and other alarms, joined by and, or and not."""

from collections.abc import Mapping
from typing import Any

from heat.common.i18n import _
from heat.engine import constraints, function, properties

from . import alarm_base, expression
from .validation import is_literal

_Schema = properties.Schema


class CompositeAlarm(alarm_base.BaseAlarm):
    """An alarm over several rules, and over other alarms.

    `composite_rule` nests rules within `and`, `or` and `not`. While the alarm that `suppressor`
    names is in the state `alarm`, this one's actions are withheld.
    """

    alarm_type = "composite"

    PROPERTIES = (
        COMPOSITE_RULE, SUPPRESSOR,
    ) = (
        "composite_rule", "suppressor",
    )  # fmt: skip

    properties_schema = {  # noqa: RUF012 - Heat's own form
        COMPOSITE_RULE: _Schema(
            _Schema.MAP,
            _(
                "The rule: {and: [...]}, {or: [...]}, {not: ...} over threshold rules, rules over "
                "other stores, and other alarms ({alarm_id: ...}), nested as need be."
            ),
            required=True,
            update_allowed=True,
        ),
        SUPPRESSOR: _Schema(
            _Schema.STRING,
            _("The id of an alarm that withholds this one's actions while it is in alarm."),
            constraints=[constraints.Length(min=1, max=255)],
            update_allowed=True,
        ),
        **alarm_base.common_properties_schema,
    }

    def rule(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Give the API's composite rule for these properties."""
        try:
            rule = expression.api_rule(props[self.COMPOSITE_RULE], self.context)
        except expression.RuleError as error:
            raise self.property_error([self.COMPOSITE_RULE, *error.path], str(error)) from error
        if props[self.SUPPRESSOR]:
            rule[self.SUPPRESSOR] = props[self.SUPPRESSOR]
        return rule

    def validate(self) -> None:
        """Refuse a rule that is wrong anywhere."""
        super().validate()
        self.rule(self.properties)

    def _validate_literals(self) -> None:
        super()._validate_literals()
        written = self.properties.data.get(self.COMPOSITE_RULE)
        if written is not None and is_literal(written):
            self.rule({self.COMPOSITE_RULE: function.resolve(written), self.SUPPRESSOR: None})


def resource_mapping() -> dict[str, type[CompositeAlarm]]:
    """Tell Heat which types this module holds."""
    return {"OS::Metering::CompositeAlarm": CompositeAlarm}
