# SPDX-License-Identifier: Apache-2.0
"""From request bytes to stored samples: decode, derive, register, store, and then tell."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from oslo_config import cfg

from thermostat.samples.derive import Deriver
from thermostat.samples.model import Sample, SampleType, SeriesKey
from thermostat.samples.wire import COLUMNAR_TYPE, decode_columnar, decode_json
from thermostat.store.base import Batch, SampleStore, StoreError
from thermostat.store.clock import wall_clock_us

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
MEMORY_US = 86_400_000_000
"""How long a counter that is not read any more is remembered: one day of event time."""

PRIMED_US = 3_600_000_000
"""How far back stored counters are read at the start: one hour of event time."""

_Decoder = Callable[..., list[Sample]]
_DECODERS: Mapping[str, tuple[_Decoder, bool]] = {
    JSON_TYPE: (decode_json, True),
    COLUMNAR_TYPE: (decode_columnar, False),
}


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
        self._deriving = threading.Lock()
        self._deriver = Deriver()
        self._unstored: dict[tuple[SeriesKey, int], list[Sample]] = {}
        self._forgotten_us = clock()
        self.max_body_bytes = max_body_mb * 1_000_000
        """The largest body that is worth reading."""
        for sample in _counters(store, store.latest(self._forgotten_us - PRIMED_US)):
            self._deriver.derive(sample)

    def receive(self, body: bytes, media_type: str) -> int:
        """Store all samples of a request's body, and give how many it had.

        They are on disk when this returns. Raises InvalidSamples, UnknownMediaType, StoreFull or
        StoreUnavailable; none of them is stored then, or the sender may send all of them again.
        """
        if media_type not in _DECODERS:
            raise UnknownMediaType(f"{media_type!r} is not one of {', '.join(_DECODERS)}")
        decode, derive = _DECODERS[media_type]
        return self.accept(decode(body, now_us=self._clock()), derive=derive)

    def accept(self, samples: Sequence[Sample], *, derive: bool = False) -> int:
        """Store these samples, with `derive` also those that follow from them; give how many came.

        A sample of a series and instant that are stored already is accepted and left out.
        """
        derived = self._derive(samples) if derive else {}
        try:
            self._store_all([*samples, *(one for many in derived.values() for one in many)])
        except StoreError:
            with self._deriving:
                self._unstored.update(derived)
            raise
        return len(samples)

    def _store_all(self, samples: Sequence[Sample]) -> None:
        if not samples:
            return
        count = len(samples)
        batch = Batch(
            self._store.intern(samples),
            np.fromiter((sample.timestamp_us for sample in samples), np.int64, count),
            np.fromiter((sample.volume for sample in samples), np.float64, count),
        )
        new = self._store.append(batch)
        if len(new):
            self._on_stored(new)

    def _derive(self, samples: Sequence[Sample]) -> dict[tuple[SeriesKey, int], list[Sample]]:
        """Give what follows from these samples, by the series and instant it follows from.

        The deriver has moved on when a batch could not be stored. What it gave is kept then, for
        the sender's next try.
        """
        derived = {}
        with self._deriving:
            self._forget()
            for sample in samples:
                follows = self._deriver.derive(sample)
                if not follows and self._unstored:
                    follows = self._unstored.pop((sample.key, sample.timestamp_us), [])
                if follows:
                    derived[sample.key, sample.timestamp_us] = follows
        return derived

    def _forget(self) -> None:
        now_us = self._clock()
        if now_us - self._forgotten_us > MEMORY_US // 24:
            self._forgotten_us = now_us
            self._deriver.forget(now_us - MEMORY_US)
            self._unstored = {
                origin: follows
                for origin, follows in self._unstored.items()
                if origin[1] > now_us - MEMORY_US
            }


def _counters(store: SampleStore, newest: Batch) -> Iterator[Sample]:
    """Give the stored samples that later ones are compared with, as they once came in."""
    for series_id, timestamp_us, volume in zip(
        newest.series_id.tolist(), newest.timestamp_us.tolist(), newest.volume.tolist(), strict=True
    ):
        series = store.get_series(series_id)
        if series.type is SampleType.CUMULATIVE or series.key.meter == "memory":
            yield Sample(
                name=series.key.meter,
                type=series.type,
                unit=series.unit,
                volume=volume,
                resource_id=series.key.resource_id,
                project_id=series.key.project_id,
                user_id=series.user_id,
                timestamp_us=timestamp_us,
                metadata=dict(series.metadata),
                source=series.source,
            )
