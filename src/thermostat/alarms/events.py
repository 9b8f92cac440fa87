# SPDX-License-Identifier: Apache-2.0
"""Event rules: an alarm as soon as a notification comes that matches."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from thermostat.alarms.query import Operator
from thermostat.alarms.texts import Name, Word

_Field = Annotated[str, Meta(min_length=1, max_length=255, pattern="^[a-zA-Z.',0-9_-]*$")]


class TraitType(StrEnum):
    """What a condition's value is, and what an event's is compared as."""

    ANY = ""
    """A string."""
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATETIME = "datetime"


class EventCondition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One condition on an event, in the form of Aodh's queries."""

    field: _Field
    """`traits.<name>`, or a field of the event itself such as `event_type`."""
    op: Operator = Operator.EQ
    """How it is compared; in a request, empty: `eq`."""
    value: Word
    """What it is compared with."""
    type: TraitType = TraitType.ANY
    """What the values are compared as; empty: text."""


class EventRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wait for an event of a type that satisfies all conditions."""

    event_type: Name = "*"
    """A pattern, as of a shell, for the event's type."""
    query: Annotated[tuple[EventCondition, ...], Meta(max_length=100)] = ()
    """All conditions must hold."""
