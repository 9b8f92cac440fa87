# SPDX-License-Identifier: Apache-2.0
"""Aodh's filter language: JSON text in, a typed filter and an order out.

A filter is an object with one member: `{"=": {"state": "alarm"}}`, `{"in": {"name": [...]}}`,
`{"and": [...]}`, `{"or": [...]}` or `{"not": {...}}`. Operators may be in capitals. Regular
expressions are RE2's, which take time in proportion to the text, whatever they are.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import falcon
import msgspec

from thermostat.api.params import boolean, instant_us
from thermostat.db.filters import (
    Compare,
    Comparison,
    Every,
    Filter,
    Matches,
    OneOf,
    Opposite,
    Some,
    Value,
)
from thermostat.db.paging import SortKey
from thermostat.patterns import finder

MOST_LEVELS = 20
"""How deep `and`, `or` and `not` may be nested."""
MOST_COMPARISONS = 100
"""How many comparisons a filter may have."""
MOST_VALUES = 1_000
"""How many values all `in` of a filter may have together."""
MOST_SORT_KEYS = 20


class Kind(Enum):
    """What a field holds."""

    TEXT = "text"
    FLAG = "true or false"
    INSTANT = "an ISO 8601 instant"


class Field(msgspec.Struct, frozen=True):
    """A field of the API, and the column behind it."""

    column: str
    kind: Kind = Kind.TEXT


def _fields(texts: str, flags: str, instants: str) -> Mapping[str, Field]:
    fields = {name: Field(name) for name in texts.split()}
    fields |= {name: Field(name, Kind.FLAG) for name in flags.split()}
    fields |= {name: Field(f"{name}_us", Kind.INSTANT) for name in instants.split()}
    return fields | {"user": Field("user_id"), "project": Field("project_id")}


ALARM_FIELDS = _fields(
    texts="alarm_id name description type severity state state_reason user_id project_id rule"
    " time_constraints",
    flags="enabled repeat_actions",
    instants="timestamp state_timestamp evaluate_timestamp",
)
"""What alarms are searched by; rules and constraints are compared as JSON text.

Not by actions: whoever may not see the secrets in their URLs could find them out by searching.
"""
EVENT_FIELDS = _fields(
    texts="event_id alarm_id type detail user_id project_id on_behalf_of severity",
    flags="",
    instants="timestamp",
)
"""What the history is searched by."""

_COMPARISONS = {
    **{str(comparison): comparison for comparison in Comparison},
    "=<": Comparison.LE,
    "=>": Comparison.GE,
}
OPERATORS = ("and", "or", "not", "in", "=~", *_COMPARISONS)


class _Invalid(ValueError):  # noqa: N818 - it reads as a state
    """The text is no filter, or no order; the message says where and why."""


def decode_filter(text: str, fields: Mapping[str, Field]) -> Filter:
    """Give the filter that a text means. Raises the 400 that says where and why it does not."""
    try:
        return _Parser(fields).filter(_decode(text), "", 1)
    except _Invalid as error:
        raise falcon.HTTPBadRequest(
            description=f"Filter expression not valid: filter{error}"
        ) from error


def decode_order(text: str, fields: Mapping[str, Field]) -> list[SortKey]:
    """Give the sort keys that a text means, such as `[{"timestamp": "desc"}]`; raises the 400."""
    try:
        return _order(_decode(text), fields)
    except _Invalid as error:
        raise falcon.HTTPBadRequest(
            description=f"Order-by expression not valid: orderby{error}"
        ) from error


def _decode(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise _Invalid(f": is not valid JSON: {error}") from error


class _Parser:
    """Reads one filter, and counts what is in it."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self._comparisons = 0
        self._values = 0

    def filter(self, node: Any, where: str, level: int) -> Filter:
        """Give the filter that this means, which stands at `where` so many levels deep."""
        if level > MOST_LEVELS:
            raise _Invalid(f"{where}: is nested more than {MOST_LEVELS} deep")
        word, operand = _only_member(node, where)
        where, operator = f"{where}.{word:.20}", word.lower()
        if operator in ("and", "or"):
            if not isinstance(operand, list) or len(operand) < 2:
                raise _Invalid(f"{where}: must be a list of two or more filters")
            parts = [
                self.filter(part, f"{where}[{position}]", level + 1)
                for position, part in enumerate(operand)
            ]
            return Every(parts) if operator == "and" else Some(parts)
        if operator == "not":
            return Opposite(self.filter(operand, where, level + 1))
        if operator not in OPERATORS:
            raise _Invalid(f"{where}: the operator is not one of {', '.join(OPERATORS)}")
        return self._comparison(operator, operand, where)

    def _comparison(self, operator: str, operand: Any, where: str) -> Filter:
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            raise _Invalid(f": has more than {MOST_COMPARISONS} comparisons")
        name, wanted = _only_member(operand, where)
        where = f"{where}.{name:.50}"
        field = _field(name, self._fields, where)
        if operator == "in":
            return OneOf(field.column, self._list(wanted, field, where))
        if operator == "=~":
            if field.kind is not Kind.TEXT:
                raise _Invalid(f"{where}: only text can be compared with =~")
            return _matches(field.column, wanted, where)
        return Compare(field.column, _COMPARISONS[operator], _value(wanted, field, where))

    def _list(self, wanted: Any, field: Field, where: str) -> list[Value]:
        if not isinstance(wanted, list) or not wanted:
            raise _Invalid(f"{where}: must be a list of one or more values")
        self._values += len(wanted)
        if self._values > MOST_VALUES:
            raise _Invalid(f"{where}: there are more than {MOST_VALUES} values")
        return [_value(one, field, f"{where}[{position}]") for position, one in enumerate(wanted)]


