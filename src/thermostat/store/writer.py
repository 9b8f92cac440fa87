# SPDX-License-Identifier: Apache-2.0
"""Writing rows: each series has one sample an instant, each hour has its table.

Only the committing thread writes, so no lock guards what is remembered here.
"""

import logging
from collections.abc import Callable

import duckdb
import numpy as np
from numpy.typing import NDArray

from thermostat.store.base import Batch
from thermostat.store.database import Database
from thermostat.store.housekeeping import MOST_ROWS
from thermostat.store.pieces import COLUMNS, HOUR_US, Pieces

LOG = logging.getLogger(__name__)

REMEMBERED_US = 2 * HOUR_US
"""How far back the newest event time of each series is read when the store opens."""


class Writer:
    """Writes groups of rows, each durable when `write` returns."""

    def __init__(
        self,
        database: Database,
        pieces: Pieces,
        *,
        retention_us: int,
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._pieces = pieces
        self._retention_us = retention_us
        self._clock = clock
        self._known_since_us = 0
        self._newest_us = np.empty(0, np.int64)

    def load(self) -> None:
        """Read the newest event time of each series, from the newest hours before now.

        A row at or before what is remembered of its series is looked up in the tables; all others
        are known to be new.
        """
        hours = self._pieces.hours()
        end_us = min((hours[-1] + 1) * HOUR_US, self._clock()) if hours else 0
        self._known_since_us = end_us - REMEMBERED_US
        self._newest_us = np.empty(0, np.int64)
        newest = latest(self._database, self._pieces, self._known_since_us)
        if len(newest):
            self._remember(newest.series_id, newest.timestamp_us)

    def write(self, batch: Batch) -> NDArray[np.bool_]:
        """Store the rows that are new and within the retention; tell which those were."""
        now_us = self._clock()
        wanted = batch.timestamp_us > now_us - self._retention_us
        expired = len(batch) - int(np.count_nonzero(wanted))
        if expired:
            LOG.warning("%d samples are older than the retention and were not kept", expired)
            wanted[wanted] = self._is_new(batch.where(wanted))
        else:
            wanted = self._is_new(batch)
        rows = batch if wanted.all() else batch.where(wanted)
        if len(rows):
            self._insert(rows, now_us)
            self._remember(rows.series_id, rows.timestamp_us)
        return wanted

    def _is_new(self, batch: Batch) -> NDArray[np.bool_]:
        self._grow(int(batch.series_id.max(initial=0)))
        new = batch.timestamp_us > self._newest_us[batch.series_id]
        late = np.flatnonzero(~new)
        if len(late):
            new[late[~self._is_stored(batch.where(late))]] = True
        new &= _is_first(batch)
        return new

    def _is_stored(self, rows: Batch) -> NDArray[np.bool_]:
        """Tell which rows have a stored sample of their series and instant."""
        stored = np.zeros(len(rows), np.bool_)
        hours = rows.timestamp_us // HOUR_US
        for hour in np.unique(hours).tolist():
            positions = np.flatnonzero(hours == hour)
            stored[positions] = self._is_stored_in_hour(rows.where(positions))
        return stored

    def _is_stored_in_hour(self, rows: Batch) -> NDArray[np.bool_]:
        first_us, last_us = int(rows.timestamp_us.min()), int(rows.timestamp_us.max())
        wanted = {
            "position": np.arange(len(rows)),
            "series_id": rows.series_id,
            "timestamp_us": rows.timestamp_us,
        }

        def query(samples: str) -> NDArray[np.int64]:
            with self._database.cursor() as cursor:
                cursor.register("wanted", wanted)
                sql = (
                    "select position from wanted semi join"
                    f" (select series_id, timestamp_us from {samples}"
                    f" where timestamp_us between {first_us} and {last_us}) stored"
                    " using (series_id, timestamp_us)"
                )
                return np.asarray(cursor.execute(sql).fetchnumpy()["position"])

        stored = np.zeros(len(rows), np.bool_)
        stored[self._pieces.read(first_us - 1, last_us, query)] = True
        return stored

    def _insert(self, rows: Batch, now_us: int) -> None:
        """Commit the rows, each to the open piece of its hour."""
        hours = rows.timestamp_us // HOUR_US
        first, last = int(hours.min()), int(hours.max())
        present = [first] if first == last else np.unique(hours).tolist()
        written = []
        with self._pieces.writing, self._database.cursor() as cursor:
            cursor.begin()
            for hour in present:
                part = rows if first == last else rows.where(hours == hour)
                piece, is_new = self._pieces.open_piece(hour, MOST_ROWS)
                if is_new:
                    cursor.execute(piece.create)
                _insert_into(cursor, piece.table, part)
                written.append((piece, len(part)))
            cursor.commit()
            for piece, count in written:
                self._pieces.written(piece, count, now_us)

    def _remember(self, series_id: NDArray[np.int64], timestamp_us: NDArray[np.int64]) -> None:
        self._grow(int(series_id.max()))
        np.maximum.at(self._newest_us, series_id, timestamp_us)

    def _grow(self, series_id: int) -> None:
        missing = series_id + 1 - len(self._newest_us)
        if missing > 0:
            room = np.full(max(missing, len(self._newest_us)), self._known_since_us, np.int64)
            self._newest_us = np.concatenate([self._newest_us, room])


def latest(database: Database, pieces: Pieces, since_us: int) -> Batch:
    """Give the newest stored sample of each series that has one after this event time."""

    def query(samples: str) -> Batch:
        with database.cursor() as cursor:
            sql = (
                "select series_id, max(timestamp_us) timestamp_us,"
                f" arg_max(volume, timestamp_us) volume from {samples}"
                f" where timestamp_us > {since_us} group by series_id"
            )
            return as_batch(cursor.execute(sql))

    return pieces.read(since_us, None, query)


def as_batch(answer: duckdb.DuckDBPyConnection) -> Batch:
    """Give the rows of an answer with the columns of samples."""
    columns = answer.fetchnumpy()
    return Batch(
        np.asarray(columns["series_id"], np.int64),
        np.asarray(columns["timestamp_us"], np.int64),
        np.asarray(columns["volume"], np.float64),
    )


def _insert_into(cursor: duckdb.DuckDBPyConnection, table: str, rows: Batch) -> None:
    cursor.register(
        "incoming",
        {
            "series_id": rows.series_id,
            "timestamp_us": rows.timestamp_us,
            "volume": rows.volume,
        },
    )
    cursor.execute(f"insert into {table} select {COLUMNS} from incoming")


def _is_first(batch: Batch) -> NDArray[np.bool_]:
    """Tell which rows are the first of their series and instant in this batch."""
    first = np.ones(len(batch), np.bool_)
    last_row = np.empty(int(batch.series_id.max(initial=0)) + 1, np.int64)
    rows = np.arange(len(batch))
    last_row[batch.series_id] = rows
    repeated = last_row[batch.series_id] != rows
    if not repeated.any():  # no series has two rows
        return first
    order = np.lexsort((batch.timestamp_us, batch.series_id))
    series_id, timestamp_us = batch.series_id[order], batch.timestamp_us[order]
    doubled = (series_id[1:] == series_id[:-1]) & (timestamp_us[1:] == timestamp_us[:-1])
    first[order[1:][doubled]] = False
    return first
