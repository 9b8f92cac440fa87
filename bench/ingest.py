# SPDX-License-Identifier: Apache-2.0
"""From request bytes to samples on disk and in windows, beside a million series and alarms.

Sixteen senders post requests with all meters of 50 or of 500 instances, in random order over the
fleet, as the API's threads do. The store is on disk, the evaluator runs. The figure is samples per
second of processor time, of all threads together, until the last sample is in its windows. Each
series was sent once before, as in every minute but the first one of a server.
"""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from bench import _fleet
from bench._dataset import BASE_US, Dataset, copy_of
from bench._fleet import US_PER_S
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.evaluate.engine import Engine
from thermostat.evaluate.loop import Evaluator
from thermostat.ingest import JSON_TYPE, Ingest
from thermostat.samples.model import Sample
from thermostat.samples.wire import COLUMNAR_TYPE, encode_columnar
from thermostat.store.embedded import EmbeddedStore

ALARMS = 1_000_000
SENDERS = 16
NOW_S = BASE_US / US_PER_S + 9
"""Every sample is older, and no step is due yet: judging is measured elsewhere."""


def run() -> Iterator[dict[str, Any]]:
    """Yield samples a second of one core, for Ceilometer's JSON and for our columnar form."""
    with copy_of(ALARMS) as data, _Server(data) as server:
        for second, (name, media_type, encode, size, requests) in enumerate(
            (
                ("ingest_json", JSON_TYPE, _json, 1000, 200),
                ("ingest_columnar", COLUMNAR_TYPE, encode_columnar, 10_000, 100),
                ("ingest_columnar_1k", COLUMNAR_TYPE, encode_columnar, 1000, 400),
            )
        ):
            at_us = BASE_US + (1 + 3 * second) * US_PER_S
            begins = np.random.default_rng(4).permutation(ALARMS // size)[:requests] * size
            blocks = [range(begin, begin + size) for begin in begins.tolist()]
            server.receive(_bodies(encode, blocks, at_us), media_type)
            bodies = _bodies(encode, blocks, at_us + US_PER_S)
            cpu_s, wall_s = server.receive(bodies, media_type)
            count = size * requests
            print(
                f"  {name}: {count / wall_s:.0f}/s wall, "
                f"{sum(map(len, bodies)) / count:.0f} bytes a sample",
                file=sys.stderr,
            )
            yield {"name": name, "value": round(count / cpu_s), "unit": "samples/s"}


class _Server:
    """What is behind the API: store, ingestion, evaluator."""

    def __init__(self, data: Dataset) -> None:
        self._registry = CollectorRegistry()
        self._store = EmbeddedStore(data.samples, min_free_mb=0)
        self._database = open_engine(f"sqlite:///{data.alarms}")
        self._evaluator = Evaluator(
            Engine(self._store, allowed_lag_s=15.0),
            AlarmRepository(self._database),
            notify=lambda: None,
            clock=lambda: NOW_S,
            registry=self._registry,
        )
        self._store.subscribe(self._evaluator.described)
        self._ingest = Ingest(
            self._store, self._evaluator.stored, clock=lambda: int(NOW_S * US_PER_S)
        )

    def __enter__(self) -> "_Server":
        self._evaluator.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._evaluator.stop()
        self._store.close()
        self._database.dispose()

    def receive(self, bodies: list[bytes], media_type: str) -> tuple[float, float]:
        """Give processor and wall seconds until the samples are in their windows."""
        with ThreadPoolExecutor(SENDERS) as senders:
            began_cpu_s, began_s = time.process_time(), time.perf_counter()
            list(senders.map(lambda body: self._ingest.receive(body, media_type), bodies))
            while self._value("evaluation_queue_samples"):
                time.sleep(0.001)
            taken_s = time.perf_counter()
            passes = self._value("evaluation_seconds_count")
            while self._value("evaluation_seconds_count") == passes:  # the last ones are counted
                time.sleep(0.001)
        return time.process_time() - began_cpu_s, taken_s - began_s

    def _value(self, name: str) -> float:
        return self._registry.get_sample_value(f"thermostat_{name}") or 0.0


def _bodies(
    encode: Callable[[list[Sample]], bytes], blocks: list[range], at_us: int
) -> list[bytes]:
    """Give a request for each of these blocks of series."""
    return [encode(_fleet.samples(block, at_us)) for block in blocks]


def _json(samples: list[Sample]) -> bytes:
    """Give the form of Ceilometer's HTTP publisher, with all that it sends."""
    return msgspec.json.encode(
        [
            {
                "name": one.name,
                "type": one.type,
                "unit": one.unit,
                "volume": one.volume,
                "user_id": one.user_id,
                "user_name": None,
                "project_id": one.project_id,
                "project_name": None,
                "resource_id": one.resource_id,
                "timestamp": time.strftime(
                    "%Y-%m-%dT%H:%M:%S.250000", time.gmtime(one.timestamp_us // US_PER_S)
                ),
                "resource_metadata": one.metadata,
                "source": one.source,
                "id": f"c2ea9212-0000-4000-8000-{number:012d}",
                "monotonic_time": 1.0,
            }
            for number, one in enumerate(samples)
        ]
    )
