# SPDX-License-Identifier: Apache-2.0
"""The series registry: which id a sample's series has, and what each id stands for.

A new series is committed before anyone can use its id, so that no stored sample ever has an id that
means nothing. In memory there are only numbers, some 50 bytes a series: the fingerprints of what
was said of each series and of each key, and the numbers of its meter and project.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from thermostat.alarms.query import Operator
from thermostat.samples.growing import with_length
from thermostat.samples.model import Sample, SeriesKey
from thermostat.store import selecting
from thermostat.store.base import Selection, Series, StoreUnavailable, Subscriber
from thermostat.store.fingerprints import FingerprintTable
from thermostat.store.series_file import Row, SeriesFile, row_of

_REMEMBERED = 4_096
"""Series whose descriptions are kept in memory after they were asked for."""

_hash = xxhash.xxh3_64_intdigest
_encode = msgspec.msgpack.encode
_json = msgspec.json.Encoder()


class Registry:
    """Every series that was ever seen. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises StoreUnavailable or StoreFull."""
        self._file = SeriesFile(path)
        self.fingerprint_key = self._file.fingerprint_key()
        """The secret key of fingerprints, 64 bits."""
        self._registering = threading.Lock()
        """Held while ids are given; `_looking` is held for moments, to read or change arrays."""
        self._looking = threading.Lock()
        self._count = 0
        self._keys = FingerprintTable()
        self._descriptions = FingerprintTable()
        self._meters: dict[str, int] = {}
        self._projects: dict[str | None, int] = {}
        self._meter = np.zeros(0, np.int32)
        self._project = np.zeros(0, np.int32)
        self._recent: OrderedDict[int, Series] = OrderedDict()
        self._subscribers: list[Subscriber] = []
        self._load()

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """What the arrays take in memory."""
        tables = self._keys.size_bytes + self._descriptions.size_bytes
        return tables + self._meter.nbytes + self._project.nbytes

    def subscribe(self, callback: Subscriber) -> None:
        """Have `intern` call this with new and changed series, once they are on disk."""
        with self._registering:
            self._subscribers.append(callback)

    def find(
        self, fingerprints: NDArray[np.uint64], guess: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Give the series that were last interned with these fingerprints, 0 where none was."""
        with self._looking:
            return self._descriptions.find(fingerprints, guess)

    def intern(
        self, samples: Sequence[Sample], fingerprints: NDArray[np.uint64] | None = None
    ) -> NDArray[np.int64]:
        """Give each sample's series id, shape (len(samples),); new series are on disk on return.

        Changed metadata, unit or owner replaces what was known. Raises StoreFull or
        StoreUnavailable.
        """
        hashes = np.fromiter(
            (self._key_hash(one.name, one.resource_id, one.project_id) for one in samples),
            np.uint64,
            len(samples),
        )
        with self._registering:
            draft = self._draft(samples, hashes)
            ids = np.array(draft.ids, np.int64)
            if draft.changed:
                self._file.write(draft.rows(fingerprints))
            with self._looking:
                self._publish(draft, ids, hashes, fingerprints)
            if draft.changed:
                changed = list(draft.changed.values())
                for tell in self._subscribers:
                    tell(changed)
        return ids

    def get(self, series_id: int) -> Series:
        """Give one series; KeyError if there is none."""
        with self._looking:
            known = self._recent.get(series_id)
        if known is None:
            if not 1 <= series_id <= self._count:
                raise KeyError(series_id)
            [known] = self._file.read([series_id])
            with self._looking:
                known = self._recent.setdefault(series_id, known)
                self._shorten()
        return known

    def all(self) -> Iterator[Series]:
        """Give every series by ascending id."""
        return self._file.all()

    def select(self, selection: Selection) -> list[Series]:
        """Give the series that the selection matches, by ascending id."""
        found = self._file.read(self._candidates(selection).tolist())
        return [one for one in found if selecting.matches(one, selection)]

    def settings(self) -> dict[str, Any]:
        """Give SQLite's settings that durability rests on."""
        return self._file.settings()

    def close(self) -> None:
        """Release the file."""
        with self._registering:
            self._file.close()

    # -- registering ----------------------------------------------------------------------------

    def _key_hash(self, meter: str, resource_id: str, project_id: str | None) -> int:
        return _hash(_encode((meter, resource_id, project_id)), self.fingerprint_key)

    def _draft(self, samples: Sequence[Sample], hashes: NDArray[np.uint64]) -> "_Draft":
        """Find the ids of these samples' series, and what of them must be written."""
        with self._looking:
            held = self._keys.find(hashes)
        known = {one.series_id: one for one in self._file.read(np.unique(held[held > 0]).tolist())}
        draft = _Draft(self._count)
        for sample, candidate in zip(samples, held.tolist(), strict=True):
            draft.add(sample, known.get(candidate), self._file)
        return draft

    def _publish(
        self,
        draft: "_Draft",
        ids: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        fingerprints: NDArray[np.uint64] | None,
    ) -> None:
        new = ids > self._count
        self._keys.put(ids[new], hashes[new])
        if fingerprints is None:
            self._descriptions.drop(np.array(list(draft.changed), np.int64))
        else:
            self._descriptions.put(ids, fingerprints)
        added = [draft.changed[one].key for one in range(self._count + 1, draft.count + 1)]
        self._number([key.meter for key in added], [key.project_id for key in added])
        for series_id in self._recent.keys() & draft.changed.keys():
            self._recent[series_id] = draft.changed[series_id]

    def _number(self, meters: Sequence[str], projects: Sequence[str | None]) -> None:
        """Note the meters and projects of the series that come next."""
        first, self._count = self._count, self._count + len(meters)
        self._meter = with_length(self._meter, self._count)
        self._project = with_length(self._project, self._count)
        known = self._meters
        self._meter[first : self._count] = [known.setdefault(one, len(known)) for one in meters]
        owners = self._projects
        self._project[first : self._count] = [
            owners.setdefault(one, len(owners)) for one in projects
        ]

    def _load(self) -> None:
        """Take in what the file has: a million series in about two seconds."""
        key = self.fingerprint_key
        all_hashes, all_fingerprints = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for rows in self._file.index():
            self._number([row[1] for row in rows], [row[3] for row in rows])
            if rows[-1][0] != self._count:
                raise StoreUnavailable(f"the series registry: ids before {rows[-1][0]} are missing")
            hashes = [_hash(_encode(row[1:4]), key) for row in rows]
            all_hashes.append(np.array(hashes, np.uint64))
            all_fingerprints.append(np.array([row[4] for row in rows], np.int64))
        self._keys.load(np.maximum(np.concatenate(all_hashes), np.uint64(1)))
        self._descriptions.load(np.concatenate(all_fingerprints).view(np.uint64))

    # -- reading --------------------------------------------------------------------------------

    def _candidates(self, selection: Selection) -> NDArray[np.int64]:
        """Give the ids of the series that may match; by one resource's id they are one."""
        meter = self._meters.get(selection.meter)
        if meter is None:
            return np.empty(0, np.int64)
        resource_id = _resource_of(selection)
        if resource_id is not None and selection.project_id is not None:
            key = self._key_hash(selection.meter, resource_id, selection.project_id)
            with self._looking:
                found = self._keys.find(np.array([key], np.uint64))
            return found[found > 0]
        count = self._count
        chosen = self._meter[:count] == meter
        if selection.project_id is not None:
            chosen &= self._project[:count] == self._projects.get(selection.project_id, -1)
        return np.flatnonzero(chosen) + 1

    def _shorten(self) -> None:
        while len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)


