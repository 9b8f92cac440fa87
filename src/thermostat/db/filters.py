# SPDX-License-Identifier: Apache-2.0
"""Filters: which rows a search is for, in SQL and in Python.

Both follow SQL's logic of three values: a comparison with a missing value is neither true nor
false, and so is its negation; a search is for rows whose filter is true. Text is compared by its
code points. Regular expressions are judged in Python only, so that they mean the same on every
database.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import ColumnElement, String, Table, and_, literal, not_, or_, true

Value = str | bool | int


class Comparison(StrEnum):
    """How a column is compared with a value."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@dataclass(frozen=True, slots=True)
class Compare:
    """A column compared with a value of its type."""

    column: str
    comparison: Comparison
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """A column that has one of these values."""

    column: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Matches:
    """A column of text in which a regular expression is found."""

    column: str
    pattern: str
    finds: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Every:
    """All parts."""

    parts: Sequence["Filter"]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of the parts."""

    parts: Sequence["Filter"]


@dataclass(frozen=True, slots=True)
class Opposite:
    """The contrary."""

    part: "Filter"


Filter = Compare | OneOf | Matches | Every | Some | Opposite

EVERYTHING = Every(())
"""The filter that every row meets."""

_COMPARE: Mapping[Comparison, Callable[[Any, Any], Any]] = {
    Comparison.EQ: operator.eq,
    Comparison.NE: operator.ne,
    Comparison.LT: operator.lt,
    Comparison.LE: operator.le,
    Comparison.GT: operator.gt,
    Comparison.GE: operator.ge,
}
_ORDERING = frozenset({Comparison.LT, Comparison.LE, Comparison.GT, Comparison.GE})


def holds(part: Filter, row: Mapping[str, Any]) -> bool | None:
    """Tell whether a row is what a filter asks for; None: neither it nor the contrary."""
    match part:
        case Every(parts):
            return _every(holds(one, row) for one in parts)
        case Some(parts):
            return _opposite(_every(_opposite(holds(one, row)) for one in parts))
        case Opposite(inner):
            return _opposite(holds(inner, row))
    actual = row[part.column]
    return None if actual is None else _is_met(part, actual)


def _is_met(part: Compare | OneOf | Matches, actual: Any) -> bool:
    match part:
        case Compare(_, comparison, value):
            return bool(_COMPARE[comparison](actual, value))
        case OneOf(_, values):
            return actual in values
        case Matches(_, _, finds):
            return finds(actual)


def _every(results: Iterable[bool | None]) -> bool | None:
    found: bool | None = True
    for result in results:
        if result is False:
            return False
        if result is None:
            found = None
    return found


def _opposite(result: bool | None) -> bool | None:
    return None if result is None else not result


def split(part: Filter) -> tuple[Every, Every]:
    """Give what SQL can judge and what is left for Python: a row is wanted if both hold."""
    parts = part.parts if isinstance(part, Every) else (part,)
    in_sql = [one for one in parts if not _has_matches(one)]
    in_python = [one for one in parts if _has_matches(one)]
    return Every(in_sql), Every(in_python)


def _has_matches(part: Filter) -> bool:
    match part:
        case Every(parts) | Some(parts):
            return any(map(_has_matches, parts))
        case Opposite(inner):
            return _has_matches(inner)
    return isinstance(part, Matches)


def columns_of(part: Filter) -> set[str]:
    """Give the names of the columns that a filter is about."""
    match part:
        case Every(parts) | Some(parts):
            return {name for one in parts for name in columns_of(one)}
        case Opposite(inner):
            return columns_of(inner)
    return {part.column}


def condition(part: Filter, table: Table, dialect: str) -> ColumnElement[bool]:
    """Give the filter as SQL; it must be without regular expressions."""
    match part:
        case Every(parts):
            return and_(true(), *(condition(one, table, dialect) for one in parts))
        case Some(parts):
            return or_(*(condition(one, table, dialect) for one in parts))
        case Opposite(inner):
            return not_(condition(inner, table, dialect))
        case OneOf(name, values):
            return table.c[name].in_(values)
        case Compare(name, comparison, value):
            column: ColumnElement[Any] = table.c[name]
            if comparison in _ORDERING:
                column = by_code_points(column, dialect)
            wanted = literal(value, table.c[name].type)
            return cast("ColumnElement[bool]", _COMPARE[comparison](column, wanted))
    raise TypeError(f"{type(part).__name__} is not judged in SQL")


def by_code_points(column: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """Give the column as it is to be ordered: PostgreSQL would go by the database's language."""
    if dialect == "postgresql" and isinstance(column.type, String):
        return column.collate("C")
    return column
