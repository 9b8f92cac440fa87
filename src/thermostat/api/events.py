# SPDX-License-Identifier: Apache-2.0
"""Event rules as requests have them."""

from collections.abc import Mapping
from typing import Any

from thermostat.alarms.events import EventCondition, EventRule
from thermostat.api.conversion import convert, given
from thermostat.api.errors import bad_field
from thermostat.events.conditions import WrongTypeError, wanted_value


def decode_event(name: str, document: Mapping[str, Any]) -> EventRule:
    """Give the rule that stands in this field. Raises the 400 that names it."""
    fields = given(document, EventRule)
    if fields.get("event_type") == "":  # it means the default
        del fields["event_type"]
    query = fields.get("query", [])
    if not isinstance(query, list):
        raise bad_field(f"{name}.query", "must be a list of conditions")
    fields["query"] = [
        _condition(f"{name}.query[{position}]", term) for position, term in enumerate(query)
    ]
    return convert(fields, EventRule, name)


def _condition(name: str, document: Any) -> EventCondition:
    if isinstance(document, dict):
        document = given(document, EventCondition)
        if document.get("op") == "":  # it means the default
            del document["op"]
        value = document.get("value")
        if isinstance(value, int | float):
            document["value"] = str(value).lower() if isinstance(value, bool) else str(value)
    condition = convert(document, EventCondition, name)
    try:
        wanted_value(condition)
    except WrongTypeError as error:
        raise bad_field(f"{name}.value", str(error)) from error
    return condition
