# SPDX-License-Identifier: Apache-2.0
"""OS::Metering::CombinationAlarm: the states of other alarms, joined by and or by or."""

from collections.abc import Iterator, Mapping
from typing import Any

from heat.common.i18n import _
from heat.engine import constraints, properties

from . import alarm_base, references

_Schema = properties.Schema
FEWEST = 2


class CombinationAlarm(references.RefersToAlarms, alarm_base.BaseAlarm):
    """An alarm that joins the states of other alarms.

    With `and` it is in the state `alarm` when all of them are, with `or` when one of them is.
    """

    alarm_type = "combination"

    PROPERTIES = (
        ALARM_IDS, OPERATOR,
    ) = (
        "alarm_ids", "operator",
    )  # fmt: skip

    properties_schema = {  # noqa: RUF012 - Heat's own form
        ALARM_IDS: _Schema(
            _Schema.LIST,
            _("The ids of the alarms: references to alarms of this stack, or of the project."),
            schema=_Schema(_Schema.STRING, constraints=[constraints.Length(min=1, max=255)]),
            required=True,
            constraints=[constraints.Length(min=FEWEST, max=100)],
            update_allowed=True,
        ),
        OPERATOR: _Schema(
            _Schema.STRING,
            _("How their states are joined."),
            default="and",
            constraints=[constraints.AllowedValues(["and", "or"])],
            update_allowed=True,
        ),
        **alarm_base.common_properties_schema,
    }

    def validate_template(self) -> Any:
        """Refuse also too few alarms, whether or not their ids are known, and one that is twice."""
        result = super().validate_template()
        raws = self.properties.data.get(self.ALARM_IDS)
        if isinstance(raws, list) and len(raws) < FEWEST:
            raise self.property_error([self.ALARM_IDS], f"must name at least {FEWEST} alarms")
        place = references.twice(self.stack, raws) if isinstance(raws, list) else None
        if place is not None:
            raise self.property_error([self.ALARM_IDS, place], "names the same alarm again")
        return result

    def alarm_references(self) -> Iterator[references.Written]:
        """Give the references as the template has them."""
        raws = self.properties.data.get(self.ALARM_IDS)
        for place, raw in enumerate(raws if isinstance(raws, list) else ()):
            yield [self.ALARM_IDS, place], raw

    def rule(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Give the API's combination rule for these properties."""
        return {name: props[name] for name in self.PROPERTIES}


def resource_mapping() -> dict[str, type[CombinationAlarm]]:
    """Tell Heat which types this module holds; the second is what it was called in 2014."""
    return {
        "OS::Metering::CombinationAlarm": CombinationAlarm,
        "OS::Ceilometer::CombinationAlarm": CombinationAlarm,
    }