class _Draft:
    """The ids of a batch of samples, and the series that they describe anew."""

    def __init__(self, count: int) -> None:
        self.ids: list[int] = []
        self.changed: dict[int, Series] = {}
        """New and changed series by id, as the last sample of each describes them."""
        self.count = count
        """The highest id."""
        self._by_key: dict[tuple[str, str, str | None], Series] = {}

    def add(self, sample: Sample, candidate: Series | None, file: SeriesFile) -> None:
        """Take in the next sample; `candidate` is the series that seems to have its key."""
        key = (sample.name, sample.resource_id, sample.project_id)
        known = self._by_key.get(key)
        if known is None:
            known = self._verified(sample.key, candidate, file)
        if known is None:
            self.count += 1
            known = Series.of(self.count, sample, sample.timestamp_us)
            self.changed[known.series_id] = known
        elif not known.is_as_in(sample):
            known = Series.of(known.series_id, sample, known.first_us)
            self.changed[known.series_id] = known
        self._by_key[key] = known
        self.ids.append(known.series_id)

    def rows(self, fingerprints: NDArray[np.uint64] | None) -> Iterator[Row]:
        """Give the rows to write, with the last fingerprint of each series."""
        fingerprint_of = (
            {} if fingerprints is None else dict(zip(self.ids, fingerprints.tolist(), strict=True))
        )
        texts: dict[int, str] = {}  # by object: the series of one resource often share one
        for series in self.changed.values():
            metadata = series.metadata
            text = texts.get(id(metadata))
            if text is None:
                text = texts[id(metadata)] = _json.encode(metadata).decode()
            yield row_of(series, text, fingerprint_of.get(series.series_id, 0))

    @staticmethod
    def _verified(key: SeriesKey, candidate: Series | None, file: SeriesFile) -> Series | None:
        """Give the series with this key: the candidate, unless two keys have one hash."""
        if candidate is None or candidate.key == key:
            return candidate
        series_id = file.find(key)
        return file.read([series_id])[0] if series_id else None


def _resource_of(selection: Selection) -> str | None:
    """Give the resource that the selection's conditions name, or None."""
    for condition in selection.conditions:
        if condition.field == "resource_id" and condition.op is Operator.EQ:
            return condition.value
    return None
