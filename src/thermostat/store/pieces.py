# SPDX-License-Identifier: Apache-2.0
"""The tables that hold the samples: pieces of an hour of event time.

An hour has at most one *open* piece, which new rows go to. A *frozen* piece gets no more rows and
waits to be *sealed*: rewritten in the order of series and time. Because nothing is ever written to
a piece that is frozen, no row can slip in between the copy and the drop of the old table; rows that
come late, or during the sealing, go to a new open piece. Pieces that an earlier process left open
are frozen.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import duckdb

from thermostat.store.base import StoreUnavailable
from thermostat.store.database import Database

HOUR_US = 3_600_000_000
COLUMNS = "series_id, timestamp_us, volume"
_SCHEMA = "(series_id bigint not null, timestamp_us bigint not null, volume double not null)"
_EMPTY = "select 0::bigint series_id, 0::bigint timestamp_us, 0::double volume where false"
_NAME = re.compile(r"^hour_(?P<hour>-?\d+)_(?P<number>\d+)(?P<sealed>_sealed)?$")
_ATTEMPTS = 100
_PAUSE_S = 0.02

_Answer = TypeVar("_Answer")


class Piece(NamedTuple):
    """One table of samples."""

    hour: int
    """Hours since the epoch of the event times within."""
    number: int
    """Counts the pieces of one hour, from 0."""
    sealed: bool = False

    @property
    def table(self) -> str:
        """The table's name."""
        return f"hour_{self.hour}_{self.number}{'_sealed' if self.sealed else ''}"

    @property
    def create(self) -> str:
        """The statement that makes the empty table."""
        return f"create table {self.table} {_SCHEMA}"


class Pieces:
    """Which pieces there are. Whoever writes to the open ones holds `writing`."""

    def __init__(self) -> None:
        self.writing = threading.Lock()
        """Held from the choice of an open piece to the commit, and to freeze or drop pieces."""
        self._by_hour: dict[int, tuple[Piece, ...]] = {}
        self._rows: dict[Piece, int] = {}
        self._open: dict[int, tuple[Piece, int]] = {}
        self._frozen: set[Piece] = set()

    def load(self, database: Database) -> None:
        """List the pieces in the file, all frozen or sealed; drop what an unfinished seal left."""
        with self.writing, database.cursor() as cursor:
            rows: dict[Piece, int] = {}
            for name, count in cursor.execute(
                "select table_name, estimated_size from duckdb_tables()"
            ).fetchall():
                found = _NAME.match(name)
                if found:
                    piece = Piece(int(found["hour"]), int(found["number"]), bool(found["sealed"]))
                    rows[piece] = count
            for piece in [piece for piece in rows if _is_leftover(piece, rows)]:
                cursor.execute(f"drop table {piece.table}")
                del rows[piece]
            by_hour: dict[int, tuple[Piece, ...]] = {}
            for piece in sorted(rows):
                by_hour[piece.hour] = (*by_hour.get(piece.hour, ()), piece)
            self._by_hour, self._rows, self._open = by_hour, rows, {}
            self._frozen = {piece for piece in rows if not piece.sealed}

    # -- reading --------------------------------------------------------------------------------

    def hours(self) -> list[int]:
        """Give the hours that have samples, oldest first."""
        return sorted(self._by_hour)

    def of(self, hour: int) -> tuple[Piece, ...]:
        """Give the pieces of one hour."""
        return self._by_hour.get(hour, ())

    def rows(self, piece: Piece) -> int:
        """Give how many rows a piece has."""
        return self._rows.get(piece, 0)

    def between(self, start_us: int | None, end_us: int | None) -> Iterator[Piece]:
        """Give the pieces that can hold start < event time ≤ end."""
        for hour in self.hours():
            after_start = start_us is None or (hour + 1) * HOUR_US > start_us + 1
            if after_start and (end_us is None or hour * HOUR_US <= end_us):
                yield from self.of(hour)

    def read(
        self,
        start_us: int | None,
        end_us: int | None,
        query: Callable[[str], _Answer],
    ) -> _Answer:
        """Give what `query` makes of a FROM item with the rows of the pieces in this span.

        The query runs again when one of the pieces was sealed or dropped in between.
        """
        for _ in range(_ATTEMPTS):
            try:
                return query(_union([piece.table for piece in self.between(start_us, end_us)]))
            except duckdb.CatalogException:
                time.sleep(_PAUSE_S)
        raise StoreUnavailable("the sample store: its tables kept changing during a query")

    # -- changes --------------------------------------------------------------------------------

    def open_piece(self, hour: int, most_rows: int) -> tuple[Piece, bool]:
        """Give the piece that new rows of this hour go to, and whether its table must be made."""
        known = self._open.get(hour)
        if known and self.rows(known[0]) < most_rows:
            return known[0], False
        return Piece(hour, max((piece.number for piece in self.of(hour)), default=-1) + 1), True

    def written(self, piece: Piece, rows: int, now_us: int) -> None:
        """Note rows that were committed to the open piece of an hour."""
        self._rows[piece] = self.rows(piece) + rows
        if piece not in self.of(piece.hour):
            self._freeze(piece.hour)
            self._open[piece.hour] = (piece, now_us)
            self._by_hour[piece.hour] = (*self.of(piece.hour), piece)

    def open_since(self, hour: int) -> int | None:
        """Give when the open piece of an hour was made; None if there is none."""
        known = self._open.get(hour)
        return known[1] if known else None

    def freeze(self, hour: int) -> None:
        """Let no more rows into the open piece of an hour."""
        with self.writing:
            self._freeze(hour)

    def frozen(self, hour: int) -> list[Piece]:
        """Give the pieces of an hour that wait to be sealed."""
        return [piece for piece in self.of(hour) if piece in self._frozen]

    def replace(self, old: Sequence[Piece], new: Piece) -> None:
        """Put a sealed piece in the place of those whose rows it took."""
        with self.writing:
            rest = tuple(piece for piece in self.of(new.hour) if piece not in {*old, new})
            self._by_hour[new.hour] = (*rest, new)
            self._rows[new] = sum(self._rows.pop(piece, 0) for piece in old)
            self._frozen.difference_update(old)

    def forget(self, hour: int) -> None:
        """Take an hour out of the list; the caller holds `writing` and drops its tables."""
        for piece in self._by_hour.pop(hour, ()):
            self._rows.pop(piece, None)
            self._frozen.discard(piece)
        self._open.pop(hour, None)

    def _freeze(self, hour: int) -> None:
        if hour in self._open:
            piece, _ = self._open.pop(hour)
            self._frozen.add(piece)


def _is_leftover(piece: Piece, among: dict[Piece, int]) -> bool:
    """Tell whether a sealed piece stands beside the piece it was made of."""
    return piece.sealed and piece._replace(sealed=False) in among


def _union(tables: Sequence[str]) -> str:
    selects = [f"select {COLUMNS} from {table}" for table in tables]
    return f"({' union all '.join(selects or [_EMPTY])}) samples"
