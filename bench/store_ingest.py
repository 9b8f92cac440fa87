# SPDX-License-Identifier: Apache-2.0
"""From request bytes to samples on disk: Ceilometer's JSON, and our columnar form.

Eight senders post requests of 1 000 samples (20 meters of 50 instances, with Nova's metadata) at
once, as the API's threads do. The peer decodes the same JSON and stores a row per sample in SQLite
with synchronous=FULL, a transaction per request, in the same run.
"""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from thermostat.ingest import JSON_TYPE, Ingest
from thermostat.samples.model import Sample
from thermostat.samples.wire import COLUMNAR_TYPE, decode_json, encode_columnar
from thermostat.store.embedded import EmbeddedStore

SENDERS = 8
INSTANCES = 50
METERS = 20
REQUESTS = 160
PEER_REQUESTS = 40
US_PER_S = 1_000_000


def run() -> Iterable[dict[str, Any]]:
    """Give samples per second for both forms, beside the peer's."""
    begin_us = time.time_ns() // 1000 // (60 * US_PER_S) * 60 * US_PER_S - 600 * US_PER_S
    bodies = [_request(number, begin_us) for number in range(REQUESTS)]
    columnar = [
        encode_columnar(decode_json(body, now_us=begin_us + 600 * US_PER_S)) for body in bodies
    ]
    peer = _row_a_sample(bodies[:PEER_REQUESTS])
    for name, media_type, requests in (
        ("ingest_json", JSON_TYPE, bodies),
        ("ingest_columnar", COLUMNAR_TYPE, columnar),
    ):
        rate = _ours(requests, media_type)
        yield {
            "name": name,
            "value": round(rate),
            "unit": "samples/s",
            "peer": "SQLite, a row per sample, from JSON",
            "ratio": round(rate / peer, 1),
        }


def _ours(bodies: list[bytes], media_type: str) -> float:
    with tempfile.TemporaryDirectory() as directory:
        store = EmbeddedStore(directory, min_free_mb=0)
        ingest = Ingest(store, lambda _batch: None)
        ingest.receive(bodies[0], media_type)  # registers the series, as the first poll does
        try:
            return _rate(lambda body: ingest.receive(body, media_type), bodies[1:])
        finally:
            store.close()


def _row_a_sample(bodies: list[bytes]) -> float:
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

        begun = time.perf_counter()
        stored = sum(write(body) for body in bodies)
        elapsed_s = time.perf_counter() - begun
        connection.close()
        return stored / elapsed_s


def _rows(samples: list[Sample]) -> Iterator[tuple[Any, ...]]:
    for one in samples:
        metadata = msgspec.json.encode(one.metadata)
        yield one.name, one.resource_id, one.project_id, one.timestamp_us, one.volume, metadata


def _rate(receive: Callable[[bytes], int], bodies: list[bytes]) -> float:
    with ThreadPoolExecutor(SENDERS) as senders:
        begun = time.perf_counter()
        stored = sum(senders.map(receive, bodies))
        return stored / (time.perf_counter() - begun)


def _request(number: int, begin_us: int) -> bytes:
    """Give one poll of all instances, in the form of Ceilometer's HTTP publisher."""
    at_us = begin_us + number * US_PER_S
    instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_us // US_PER_S))
    return msgspec.json.encode(
        [
            {
                "name": f"meter.{meter}",
                "type": "gauge",
                "unit": "B",
                "volume": number * 1.5 + meter,
                "user_id": "4f5bd1b2a3c44de0b7cf0d6b3b2c4e11",
                "user_name": None,
                "project_id": "d41d8cd98f00b204e9800998ecf8427e",
                "project_name": None,
                "resource_id": f"0f1e2d3c-4b5a-4978-8796-{instance:012d}",
                "timestamp": f"{instant}.250000",
                "resource_metadata": {
                    "display_name": f"web-{instance}",
                    "host": "compute-1",
                    "flavor": {"name": "m1.small", "vcpus": 2, "ram": 2048},
                    "user_metadata": {"server_group": "web"},
                },
                "source": "openstack",
                "id": f"c2ea9212-0000-4000-8000-{meter:012d}",
                "monotonic_time": number * 1.0,
            }
            for instance in range(INSTANCES)
            for meter in range(METERS)
        ]
    )
