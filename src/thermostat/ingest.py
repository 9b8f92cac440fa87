# SPDX-License-Identifier: Apache-2.0
"""From request bytes to stored samples: decode, derive, register, store, and then tell.

A sample costs one lookup of its series' fingerprint, in arrays: only what the store has not seen
yet, or not in this description, is decoded wholly and registered.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from oslo_config import cfg

from thermostat.deriving import Deriving
from thermostat.samples.columns import Columns, columns_of, read_json
from thermostat.samples.frames import Frame, read_frame
from thermostat.samples.model import Sample
from thermostat.samples.wire import COLUMNAR_TYPE
from thermostat.store.base import Batch, SampleStore, StoreError
from thermostat.store.clock import wall_clock_us
from thermostat.tables import KnownTable, KnownTables

GROUP = cfg.OptGroup("ingest", title="Samples that are sent to the server")
OPTS = [
    cfg.IntOpt(
        "max_body_mb",
        default=32,
        min=1,
        help="Megabytes that one request with samples may have. Longer ones are refused with 413.",
    ),
]

JSON_TYPE = "application/json"

Ints = NDArray[np.int64]


class UnknownMediaType(ValueError):  # noqa: N818 - it names what was sent, like InvalidSamples
    """Samples cannot be read from a body of this media type."""


class Ingest:
    """Stores what senders send. Every method may be called from any thread."""

    def __init__(
        self,
        store: SampleStore,
        on_stored: Callable[[Batch], None],
        *,
        max_body_mb: int = 32,
        clock: Callable[[], int] = wall_clock_us,
    ) -> None:
        """Call `on_stored` with the new samples of each batch, once they are on disk.

        The newest stored counters are read first, so that the next readings have rates.
        """
        self._store = store
        self._on_stored = on_stored
        self._clock = clock
        self._key = store.fingerprint_key
        self._deriving = Deriving(store, clock)
        self._tables = KnownTables()
        self._receivers = {JSON_TYPE: self._receive_json, COLUMNAR_TYPE: self._receive_columnar}
        self.max_body_bytes = max_body_mb * 1_000_000
        """The largest body that is worth reading."""

    def receive(self, body: bytes, media_type: str) -> int:
        """Store all samples of a request's body, and give how many it had.

        They are on disk when this returns. A sample of a series and instant that are stored already
        is accepted and left out. Raises InvalidSamples, UnknownMediaType, StoreFull or
        StoreUnavailable; none of them is stored then, or the sender may send all of them again.
        """
        if media_type not in self._receivers:
            raise UnknownMediaType(f"{media_type!r} is not one of {', '.join(self._receivers)}")
        return self._receivers[media_type](body)

    def accept(self, samples: Sequence[Sample], *, derive: bool = False) -> int:
        """Store samples that were decoded already, with `derive` also what follows from them."""
        return self._store_columns(columns_of(samples, self._key), derive=derive)

    def _receive_json(self, body: bytes) -> int:
        columns = read_json(body, now_us=self._clock(), key=self._key)
        return self._store_columns(columns, derive=True)

    def _store_columns(self, columns: Columns, *, derive: bool) -> int:
        ids, described = self._identify(columns.fingerprint, columns.samples)
        batch = Batch(ids, columns.timestamp_us, columns.volume)
        if not derive:
            self._append(batch)
            return len(columns)
        derived = self._deriving.derive(ids, columns, described)
        try:
            self._append(Batch.concatenate([batch, self._deriving.identify(derived)]))
        except StoreError:
            self._deriving.keep(derived)
            raise
        return len(columns)

    def _receive_columnar(self, body: bytes) -> int:
        """Store what an agent sends; it has derived rates and percentages itself."""
        frame = read_frame(body, now_us=self._clock(), key=self._key)
        if len(frame):
            ids = self._ids_of_table(frame)
            self._append(Batch(ids[frame.series_index], frame.timestamp_us, frame.volume))
        return len(frame)

    def _ids_of_table(self, frame: Frame) -> Ints:
        """Give the series of each row of a frame's table; 0 for rows without samples, maybe."""
        known = self._tables.get(frame.table_id)
        table = None
        if known is None:
            table = frame.table(self._key)
            known = KnownTable(table.fingerprint, np.zeros(len(table.rows), np.int64))
        if frame.series_index.max() >= len(known.fingerprint):
            frame.refuse()
        ids = self._store.find(known.fingerprint, known.ids)
        if not ids.all():
            ids = self._register_rows(frame, ids, known)
        if table is not None or ids is not known.ids:
            self._tables.put(frame.table_id, KnownTable(known.fingerprint, ids))
        return ids

    def _register_rows(self, frame: Frame, ids: Ints, known: KnownTable) -> Ints:
        """Register the series of those rows that have samples."""
        rows, first = np.unique(frame.series_index, return_index=True)
        if ids[rows].all():
            return ids
        # Two rows may be one series: the description of its last sample is to come last.
        _, before_end = np.unique(frame.series_index[::-1], return_index=True)
        order = np.argsort(-before_end)
        rows, first = rows[order], first[order]
        table = frame.table(self._key)

        def samples(chosen: Iterable[int]) -> list[Sample]:
            return [
                table.sample(int(rows[one]), int(frame.timestamp_us[first[one]])) for one in chosen
            ]

        ids[rows], _ = self._identify(known.fingerprint[rows], samples)
        return ids

    def _identify(
        self,
        fingerprints: NDArray[np.uint64],
        samples: Callable[[Iterable[int]], list[Sample]],
    ) -> tuple[Ints, dict[int, Sample]]:
        """Give the series of each row, and by row the samples that describe theirs anew."""
        ids = self._store.find(fingerprints)
        missing = np.flatnonzero(ids == 0)
        if not len(missing):
            return ids, {}
        rows, unknown = missing, samples(missing.tolist())
        ids[rows] = self._store.intern(unknown, fingerprints[rows])
        touched = np.flatnonzero(np.isin(ids, ids[missing]))
        if len(touched) > len(missing):
            # Other rows say of these series what was known before: the last row holds.
            rows, unknown = touched, samples(touched.tolist())
            self._store.intern(unknown, fingerprints[rows])
        return ids, dict(zip(rows.tolist(), unknown, strict=True))

    def _append(self, batch: Batch) -> None:
        if not len(batch):
            return
        new = self._store.append(batch)
        if len(new):
            self._on_stored(new)
