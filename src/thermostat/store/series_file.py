# SPDX-License-Identifier: Apache-2.0
"""The SQLite file of the series: every write is synced (WAL, synchronous=FULL) before it counts.

Descriptions stay in the file and are read when somebody asks for them: a million series would
otherwise take a gigabyte of memory.
"""

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from thermostat.samples.model import SampleType, SeriesKey
from thermostat.store.base import Series, StoreError, StoreFull, StoreUnavailable

Row = tuple[Any, ...]
"""A row of the table: a series' columns and its fingerprint."""

_SCHEMA = """
create table if not exists series (
    series_id integer primary key,
    meter text not null,
    resource_id text not null,
    project_id text,
    type text not null,
    unit text not null,
    user_id text,
    source text not null,
    metadata text not null,
    first_us integer not null default 0,
    fingerprint integer not null default 0
) strict;
create table if not exists setting (name text primary key, value integer not null) strict;
"""
_LATER_COLUMNS = ("first_us", "fingerprint")
"""What files of older releases lack."""

_UPSERT = "insert or replace into series values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = (
    "series_id, meter, resource_id, project_id, type, unit, user_id, source, metadata, first_us"
)
_KEY = "fingerprint_key"
_CHUNK = 10_000
_CACHE_KIB = 8_192
_SHARED_TEXTS = 4_096
_TYPES = {one.value: one for one in SampleType}


class SeriesFile:
    """Reads and writes the descriptions of series. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises StoreUnavailable or StoreFull."""
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._metadata = _Metadata()
        with translated():
            self.connection = _connect(path)
            self.connection.executescript(_SCHEMA)
            self._migrate()
            self._reader = _connect(path)

    def fingerprint_key(self) -> int:
        """Give the key of this file's fingerprints, which is made with the file."""
        drawn = int.from_bytes(os.urandom(8), "little", signed=True)
        with self._writing, translated():
            self.connection.execute("insert or ignore into setting values (?, ?)", (_KEY, drawn))
            query = "select value from setting where name = ?"
            [key] = self.connection.execute(query, (_KEY,)).fetchone()
        return int(key) % 2**64

    def settings(self) -> dict[str, Any]:
        """Give SQLite's settings that durability rests on."""
        with self._writing, translated():
            return {
                name: self.connection.execute(f"pragma {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous")
            }

    def write(self, rows: Iterable[Row]) -> None:
        """Write new and changed rows in one transaction, synced when this returns."""
        with self._writing, translated():
            try:
                self.connection.execute("begin immediate")
                self.connection.executemany(_UPSERT, rows)
                self.connection.execute("commit")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("rollback")
                raise

    def index(self) -> Iterator[list[Row]]:
        """Give id, meter, resource, project and fingerprint of every series, in chunks, by id."""
        query = (
            "select series_id, meter, resource_id, project_id, fingerprint from series"
            f" where series_id > ? order by series_id limit {_CHUNK}"
        )
        return self._chunks(query)

    def all(self) -> Iterator[Series]:
        """Give every series by ascending id."""
        query = (
            f"select {_COLUMNS} from series where series_id > ? order by series_id limit {_CHUNK}"
        )
        for rows in self._chunks(query):
            yield from self._series(rows)

    def read(self, series_ids: Sequence[int]) -> list[Series]:
        """Give these series, in this order; an id that means none is left out."""
        found: list[Series] = []
        query = (
            f"select {_COLUMNS} from (select key place, value from json_each(?))"
            " join series on series_id = value order by place"
        )
        for start in range(0, len(series_ids), _CHUNK):
            asked = msgspec.json.encode(series_ids[start : start + _CHUNK]).decode()
            with self._reading, translated():
                rows = self._reader.execute(query, (asked,)).fetchall()
            found.extend(self._series(rows))
        return found

    def find(self, key: SeriesKey) -> int:
        """Give the id of the series with this key, 0 if there is none. It reads the whole file."""
        query = (
            "select series_id from series where meter = ? and resource_id = ? and project_id is ?"
        )
        with self._reading, translated():
            row = self._reader.execute(
                query, (key.meter, key.resource_id, key.project_id)
            ).fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Release the file."""
        with self._writing, self._reading:
            self._reader.close()
            self.connection.close()

    def _chunks(self, query: str) -> Iterator[list[Row]]:
        after = 0
        while True:
            with self._reading, translated():
                rows = self._reader.execute(query, (after,)).fetchall()
            if not rows:
                return
            yield rows
            after = rows[-1][0]

    def _series(self, rows: Iterable[Row]) -> list[Series]:
        decode = self._metadata.decode
        return [
            Series(
                series_id,
                SeriesKey(meter, resource_id, project_id),
                _TYPES[type_],
                unit,
                user_id,
                source,
                decode(text),
                first_us,
            )
            for (
                series_id,
                meter,
                resource_id,
                project_id,
                type_,
                unit,
                user_id,
                source,
                text,
                first_us,
            ) in rows
        ]

    def _migrate(self) -> None:
        query = "select name from pragma_table_info('series')"
        present = {name for (name,) in self.connection.execute(query)}
        for column in _LATER_COLUMNS:
            if column not in present:
                self.connection.execute(
                    f"alter table series add column {column} integer not null default 0"
                )


class _Metadata:
    """Decodes metadata, so that the series of one resource share one dictionary."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def decode(self, text: str) -> dict[str, Any]:
        """Give what a text says; the same object for the same text, if that was not long ago."""
        known = self._known.get(text)
        if known is None:
            known = msgspec.json.decode(text)
            with self._lock:
                self._known[text] = known
                if len(self._known) > _SHARED_TEXTS:
                    self._known.popitem(last=False)
        return known


def row_of(series: Series, metadata: str, fingerprint: int) -> Row:
    """Give the row of a series; a fingerprint is 64 bits, which SQLite has with a sign."""
    key = series.key
    return (
        series.series_id,
        key.meter,
        key.resource_id,
        key.project_id,
        series.type.value,
        series.unit,
        series.user_id,
        series.source,
        metadata,
        series.first_us,
        fingerprint - 2**64 if fingerprint >= 2**63 else fingerprint,
    )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute(f"pragma cache_size=-{_CACHE_KIB}")
    return connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into the store's."""
    try:
        yield
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        kind: type[StoreError] = StoreFull if full else StoreUnavailable
        raise kind(f"the series registry: {error}") from error
