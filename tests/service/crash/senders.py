# SPDX-License-Identifier: Apache-2.0
"""Senders with the agent's own spool: a batch is sent again until it is answered 201."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import urllib3

from tests.service.crash.scenario import JSON_SENDER
from thermostat.agent.delivery import Delivery
from thermostat.agent.errors import BatchRefused, Unavailable
from thermostat.agent.spool import Spool
from thermostat.ingest import JSON_TYPE
from thermostat.samples.model import Sample
from thermostat.samples.wire import COLUMNAR_TYPE, encode_columnar

RETRY_S = 0.02
LIMIT_S = 180.0


class _Publisher:
    """Posts batches; tells each acknowledgement at once."""

    def __init__(self, url: str, media_type: str, on_acknowledged: Callable[[], None]) -> None:
        self._url = f"{url}/v2/samples"
        self._media_type = media_type
        self._on_acknowledged = on_acknowledged
        self._pool = urllib3.PoolManager(retries=False, timeout=10.0)

    def publish(self, batch: bytes) -> None:
        try:
            answer = self._pool.request(
                "POST", self._url, body=batch, headers={"Content-Type": self._media_type}
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(str(error), RETRY_S) from error
        if answer.status == 400:
            raise BatchRefused(answer.data.decode())
        if answer.status != 201:
            raise Unavailable(f"HTTP {answer.status}", RETRY_S)
        self._on_acknowledged()

    def close(self) -> None:
        self._pool.clear()


class Senders:
    """All senders of a scenario, before one server."""

    def __init__(self, url: str, directory: Path, names: Sequence[str]) -> None:
        self._changed = threading.Condition()
        self.on_acknowledged: Callable[[], None] = lambda: None
        self.offered = 0
        self.acknowledged = 0
        """Batches answered 201."""
        self._deliveries = {
            name: Delivery(
                name,
                _Publisher(url, JSON_TYPE if name == JSON_SENDER else COLUMNAR_TYPE, self._count),
                Spool(directory / name, 50_000_000),
            )
            for name in names
        }
        for delivery in self._deliveries.values():
            delivery.start()

    def send(self, batches: dict[str, list[Sample]]) -> None:
        """Send a batch each, all at once, and wait until the server has acknowledged them all."""
        for name, samples in batches.items():
            if samples:
                self.offered += 1
                encode = _json if name == JSON_SENDER else encode_columnar
                self._deliveries[name].offer(encode(samples))
        deadline = time.monotonic() + LIMIT_S
        with self._changed:
            while self.acknowledged < self.offered:
                refused = [n for n, one in self._deliveries.items() if one.counters.refused]
                assert not refused, f"batches of {refused} are refused"
                assert time.monotonic() < deadline, "a batch is not taken"
                self._changed.wait(1.0)

    def stop(self) -> None:
        for delivery in self._deliveries.values():
            delivery.stop(timeout_s=1.0)

    def _count(self) -> None:
        with self._changed:
            self.acknowledged += 1
            self._changed.notify_all()
        self.on_acknowledged()


def _json(samples: Sequence[Sample]) -> bytes:
    """Give Ceilometer's HTTP form."""
    return json.dumps(
        [
            {
                "name": one.name,
                "type": one.type,
                "unit": one.unit,
                "volume": one.volume,
                "resource_id": one.resource_id,
                "project_id": one.project_id,
                "timestamp": datetime.fromtimestamp(one.timestamp_us / 1e6, UTC)
                .replace(tzinfo=None)
                .isoformat(),
                "resource_metadata": one.metadata,
            }
            for one in samples
        ]
    ).encode()
