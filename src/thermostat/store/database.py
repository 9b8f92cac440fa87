# SPDX-License-Identifier: Apache-2.0
"""The DuckDB file: opened and repaired, lent out as cursors, and reopened after a fatal error."""

import errno
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from thermostat.store import wal
from thermostat.store.base import StoreError, StoreFull, StoreUnavailable, reason_of

LOG = logging.getLogger(__name__)

STORAGE_VERSION = "v1.4.0"
"""The file format that is written: DuckDB releases back to this one can still read it."""

_NO_SPACE = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class Database:
    """One open DuckDB file. Cursors may be used in any thread, each in one thread only.

    A fatal error invalidates every connection of the process, and DuckDB gives out the same broken
    instance until all of them are closed: so cursors are counted, and `reopen` waits for them.
    """

    def __init__(self, path: Path, *, memory_limit_mb: int) -> None:
        self._path = path
        self._memory_limit_mb = memory_limit_mb
        self._gate = threading.Condition()
        self._lent: set[duckdb.DuckDBPyConnection] = set()
        self._connection: duckdb.DuckDBPyConnection | None = self._open()
        self.failure: str | None = None
        """Why the database must be reopened before it can be used again, or None."""

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor; DuckDB's errors leave as StoreFull or StoreUnavailable.

        A CatalogException passes as it is: a table that was just listed has been sealed or dropped.
        """
        with self._gate:
            if self._connection is None:
                raise StoreUnavailable(self.failure or "the store is closed")
            cursor = self._connection.cursor()
            self._lent.add(cursor)
        try:
            yield cursor
        except duckdb.CatalogException:
            raise
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException | duckdb.InternalException):
                self.failure = reason_of(error)
            raise translated(error) from error
        finally:
            cursor.close()
            with self._gate:
                self._lent.discard(cursor)
                self._gate.notify_all()

    def reopen(self, timeout_s: float = 60.0) -> None:
        """Close every connection and open the file again. Raises StoreUnavailable or StoreFull."""
        with self._gate:
            self._release(timeout_s)
            try:
                self._connection = self._open()
            except StoreError as error:
                self.failure = reason_of(error)
                raise
            self.failure = None

    def close(self, timeout_s: float = 60.0) -> None:
        """Interrupt what runs, and close the file."""
        with self._gate:
            self._release(timeout_s)

    def _release(self, timeout_s: float) -> None:
        connection, self._connection = self._connection, None
        for cursor in self._lent:
            cursor.interrupt()
        if connection is not None:
            connection.close()
        if not self._gate.wait_for(lambda: not self._lent, timeout_s):
            raise StoreUnavailable(f"{len(self._lent)} queries did not end within {timeout_s:g} s")

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            try:
                return self._connect()
            except duckdb.Error as error:
                if not wal.repair(self._path, str(error)):
                    raise
                return self._connect()
        except duckdb.Error as error:
            raise translated(error) from error

    def _connect(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(
            self._path,
            config={
                "memory_limit": f"{self._memory_limit_mb}MB",
                "storage_compatibility_version": STORAGE_VERSION,
                # nothing but this file is ever read or written
                "enable_external_access": False,
                "autoload_known_extensions": False,
                "autoinstall_known_extensions": False,
            },
        )


def translated(error: duckdb.Error) -> StoreError:
    """Give the store's error for DuckDB's."""
    text = reason_of(error)
    kind = StoreFull if any(reason in text for reason in _NO_SPACE) else StoreUnavailable
    return kind(f"the sample store: {text}")
