# SPDX-License-Identifier: Apache-2.0
"""Sealing of hours that are over, retention, and checkpoints."""

import logging
from collections.abc import Sequence

import duckdb

from thermostat.store.base import StoreUnavailable
from thermostat.store.database import Database
from thermostat.store.pieces import COLUMNS, HOUR_US, Piece, Pieces

LOG = logging.getLogger(__name__)

SEAL_DELAY_US = 300_000_000
"""How long after its hour, and after its first row, a piece stays open for late samples: 5 min."""

MOST_ROWS = 20_000_000
"""An open piece of this size is frozen before its hour is over: sorting must fit into memory."""


class Housekeeping:
    """Keeps the pieces few, sorted, and within the retention."""

    def __init__(self, database: Database, pieces: Pieces, *, retention_us: int) -> None:
        self._database = database
        self._pieces = pieces
        self._retention_us = retention_us
        self._checkpoint_due = False

    def run(self, now_us: int) -> None:
        """Do what is due at this time."""
        self.drop(now_us)
        self.seal(now_us)
        if self._checkpoint_due:
            self._checkpoint()

    def drop(self, now_us: int) -> None:
        """Drop the hours that have left the retention, whole."""
        for hour in self._pieces.hours():
            if (hour + 1) * HOUR_US > now_us - self._retention_us:
                break
            with self._pieces.writing, self._database.cursor() as cursor:
                cursor.begin()
                for piece in self._pieces.of(hour):
                    cursor.execute(f"drop table if exists {piece.table}")
                cursor.commit()
                self._pieces.forget(hour)
            self._checkpoint_due = True

    def seal(self, now_us: int) -> None:
        """Freeze the pieces whose hour is over, and seal what is frozen."""
        for hour in self._pieces.hours():
            since_us = self._pieces.open_since(hour)
            if (
                since_us is not None
                and max(since_us, (hour + 1) * HOUR_US) + SEAL_DELAY_US <= now_us
            ):
                self._pieces.freeze(hour)
            while chosen := self._choose(hour):
                self._seal(chosen)
                self._checkpoint_due = True

    def _choose(self, hour: int) -> list[Piece]:
        """Give the pieces of an hour to seal together next; none when all are sealed.

        A sealed piece is merged in only while it is not much larger than what it is merged with: so
        the pieces of an hour stay few, and a late row does not rewrite the whole hour.
        """
        rows = self._pieces.rows
        frozen = self._pieces.frozen(hour)
        if not frozen:
            return []
        sealed = [piece for piece in self._pieces.of(hour) if piece.sealed]
        chosen, total = frozen[:1], rows(frozen[0])
        for piece in [*frozen[1:], *sorted(sealed, key=rows)]:
            small = not piece.sealed or rows(piece) <= 4 * total
            if small and total + rows(piece) <= MOST_ROWS:
                chosen.append(piece)
                total += rows(piece)
        return chosen

    def _seal(self, chosen: Sequence[Piece]) -> None:
        """Write the chosen pieces into one sorted table and drop them, in one transaction."""
        new = chosen[0]._replace(sealed=True)
        union = " union all ".join(f"select {COLUMNS} from {piece.table}" for piece in chosen)
        with self._database.cursor() as cursor:
            cursor.begin()
            cursor.execute(
                f"create table {new.table} as"
                f" select * from ({union}) order by series_id, timestamp_us"
            )
            for piece in chosen:
                cursor.execute(f"drop table {piece.table}")
            cursor.commit()
            self._pieces.replace(chosen, new)

    def _checkpoint(self) -> None:
        """Give freed blocks back; tried again later while a transaction is open."""
        try:
            with self._database.cursor() as cursor:
                cursor.execute("checkpoint")
            self._checkpoint_due = False
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, duckdb.TransactionException):
                raise
            LOG.debug("The checkpoint is put off: %s", error)
