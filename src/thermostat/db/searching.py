# SPDX-License-Identifier: Apache-2.0
"""Searches: rows of a table that a filter asks for, within a limit of time."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, select
from sqlalchemy.exc import OperationalError

from thermostat.db.filters import Filter, condition, holds, split
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
    query = select(*columns).where(condition(in_sql, table, dialect))
    query = sorted_by(query, table, page, dialect)
    if not in_python.parts:
        query = query.limit(page.limit)
    found: list[Found] = []
    with _time_limit(connection, limit_s) as deadline_s:
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
        for row in rows:
            if time.monotonic() > deadline_s:
                raise _too_long(limit_s)
            values: Any = row._mapping
            if holds(in_python, values):
                if len(found) == MOST_FOUND:
                    raise TooLong(f"more than {MOST_FOUND} are found")
                found.append(read(row))
                if len(found) == page.limit:
                    break
    return found


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
