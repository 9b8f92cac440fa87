# SPDX-License-Identifier: Apache-2.0
"""OS::Metering::CompositeAlarm: rules and other alarms, joined by and, or and not."""

from collections.abc import Iterator, Mapping
from typing import Any

from heat.common.i18n import _
from heat.engine import constraints, properties

from . import alarm_base, expression, references
from .validation import Wrong

_Schema = properties.Schema


class CompositeAlarm(references.RefersToAlarms, alarm_base.BaseAlarm):
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

    related = (COMPOSITE_RULE,)

    def rule(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Give the API's composite rule for these properties."""
        self.check_agreement(props)
        rule = expression.api_rule(props[self.COMPOSITE_RULE], self.context)
        if props[self.SUPPRESSOR]:
            rule[self.SUPPRESSOR] = props[self.SUPPRESSOR]
        return rule

    def disagreement(self, values: Any) -> Wrong | None:
        """Tell which part of the rule is wrong, and why."""
        try:
            expression.api_rule(values[self.COMPOSITE_RULE], self.context)
        except expression.RuleError as error:
            return [self.COMPOSITE_RULE, *error.path], str(error)
        return None

    def alarm_references(self) -> Iterator[references.Written]:
        """Give the references as the template has them."""
        data = self.properties.data
        yield from _named((self.COMPOSITE_RULE,), data.get(self.COMPOSITE_RULE))
        if data.get(self.SUPPRESSOR) is not None:
            yield [self.SUPPRESSOR], data[self.SUPPRESSOR]


def _named(path: tuple[Any, ...], raw: Any) -> Iterator[references.Written]:
    """Give the references to alarms within a rule as the template has it."""
    if isinstance(raw, Mapping):
        for name, inner in raw.items():
            if name == "alarm_id":
                yield [*path, name], inner
            else:
                yield from _named((*path, name), inner)
    elif isinstance(raw, list):
        for place, inner in enumerate(raw):
            yield from _named((*path, place), inner)


def resource_mapping() -> dict[str, type[CompositeAlarm]]:
    """Tell Heat which types this module holds."""
    return {"OS::Metering::CompositeAlarm": CompositeAlarm}
