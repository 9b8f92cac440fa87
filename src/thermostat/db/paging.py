# SPDX-License-Identifier: Apache-2.0
"""Pages of a sorted list: sort keys with directions, and a marker after which a page begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, or_


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


def order(columns: Sequence[Column[Any]], sort: Sequence[SortKey]) -> list[ColumnElement[Any]]:
    """Give the ORDER BY terms."""
    return [
        column.desc() if key.descending else column.asc()
        for column, key in zip(columns, sort, strict=True)
    ]


def after(
    columns: Sequence[Column[Any]], sort: Sequence[SortKey], values: Sequence[Any]
) -> ColumnElement[bool]:
    """Give the condition for rows that come after the row with these values."""
    return or_(
        *(
            and_(
                *(
                    column == value
                    for column, value in zip(columns[:depth], values[:depth], strict=True)
                ),
                columns[depth] < values[depth]
                if sort[depth].descending
                else columns[depth] > values[depth],
            )
            for depth in range(len(columns))
        )
    )
