# SPDX-License-Identifier: Apache-2.0
"""Transactions that write.

SQLite lets one write at a time and makes the others poll for their turn, and each commit waits for
the disk. So writers of one process take turns here, and those that wait for their turn share one
transaction: each has a savepoint of its own in it, and the last one commits for all.
"""

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import OperationalError, SQLAlchemyError

MOST_TOGETHER = 100
"""How many writers one transaction is shared by at most."""
WRITES = "thermostat_writes"
"""The execution option of a transaction that writes."""


class Writer(Protocol):
    """Begins transactions that write; any thread may ask."""

    def begin(self) -> AbstractContextManager[Connection]:
        """Give a connection; what the block did is on disk when it has been left without error.

        What a block that raises did is undone. A block must not begin another one.
        """
        ...


@dataclass(slots=True)
class _Group:
    """Writers that share a transaction."""

    connection: Connection
    transaction: RootTransaction
    members: int = 0
    error: Exception | None = None
    finished: threading.Event = field(default_factory=threading.Event)


class _Together:
    """Writers take turns, and share a transaction while others wait for theirs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = weakref.ref(engine)  # which lives as long as whoever writes with it
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._group: _Group | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give the connection of the transaction that is open, or of a new one."""
        with self._my_turn():
            group = self._group = self._group or self._open()
            group.members += 1
            try:
                with _savepoint(group.connection):
                    yield group.connection
            finally:
                if not self._waiting or group.members >= MOST_TOGETHER:
                    self._group = None
                    _commit(group)
        group.finished.wait()
        if group.error is not None:
            raise group.error

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self._counting:
            self._waiting += 1
        with self._turn:
            with self._counting:
                self._waiting -= 1
            yield

    def _open(self) -> _Group:
        engine = self._engine()
        if engine is None:
            raise RuntimeError("the engine of this writer is gone")
        connection = engine.connect().execution_options(**{WRITES: True})
        try:
            return _Group(connection, connection.begin())
        except BaseException:
            connection.close()
            raise


@contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """Undo what the block did if it raises."""
    _run(connection, "SAVEPOINT one")
    try:
        yield
    except BaseException:
        with suppress(SQLAlchemyError):  # where all of the transaction is undone already
            _run(connection, "ROLLBACK TO one")
            _run(connection, "RELEASE one")
        raise
    _run(connection, "RELEASE one")


def _run(connection: Connection, statement: str) -> None:
    """Run a statement that has no rows: an eighth of the time that SQLAlchemy takes."""
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.execute(statement)
    except sqlite3.Error as error:
        raise OperationalError(statement, None, error) from error


def _commit(group: _Group) -> None:
    """End the transaction, and let all that share it know how."""
    try:
        group.transaction.commit()
    except Exception as error:  # each of the writers raises it
        group.error = error
        group.connection.invalidate()  # whatever is left of the transaction must not be used again
    finally:
        group.connection.close()
        group.finished.set()


_WRITERS: weakref.WeakKeyDictionary[Engine, _Together] = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


def writer(engine: Engine) -> Writer:
    """Give the writer of this database: the same one for the same engine.

    Servers of databases like each writer to have a transaction of its own.
    """
    if engine.dialect.name != "sqlite":
        return engine
    with _MAKING:
        return _WRITERS.setdefault(engine, _Together(engine))
