# SPDX-License-Identifier: Apache-2.0
"""Pages of a sorted list: sort keys with directions, and a marker after which a page begins.

Severities are sorted by what they mean. A missing value comes before all others, and text is
sorted by its code points, on every database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    func,
    literal,
    or_,
)
from sqlalchemy.types import String

from thermostat.alarms.model import Severity
from thermostat.db.filters import by_code_points

_RANKS = {severity.value: rank for rank, severity in enumerate(Severity)}
_BEFORE_ALL_US = -(2**62)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column to sort by."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: its order, the id that it begins after, and how many at most."""

    sort: Sequence[SortKey]
    """The last key is unique, so that the order is total."""
    marker: str | None = None
    limit: int | None = None


class UnknownMarker(LookupError):  # noqa: N818 - it names what was sent
    """The marker is not the id of anything in the list."""


def sorted_by(query: Select[Any], table: Table, page: Page, dialect: str) -> Select[Any]:
    """Give the query with the page's order; its marker and limit are not in it."""
    return query.order_by(
        *(
            term.desc() if key.descending else term.asc()
            for term, key in zip(_terms(table, page, dialect), page.sort, strict=True)
        )
    )


def paged(
    connection: Connection, query: Select[Any], id_column: Column[Any], page: Page
) -> Select[Any]:
    """Give the query for this page of its rows. Raises UnknownMarker."""
    table, dialect = id_column.table, connection.dialect.name
    if page.marker is not None:
        terms = _terms(table, page, dialect)
        marked = query.with_only_columns(*terms).where(id_column == page.marker)
        values = connection.execute(marked).one_or_none()
        if values is None:
            raise UnknownMarker(page.marker)
        query = query.where(_after(terms, page.sort, values))
    return sorted_by(query, table, page, dialect).limit(page.limit)


def _terms(table: Table, page: Page, dialect: str) -> list[ColumnElement[Any]]:
    return [_term(table.c[key.column], dialect) for key in page.sort]


def _term(column: Column[Any], dialect: str) -> ColumnElement[Any]:
    """Give what to sort by in place of a column."""
    if column.name == "severity":
        return case(_RANKS, value=column, else_=-1)
    term: ColumnElement[Any] = column
    if column.nullable:
        lowest = "" if isinstance(column.type, String) else _BEFORE_ALL_US
        term = func.coalesce(column, literal(lowest, column.type))
    return term if column.name.endswith(_IDS) else by_code_points(term, dialect)


_IDS = ("alarm_id", "event_id", "notification_id")
"""Columns whose own order is good enough, and has an index."""


def _after(
    terms: Sequence[ColumnElement[Any]], sort: Sequence[SortKey], values: Sequence[Any]
) -> ColumnElement[bool]:
    """Give the condition for rows that come after the row with these values."""
    marked = [literal(value, term.type) for term, value in zip(terms, values, strict=True)]
    # The first condition follows from the others; with it an index leads to the page at once.
    first = terms[0] <= marked[0] if sort[0].descending else terms[0] >= marked[0]
    return first & or_(
        *(
            and_(
                *(term == value for term, value in zip(terms[:depth], marked, strict=False)),
                terms[depth] < marked[depth]
                if sort[depth].descending
                else terms[depth] > marked[depth],
            )
            for depth in range(len(terms))
        )
    )
