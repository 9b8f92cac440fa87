# SPDX-License-Identifier: Apache-2.0
"""Query parameters in Aodh's and Ceilometer's form: `q.field=…&q.op=…&q.value=…`, repeated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import falcon

from thermostat.alarms.query import Operator
from thermostat.api.errors import bad_field

BOOLEAN_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def boolean(text: str) -> bool:
    """Give true or false for the words that Aodh takes. Raises ValueError."""
    try:
        return BOOLEAN_WORDS[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r:.100} is neither true nor false") from None


def instant_us(text: str) -> int:
    """Give microseconds since the epoch for an ISO 8601 instant; without an offset it is UTC.

    Raises ValueError.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - _EPOCH) // timedelta(microseconds=1)


VALUE_TYPES: Mapping[str, Callable[[str], object]] = {
    "integer": int,
    "float": float,
    "string": str,
    "boolean": boolean,
    "datetime": instant_us,
}
"""The types that a request may say its values are of, in `q.type`; they are Aodh's."""


@dataclass(frozen=True, slots=True)
class Term:
    """One `field op value` of a request's query."""

    field: str
    op: Operator
    value: str


def query_terms(req: falcon.Request) -> list[Term]:
    """Give the request's query terms; `q.op` may be left out of all of them and means `eq`."""
    fields = all_values(req, "q.field")
    values = all_values(req, "q.value")
    operators = all_values(req, "q.op") or ["eq"] * len(fields)
    if not len(fields) == len(values) == len(operators):
        raise bad_field("q", "q.field, q.op and q.value must be given equally often")
    kinds = all_values(req, "q.type")
    if len(kinds) > len(values):
        raise bad_field("q.type", "is given more often than q.field")
    for kind, value in zip(kinds, values, strict=False):
        _check_type(kind, value)
    return [
        Term(field, _operator(op), value)
        for field, op, value in zip(fields, operators, values, strict=True)
    ]


def refuse_unknown(req: falcon.Request, *known: str) -> None:
    """Raise the 400 for a query parameter that is none of these."""
    for name in req.params:
        if name not in known:
            # Aodh's words; the name is in the answer only as far as it is short.
            raise falcon.HTTPBadRequest(description=f'Unknown argument: "{name:.100}"')


def all_values(req: falcon.Request, name: str) -> list[str]:
    """Give every value of a query parameter, in order."""
    given = req.params.get(name, [])
    values = [given] if isinstance(given, str) else list(given)
    if any("\0" in value for value in values):
        raise bad_field(name, "has a NUL character")
    return values


def _check_type(kind: str, value: str) -> None:
    """Raise the 400 unless the value is of the type that the request says; empty: any."""
    if kind and kind not in VALUE_TYPES:
        raise bad_field(
            "q.type",
            f"The data type {kind:.100} is not supported. The supported data type list is: "
            f"{', '.join(VALUE_TYPES)}",
        )
    try:
        VALUE_TYPES.get(kind, str)(value)
    except (ValueError, OverflowError) as error:
        raise bad_field(
            "q.value",
            f"Unable to convert the value {value:.100} to the expected data type {kind}.",
        ) from error


def _operator(text: str) -> Operator:
    try:
        return Operator(text or "eq")
    except ValueError:
        known = ", ".join(Operator)
        raise bad_field("q.op", f"{text!r} is not one of {known}") from None


def positive_int(req: falcon.Request, name: str, *, most: int) -> int | None:
    """Give a whole number from 1 to `most` from the query string, or None if it is not given."""
    text = req.params.get(name)
    if text is None:
        return None
    if isinstance(text, str) and text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= most:
        return int(text)
    raise bad_field(name, f"must be a whole number from 1 to {most}")
