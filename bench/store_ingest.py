# SPDX-License-Identifier: Apache-2.0
"""From request bytes to samples on disk: Ceilometer's JSON, and our columnar form.

As many senders as the API has threads post requests at once. Rates are per second of CPU time of
the whole process, so that they say what one core does. A request has 20 meters of each instance,
with Nova's metadata, and the series are known, as they are at every poll but the first. The peer
decodes the same JSON and stores a row per sample in SQLite with synchronous=FULL, a transaction per
request, in the same run.

Then the registry alone, with a million series: what registering, a restart and memory cost.
"""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from thermostat.ingest import JSON_TYPE, Ingest
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import COLUMNAR_TYPE, decode_json, encode_columnar
from thermostat.store.embedded import EmbeddedStore
from thermostat.store.registry import Registry

SENDERS = 16
METERS = 20
US_PER_S = 1_000_000
MILLION = 1_000_000
PEER = "SQLite, a row per sample, from JSON"


def run() -> Iterable[dict[str, Any]]:
    """Give samples per second of CPU for each form, and what a million series cost."""
    peer = _peer(list(_poll(0, hosts=40, instances=50, kind="gauge")))
    for name, media_type, hosts, instances, kind in (
        ("store_json", JSON_TYPE, 64, 50, "gauge"),
        ("store_json_counters", JSON_TYPE, 64, 50, "cumulative"),
        ("store_columnar", COLUMNAR_TYPE, 32, 500, "gauge"),
        ("store_columnar_1k", COLUMNAR_TYPE, 64, 50, "gauge"),
    ):
        rate = _ours(media_type, hosts, instances, kind)
        yield _figure(name, round(rate), "samples/s", PEER, round(rate / peer, 1))
    yield from _registry()


def _figure(
    name: str, value: float, unit: str, peer: str | None = None, ratio: float | None = None
) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "peer": peer, "ratio": ratio}


def _ours(media_type: str, hosts: int, instances: int, kind: str) -> float:
    """Give samples per CPU second over some polls, after two that make the series known."""
    with tempfile.TemporaryDirectory() as directory:
        store = EmbeddedStore(directory, min_free_mb=0)
        ingest = Ingest(store, lambda _batch: None)
        samples, used_s = 0, 0.0
        try:
            for number in range(8):
                bodies = list(_poll(number, hosts=hosts, instances=instances, kind=kind))
                if media_type == COLUMNAR_TYPE:
                    now_us = time.time_ns() // 1000
                    bodies = [encode_columnar(decode_json(one, now_us=now_us)) for one in bodies]
                came, took_s = _measure(lambda body: ingest.receive(body, media_type), bodies)
                if number >= 2:
                    samples, used_s = samples + came, used_s + took_s
        finally:
            store.close()
    return samples / used_s


def _measure(receive: Callable[[bytes], int], bodies: Sequence[bytes]) -> tuple[int, float]:
    with ThreadPoolExecutor(SENDERS) as senders:
        begun = time.process_time()
        stored = sum(senders.map(receive, bodies))
        return stored, time.process_time() - begun


def _peer(bodies: Sequence[bytes]) -> float:
    """Measure a table with a row per sample, written by one thread: SQLite has one writer."""
    with tempfile.TemporaryDirectory() as directory:
        connection = sqlite3.connect(Path(directory) / "samples.sqlite", isolation_level=None)
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")
        connection.execute(
            "create table sample (meter, resource_id, project_id, timestamp, volume, metadata)"
        )

        def write(body: bytes) -> int:
            samples = decode_json(body, now_us=time.time_ns() // 1000)
            connection.execute("begin")
            connection.executemany("insert into sample values (?, ?, ?, ?, ?, ?)", _rows(samples))
            connection.execute("commit")
            return len(samples)

        begun = time.process_time()
        stored = sum(write(body) for body in bodies)
        used_s = time.process_time() - begun
        connection.close()
        return stored / used_s


def _rows(samples: Sequence[Sample]) -> Iterator[tuple[Any, ...]]:
    for one in samples:
        metadata = msgspec.json.encode(one.metadata)
        yield one.name, one.resource_id, one.project_id, one.timestamp_us, one.volume, metadata


def _poll(number: int, *, hosts: int, instances: int, kind: str) -> Iterator[bytes]:
    """Give a request per host, in the form of Ceilometer's HTTP publisher."""
    minute_us = 60 * US_PER_S
    begin_us = time.time_ns() // 1000 // minute_us * minute_us - 600 * US_PER_S
    instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begin_us // US_PER_S + number * 10))
    for host in range(hosts):
        yield msgspec.json.encode(
            [
                {
                    "name": f"meter.{meter}",
                    "type": kind,
                    "unit": "B",
                    "volume": number * 1.5 + meter,
                    "user_id": "4f5bd1b2a3c44de0b7cf0d6b3b2c4e11",
                    "user_name": None,
                    "project_id": "d41d8cd98f00b204e9800998ecf8427e",
                    "project_name": None,
                    "resource_id": f"{host:08x}-4b5a-4978-8796-{instance:012d}",
                    "timestamp": f"{instant}.250000",
                    "resource_metadata": _metadata(f"web-{instance}", f"compute-{host}"),
                    "source": "openstack",
                    "id": f"c2ea9212-0000-4000-8000-{meter:012d}",
                    "monotonic_time": number * 10.0,
                }
                for instance in range(instances)
                for meter in range(METERS)
            ]
        )


def _metadata(name: str, host: str) -> dict[str, Any]:
    return {
        "display_name": name,
        "host": host,
        "flavor": {"name": "m1.small", "vcpus": 2, "ram": 2048},
        "user_metadata": {"server_group": "web"},
    }


def _registry() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "series.sqlite"
        registry, used_s = Registry(path), 0.0
        chance = np.random.default_rng(1)
        for first in range(0, MILLION, 10_000):
            samples = list(_described(first, 10_000))
            fingerprints = chance.integers(1, 2**64, len(samples), np.uint64)
            begun = time.process_time()
            registry.intern(samples, fingerprints)
            used_s += time.process_time() - begun
        yield _figure("register_series", round(MILLION / used_s), "series/s")
        yield _figure("registry_bytes_per_series", round(registry.size_bytes / MILLION, 1), "B")
        registry.close()
        begun = time.process_time()
        registry = Registry(path)
        yield _figure("registry_restart_1m", round(time.process_time() - begun, 2), "s")
        begun = time.process_time()
        count = sum(1 for _ in registry.all())
        used_s = time.process_time() - begun
        yield _figure("registry_all_series", round(used_s / count * 1e6, 2), "us/series")
        registry.close()


def _described(first: int, count: int) -> Iterator[Sample]:
    for resource in range(first // METERS, (first + count) // METERS):
        metadata = _metadata(f"web-{resource}", f"compute-{resource % 1000}")
        for meter in range(METERS):
            yield Sample(
                name=f"meter.{meter}",
                type=SampleType.GAUGE,
                unit="B",
                volume=1.0,
                resource_id=f"0f1e2d3c-4b5a-4978-8796-{resource:012d}",
                project_id=f"d41d8cd98f00b204e9800998ecf{resource % 500:05d}",
                user_id="4f5bd1b2a3c44de0b7cf0d6b3b2c4e11",
                timestamp_us=1,
                metadata=metadata,
            )
