# SPDX-License-Identifier: Apache-2.0
"""Searches: rows of a table that a filter asks for, within a limit of time."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Row, Select, select
from sqlalchemy.exc import OperationalError

from thermostat.db.engine import MOST_IDS
from thermostat.db.filters import Filter, columns_of, condition, holds, split
from thermostat.db.paging import Page, sorted_by

Found = TypeVar("Found")
LIMIT_S = 10.0
"""How long a search may take."""
MOST_FOUND = 100_000
"""How many rows a search may give."""
_ROWS_AT_ONCE = 1000
_STEPS_AT_ONCE = 20_000
"""How many of SQLite's instructions run between two looks at the clock."""


class TooLong(Exception):  # noqa: N818 - it names what was asked for
    """A search took longer, or found more, than it may; the message says so."""


def search(
    connection: Connection,
    columns: Sequence[Column[Any]],
    wanted: Filter,
    page: Page,
    *,
    read: Callable[[Any], Found],
    limit_s: float = LIMIT_S,
) -> list[Found]:
    """Give the rows that a filter asks for, in the page's order, made of `read`. Raises TooLong."""
    table, dialect = columns[0].table, connection.dialect.name
    in_sql, in_python = split(wanted)
    where = condition(in_sql, table, dialect)
    with _time_limit(connection, limit_s) as deadline_s:
        if not in_python.parts:
            query = sorted_by(select(*columns).where(where), table, page, dialect)
            rows = _watched(connection, query.limit(page.limit), deadline_s, limit_s)
            return _within_limit(map(read, rows), None)
        # What Python judges is read first, in narrow rows: most of them are not wanted.
        (key,) = table.primary_key
        narrow = [key, *(table.c[name] for name in sorted(columns_of(in_python)))]
        query = sorted_by(select(*narrow).where(where), table, page, dialect)
        judged = _watched(connection, query, deadline_s, limit_s)
        keys = _within_limit((row[0] for row in judged if _meets(row, in_python)), page.limit)
        return [read(row) for row in _rows(connection, columns, key, keys)]


def _meets(row: Row[Any], wanted: Filter) -> bool:
    values: Any = row._mapping
    return holds(wanted, values) is True


def _watched(
    connection: Connection, query: Select[Any], deadline_s: float, limit_s: float
) -> Iterator[Row[Any]]:
    """Give the rows of a query until the time is up. Raises TooLong."""
    for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
        yield row
        if time.monotonic() > deadline_s:  # judging it took too long
            raise _too_long(limit_s)


def _within_limit(found: Iterator[Found], limit: int | None) -> list[Found]:
    """Give so many, or all if they are not too many. Raises TooLong."""
    taken = list(islice(found, MOST_FOUND + 1 if limit is None else min(limit, MOST_FOUND + 1)))
    if len(taken) > MOST_FOUND:
        raise TooLong(f"more than {MOST_FOUND} are found")
    return taken


def _rows(
    connection: Connection, columns: Sequence[Column[Any]], key: Column[Any], keys: Sequence[Any]
) -> Iterator[Row[Any]]:
    """Give the rows with these keys, in their order; those that are gone are left out."""
    place = list(columns).index(key)
    for begin in range(0, len(keys), MOST_IDS):
        some = keys[begin : begin + MOST_IDS]
        rows = connection.execute(select(*columns).where(key.in_(some)))
        by_key = {row[place]: row for row in rows}
        yield from (by_key[one] for one in some if one in by_key)


@contextmanager
def _time_limit(connection: Connection, limit_s: float) -> Iterator[float]:
    """Let the database work only so long for this transaction; gives the end, monotonic seconds."""
    deadline_s = time.monotonic() + limit_s
    driver: Any = connection.connection.driver_connection
    if is_sqlite := connection.dialect.name == "sqlite":
        driver.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS_AT_ONCE)
    else:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(limit_s * 1000)}")
    try:
        yield deadline_s
    except OperationalError as error:
        if time.monotonic() > deadline_s:
            raise _too_long(limit_s) from error
        raise
    finally:
        if is_sqlite:
            driver.set_progress_handler(None, 0)


def _too_long(limit_s: float) -> TooLong:
    return TooLong(f"the search takes longer than {limit_s:g} seconds")