def _only_member(node: Any, where: str) -> tuple[str, Any]:
    if not isinstance(node, dict) or len(node) != 1:
        raise _Invalid(f"{where}: must be an object with one member")
    ((name, value),) = node.items()
    return name, value


def _field(name: str, fields: Mapping[str, Field], where: str) -> Field:
    field = fields.get(name)
    if field is None:
        raise _Invalid(f"{where}: the field is not one of {', '.join(fields)}")
    return field


def _value(given: Any, field: Field, where: str) -> Value:
    if not isinstance(given, str | bool | int | float):
        raise _Invalid(f"{where}: must be text, a number, true or false")
    try:
        return _CONVERT[field.kind](given)
    except (TypeError, ValueError, OverflowError):
        raise _Invalid(f"{where}: must be {field.kind.value}") from None


def _text(given: str | float) -> str:
    if isinstance(given, bool):
        raise TypeError(given)
    text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    if "\0" in text:
        raise ValueError(text)  # PostgreSQL's text cannot hold it
    return text


def _flag(given: str | float) -> bool:
    return given if isinstance(given, bool) else boolean(str(given))


def _instant(given: str | float) -> int:
    if not isinstance(given, str):
        raise TypeError(given)
    return instant_us(given)


_CONVERT: Mapping[Kind, Callable[[str | float], Value]] = {
    Kind.TEXT: _text,
    Kind.FLAG: _flag,
    Kind.INSTANT: _instant,
}


def _matches(column: str, given: Any, where: str) -> Matches:
    if not isinstance(given, str):
        raise _Invalid(f"{where}: must be a regular expression, as text")
    try:
        return Matches(column, given, finder(given))
    except ValueError as error:
        raise _Invalid(f"{where}: {error}") from error


def _order(keys: Any, fields: Mapping[str, Field]) -> list[SortKey]:
    if not isinstance(keys, list):
        raise _Invalid(": must be a list of objects with one member")
    if len(keys) > MOST_SORT_KEYS:
        raise _Invalid(f": has more than {MOST_SORT_KEYS} keys")
    order = []
    for position, key in enumerate(keys):
        name, direction = _only_member(key, f"[{position}]")
        where = f"[{position}].{name:.50}"
        column = _field(name, fields, where).column
        if not isinstance(direction, str) or direction.lower() not in ("asc", "desc"):
            raise _Invalid(f"{where}: must be asc or desc")
        order.append(SortKey(column, descending=direction.lower() == "desc"))
    return order
