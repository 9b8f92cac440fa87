# SPDX-License-Identifier: Apache-2.0
"""The series registry: what each series id stands for, in SQLite and wholly in memory.

A new series is committed (WAL, synchronous=FULL) before anyone can use its id, so that no stored
sample ever has an id that means nothing.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from thermostat.samples.model import Sample, SampleType, SeriesKey
from thermostat.store import selecting
from thermostat.store.base import (
    Selection,
    Series,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Subscriber,
)

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
    first_us integer not null default 0
) strict
"""
_UPSERT = "insert or replace into series values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = (
    "series_id, meter, resource_id, project_id, type, unit, user_id, source, metadata, first_us"
)


class Registry:
    """Every series that was ever seen. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._by_key: dict[tuple[str, str, str | None], Series] = {}
        self._by_id: list[Series] = []
        self._by_meter: dict[str, dict[str | None, list[int]]] = {}
        self._subscribers: list[Subscriber] = []
        with _translated():
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=10
            )
            self._connection.execute("pragma journal_mode=wal")
            self._connection.execute("pragma synchronous=full")
            self._connection.execute(_SCHEMA)
            self._migrate()
            self._load()

    def __len__(self) -> int:
        return len(self._by_id)

    def intern(self, samples: Sequence[Sample]) -> NDArray[np.int64]:
        """Give each sample's series id, shape (len(samples),); new series are on disk on return.

        Changed metadata, unit or owner replaces what was known. Raises StoreFull or
        StoreUnavailable.
        """
        ids = np.empty(len(samples), np.int64)
        by_key = self._by_key
        unknown: list[int] = []
        for row, sample in enumerate(samples):
            known = by_key.get((sample.name, sample.resource_id, sample.project_id))
            if known is None or not _describes(known, sample):
                unknown.append(row)
            else:
                ids[row] = known.series_id
        if unknown:
            ids[unknown] = self._register([samples[row] for row in unknown])
        return ids

    def subscribe(self, callback: Subscriber) -> None:
        """Have `intern` call this with new and changed series, once they are on disk."""
        with self._lock:
            self._subscribers.append(callback)

    def all(self) -> Iterator[Series]:
        """Give every series by ascending id."""
        return iter(self._by_id[:])

    def get(self, series_id: int) -> Series:
        """Give one series; KeyError if there is none. The same object until it changes."""
        if not 1 <= series_id <= len(self._by_id):
            raise KeyError(series_id)
        return self._by_id[series_id - 1]

    def select(self, selection: Selection) -> list[Series]:
        """Give the series that the selection matches, by ascending id."""
        projects = self._by_meter.get(selection.meter, {})
        chosen: Iterable[list[int]]
        if selection.project_id is None:
            chosen = list(projects.values())
        else:
            chosen = [projects.get(selection.project_id, [])]
        found = (self._by_id[series_id - 1] for ids in chosen for series_id in ids)
        return sorted(
            (one for one in found if selecting.matches(one, selection)),
            key=lambda one: one.series_id,
        )

    def settings(self) -> dict[str, Any]:
        """Give SQLite's settings that durability rests on."""
        with self._lock, _translated():
            return {
                name: self._connection.execute(f"pragma {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous")
            }

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def _register(self, samples: Sequence[Sample]) -> list[int]:
        """Write new and changed series in one transaction, then make them known."""
        with self._lock:
            changed: dict[tuple[str, str, str | None], Series] = {}
            next_id = len(self._by_id) + 1
            ids = []
            for sample in samples:
                key = (sample.name, sample.resource_id, sample.project_id)
                known = changed.get(key) or self._by_key.get(key)
                if known is None or not _describes(known, sample):
                    series_id = known.series_id if known else next_id
                    next_id += known is None
                    first_us = known.first_us if known else sample.timestamp_us
                    changed[key] = known = _series(series_id, sample, first_us)
                ids.append(known.series_id)
            self._write(changed.values())
            for series in changed.values():
                self._publish(series)
            if changed:
                for tell in self._subscribers:
                    tell(list(changed.values()))
            return ids

    def _write(self, series: Iterable[Series]) -> None:
        with _translated():
            try:
                self._connection.execute("begin immediate")
                self._connection.executemany(_UPSERT, map(_row, series))
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def _publish(self, series: Series) -> None:
        key = series.key
        if series.series_id > len(self._by_id):
            self._by_id.append(series)
            projects = self._by_meter.setdefault(key.meter, {})
            projects.setdefault(key.project_id, []).append(series.series_id)
        else:
            self._by_id[series.series_id - 1] = series
        self._by_key[key.meter, key.resource_id, key.project_id] = series

    def _migrate(self) -> None:
        """Add what a file of an older release lacks."""
        columns = self._connection.execute("select name from pragma_table_info('series')")
        if ("first_us",) not in columns.fetchall():
            self._connection.execute(
                "alter table series add column first_us integer not null default 0"
            )

    def _load(self) -> None:
        metadata_by_text: dict[str, dict[str, Any]] = {}  # one resource's series share one dict
        rows = self._connection.execute(f"select {_COLUMNS} from series order by series_id")
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
            at,
        ) in rows:
            metadata = metadata_by_text.get(text)
            if metadata is None:
                metadata = metadata_by_text[text] = msgspec.json.decode(text)
            key = SeriesKey(meter, resource_id, project_id)
            self._publish(
                Series(series_id, key, SampleType(type_), unit, user_id, source, metadata, at)
            )


def _describes(series: Series, sample: Sample) -> bool:
    """Tell whether a series is already known as this sample describes it."""
    return (
        (series.metadata is sample.metadata or series.metadata == sample.metadata)
        and series.unit == sample.unit
        and series.type is sample.type
        and series.user_id == sample.user_id
        and series.source == sample.source
    )


def _series(series_id: int, sample: Sample, first_us: int) -> Series:
    return Series(
        series_id=series_id,
        key=sample.key,
        type=sample.type,
        unit=sample.unit,
        user_id=sample.user_id,
        source=sample.source,
        metadata=sample.metadata,
        first_us=first_us,
    )


def _row(series: Series) -> tuple[Any, ...]:
    key = series.key
    metadata = msgspec.json.encode(series.metadata).decode()
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
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors into the store's."""
    try:
        yield
    except sqlite3.Error as error:
        full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
        kind: type[StoreError] = StoreFull if full else StoreUnavailable
        raise kind(f"the series registry: {error}") from error
