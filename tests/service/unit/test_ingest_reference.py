# SPDX-License-Identifier: Apache-2.0
"""Ingestion driven beside a reference that handles one sample at a time: the stores end equal."""

from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thermostat.ingest import JSON_TYPE, Ingest
from thermostat.samples.derive import Deriver
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import COLUMNAR_TYPE, decode_columnar, decode_json, encode_columnar
from thermostat.store.base import Batch, SampleStore
from thermostat.store.embedded import EmbeddedStore
from thermostat.store.memory import MemoryStore

S = 1_000_000
NOW_US = 1_800_000_000 * S
METERS = {
    "cpu": ("cumulative", "ns"),
    "disk.device.read.bytes": ("cumulative", "B"),
    "memory": ("gauge", "MiB"),
    "memory.usage": ("gauge", "MiB"),
    "cpu_util": ("gauge", "%"),
}
METADATA: list[dict[str, Any]] = [{}, {"vcpus": 2}, {"vcpus": 4, "memory_mb": 100}]

_one = st.tuples(
    st.sampled_from(sorted(METERS)),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["p", None]),
    st.integers(0, 8),  # s
    st.integers(0, 30).map(float),
    st.integers(0, len(METADATA) - 1),
    st.none() | st.integers(0, 8).map(float),
)
_requests = st.lists(
    st.tuples(st.sampled_from([JSON_TYPE, COLUMNAR_TYPE]), st.lists(_one, max_size=8)),
    min_size=1,
    max_size=5,
)


class Reference:
    """Ingestion as it is written down."""

    def __init__(self, store: SampleStore) -> None:
        self._store = store
        self._deriver = Deriver()

    def receive(self, body: bytes, media_type: str) -> None:
        if media_type == JSON_TYPE:
            samples = decode_json(body, now_us=NOW_US)
            samples = [*samples, *(new for one in samples for new in self._deriver.derive(one))]
        else:
            samples = decode_columnar(body, now_us=NOW_US)
        for one in samples:
            ids = self._store.intern([one])
            self._store.append(Batch(ids, np.array([one.timestamp_us]), np.array([one.volume])))


def body_of(media_type: str, rows: list[tuple[Any, ...]]) -> bytes:
    samples = [
        Sample(
            name=name,
            type=SampleType(METERS[name][0]),
            unit=METERS[name][1],
            volume=volume,
            resource_id=resource_id,
            project_id=project_id,
            timestamp_us=NOW_US + at_s * S,
            monotonic_s=monotonic_s,
            metadata=METADATA[metadata],
        )
        for name, resource_id, project_id, at_s, volume, metadata, monotonic_s in rows
    ]
    if media_type == COLUMNAR_TYPE:
        return encode_columnar(samples)
    return msgspec.json.encode(
        [
            {
                "name": one.name,
                "type": one.type.value,
                "unit": one.unit,
                "volume": one.volume,
                "resource_id": one.resource_id,
                "project_id": one.project_id,
                "timestamp": f"2027-01-15T08:00:{(one.timestamp_us - NOW_US) // S:02d}",
                "monotonic_time": one.monotonic_s,
                "resource_metadata": one.metadata,
            }
            for one in samples
        ]
    )


def content(store: SampleStore) -> dict[Any, Any]:
    """Give what a store has, by the series' keys: ids may differ."""
    samples = store.scan(None, 0, 2 * NOW_US)
    rows = list(
        zip(
            samples.series_id.tolist(),
            samples.timestamp_us.tolist(),
            samples.volume.tolist(),
            strict=True,
        )
    )
    return {
        (one.key.meter, one.key.resource_id, one.key.project_id): (
            one.type,
            one.unit,
            one.metadata,
            sorted(
                (at_us, volume) for series_id, at_us, volume in rows if series_id == one.series_id
            ),
        )
        for one in store.all_series()
    }


def drive(store: SampleStore, requests: list[Any]) -> None:
    expected = MemoryStore()
    reference = Reference(expected)
    ingest = Ingest(store, lambda _batch: None, clock=lambda: NOW_US)
    for media_type, rows in requests:
        body = body_of(media_type, rows)
        reference.receive(body, media_type)
        assert ingest.receive(body, media_type) == len(rows)
        assert content(store) == content(expected)


@settings(max_examples=300, deadline=None)
@given(_requests)
def test_the_store_in_memory_ends_equal(requests):
    drive(MemoryStore(), requests)


@settings(max_examples=20, deadline=None)
@given(_requests)
def test_the_embedded_store_ends_equal(tmp_path_factory, requests):
    store = EmbeddedStore(
        tmp_path_factory.mktemp("samples"), min_free_mb=0, clock=lambda: NOW_US + 20 * S
    )
    try:
        drive(store, requests)
    finally:
        store.close()
