# SPDX-License-Identifier: Apache-2.0
"""Conditions on events: both sides brought to the condition's type, then compared.

What has no value meets no condition but `ne`, as in Aodh. A value that is not of the condition's
type meets none at all.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from thermostat.alarms.events import EventCondition, TraitType
from thermostat.alarms.query import Operator
from thermostat.events.model import Event, parse_time

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


class WrongTypeError(ValueError):
    """A value cannot be taken as this type."""


def _string(value: Any) -> str:
    """Give a text; that of a boolean is `True` or `False`, as Ceilometer writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise WrongTypeError


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = float(value)
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    raise WrongTypeError


def _boolean(value: Any) -> bool:
    text = _string(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise WrongTypeError


_CASTS: Mapping[TraitType, Callable[[Any], Any]] = {
    TraitType.ANY: _string,
    TraitType.STRING: _string,
    TraitType.INTEGER: _number,
    TraitType.FLOAT: _number,
    TraitType.BOOLEAN: _boolean,
    TraitType.DATETIME: parse_time,
}


def wanted_value(condition: EventCondition) -> str | int | float | bool | datetime:
    """Give what events are compared with. Raises WrongTypeError if it is not of its type."""
    try:
        if condition.type is TraitType.INTEGER:
            return int(condition.value)
        value: str | int | float | bool | datetime = _CASTS[condition.type](condition.value)
    except (ValueError, OverflowError) as error:
        raise WrongTypeError(f"{condition.value!r} is not of type {condition.type}") from error
    return value


@dataclass(frozen=True, slots=True)
class Check:
    """A condition, ready to be asked of events."""

    field: str
    op: Operator
    cast: Callable[[Any], Any]
    wanted: Any

    @staticmethod
    def of(condition: EventCondition) -> "Check":
        """Prepare a condition. Raises WrongTypeError."""
        return Check(condition.field, condition.op, _CASTS[condition.type], wanted_value(condition))

    @property
    def text(self) -> str | None:
        """The one text that the field must have; None where the condition is another."""
        return self.wanted if self.op is Operator.EQ and self.cast is _string else None

    def holds(self, event: Event) -> bool:
        """Tell whether an event meets the condition."""
        actual = event.value(self.field)
        if actual is None:
            return self.op is Operator.NE
        try:
            return self.op.holds(self.cast(actual), self.wanted)
        except (ValueError, OverflowError):
            return False


def text_of(event: Event, field: str) -> str | None:
    """Give what a condition of type string compares; None: nothing."""
    actual = event.value(field)
    try:
        return None if actual is None else _string(actual)
    except WrongTypeError:
        return None
