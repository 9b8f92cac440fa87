# SPDX-License-Identifier: Apache-2.0
"""Rates and percentages of the samples that the server receives, as samples of their own series.

What was derived is not lost when it cannot be stored: it is kept for the sender's next try.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thermostat.samples.columns import Columns, fingerprint_of
from thermostat.samples.derive import derived
from thermostat.samples.growing import with_length
from thermostat.samples.model import Sample
from thermostat.samples.rates import Rates
from thermostat.store.base import Batch, SampleStore, Selection

MEMORY_US = 86_400_000_000
"""How long a counter that is not read any more is remembered: one day of event time."""

PRIMED_US = 3_600_000_000
"""How far back stored counters are read at the start: one hour of event time."""

MOST_UNSTORED = 200_000
"""Derived volumes that are kept for senders that try again; the oldest give way."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Derived:
    """What follows from some rows of a request."""

    columns: Columns
    rows: Ints
    series_id: Ints
    """The series that it follows from."""
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


class Deriving:
    """Derives batch by batch. Every method may be called from any thread."""

    def __init__(self, store: SampleStore, clock: Callable[[], int]) -> None:
        """Read the newest stored samples, which the next counters are compared with."""
        self._store = store
        self._clock = clock
        self._key = store.fingerprint_key
        self._lock = threading.Lock()
        self._rates = Rates()
        self._target: NDArray[np.int32] = np.zeros(0, np.int32)
        """By series id: the series of what follows from it, 0 where it must be looked up."""
        self._unstored: dict[tuple[int, int], float] = {}
        self._started_us = self._forgotten_us = clock()
        self._newest = _by_series(store.latest(self._started_us - PRIMED_US))
        self._prime_memory()

    def derive(self, ids: Ints, columns: Columns, described: Mapping[int, Sample]) -> Derived:
        """Give what follows from these samples, which have these series.

        `described` has, by row, the samples that describe their series anew.
        """
        with self._lock:
            self._forget()
            described = self._with_unknown(ids, columns, described)
            parts = []
            for start, end in _parts(ids, described):
                part = range(start, end)
                self._describe(ids, {row: described[row] for row in part if row in described})
                rows, volume = self._rates.derive(
                    ids[start:end],
                    columns.timestamp_us[start:end],
                    columns.volume[start:end],
                    columns.monotonic_s[start:end],
                )
                parts.append((rows + start, volume))
            rows = np.concatenate([rows for rows, _ in parts])
            volume = np.concatenate([volume for _, volume in parts])
            if self._unstored:
                rows, volume = self._again(ids, columns, rows, volume)
        return Derived(columns, rows, ids[rows], volume)

    def identify(self, derived_from: Derived) -> Batch:
        """Give the samples that follow, of their own series. Raises StoreFull, StoreUnavailable."""
        series_id = derived_from.series_id
        if not len(series_id):
            return Batch.concatenate([])
        with self._lock:
            self._target = with_length(self._target, int(series_id.max()) + 1)
            self._find_targets(derived_from)
            target = self._target[series_id].astype(np.int64)
        return Batch(
            target, derived_from.columns.timestamp_us[derived_from.rows], derived_from.volume
        )

    def keep(self, derived_from: Derived) -> None:
        """Keep what could not be stored until its samples come again."""
        when = derived_from.columns.timestamp_us[derived_from.rows]
        origins = zip(derived_from.series_id.tolist(), when.tolist(), strict=True)
        with self._lock:
            self._unstored.update(zip(origins, derived_from.volume.tolist(), strict=True))
            while len(self._unstored) > MOST_UNSTORED:
                del self._unstored[next(iter(self._unstored))]

    def _with_unknown(
        self, ids: Ints, columns: Columns, described: Mapping[int, Sample]
    ) -> Mapping[int, Sample]:
        """Add the first sample of each series that this process has not seen described."""
        unknown = np.flatnonzero(self._rates.is_unknown(ids))
        if not len(unknown):
            return described
        _, first = np.unique(ids[unknown], return_index=True)
        rows = [row for row in np.sort(unknown[first]).tolist() if row not in described]
        return {**described, **dict(zip(rows, columns.samples(rows), strict=True))}

    def _describe(self, ids: Ints, described: Mapping[int, Sample]) -> None:
        if not described:
            return
        series_id = ids[list(described)]
        self._rates.describe(series_id.tolist(), list(described.values()))
        self._target = with_length(self._target, int(series_id.max()) + 1)
        self._target[series_id] = 0
        if len(self._newest):
            at = np.searchsorted(self._newest.series_id, series_id)
            at = np.minimum(at, len(self._newest) - 1)
            newest = self._newest.where(at[self._newest.series_id[at] == series_id])
            self._rates.prime(newest.series_id, newest.timestamp_us, newest.volume)

    def _find_targets(self, derived_from: Derived) -> None:
        """Register the series of what follows where they are not known, or described anew."""
        missing = np.flatnonzero(self._target[derived_from.series_id] == 0)
        if not len(missing):
            return
        _, last = np.unique(derived_from.series_id[missing][::-1], return_index=True)
        chosen = missing[::-1][last]
        origins = derived_from.columns.samples(derived_from.rows[chosen].tolist())
        samples = [
            derived(origin, volume)
            for origin, volume in zip(origins, derived_from.volume[chosen].tolist(), strict=True)
        ]
        fingerprints = np.array([fingerprint_of(one, self._key) for one in samples], np.uint64)
        targets = self._store.find(fingerprints)
        new = np.flatnonzero(targets == 0)
        if len(new):
            targets[new] = self._store.intern([samples[row] for row in new], fingerprints[new])
        self._target[derived_from.series_id[chosen]] = targets

    def _again(
        self, ids: Ints, columns: Columns, rows: Ints, volume: NDArray[np.float64]
    ) -> tuple[Ints, NDArray[np.float64]]:
        """Add what followed from samples that came before and could not be stored then."""
        without = np.setdiff1d(np.arange(len(ids)), rows)
        origins = zip(ids[without].tolist(), columns.timestamp_us[without].tolist(), strict=True)
        kept = [
            (row, self._unstored.pop(origin))
            for row, origin in zip(without.tolist(), origins, strict=True)
            if origin in self._unstored
        ]
        again = np.array([row for row, _ in kept], np.int64)
        return (
            np.concatenate([rows, again]),
            np.concatenate([volume, np.array([one for _, one in kept], np.float64)]),
        )

    def _prime_memory(self) -> None:
        if not len(self._newest):
            return
        newest = dict(
            zip(
                self._newest.series_id.tolist(),
                zip(self._newest.timestamp_us.tolist(), self._newest.volume.tolist(), strict=True),
                strict=True,
            )
        )
        for series in self._store.series(Selection("memory", None)):
            if series.series_id in newest:
                self._rates.prime_memory(series.key.resource_id, *newest[series.series_id])

    def _forget(self) -> None:
        now_us = self._clock()
        if now_us - self._started_us > PRIMED_US:
            self._newest = Batch.concatenate([])
        if now_us - self._forgotten_us > MEMORY_US // 24:
            self._forgotten_us = now_us
            self._rates.forget(now_us - MEMORY_US)
            self._unstored = {
                origin: volume
                for origin, volume in self._unstored.items()
                if origin[1] > now_us - MEMORY_US
            }


def _by_series(batch: Batch) -> Batch:
    return batch.where(np.argsort(batch.series_id))


def _parts(ids: Ints, described: Mapping[int, Sample]) -> list[tuple[int, int]]:
    """Cut a request where a series that had samples before in it is described anew."""
    cuts = [0]
    if described:
        _, first = np.unique(ids, return_index=True)
        begins = np.zeros(len(ids), np.bool_)
        begins[first] = True
        cuts.extend(row for row in sorted(described) if not begins[row])
    return list(zip(cuts, [*cuts[1:], len(ids)], strict=True))
