# SPDX-License-Identifier: Apache-2.0
"""Hands spooled batches to one publisher, in order, in a thread of its own."""

import logging
import random
import threading
import zlib
from collections import deque
from dataclasses import dataclass

from thermostat.agent.errors import BatchRefused, Unavailable
from thermostat.agent.publishers.base import Publisher
from thermostat.agent.spool import Spool

LOG = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
"""Short enough that samples are fresh again soon after the receiver is back."""
_LONGEST_RETRY_AFTER_S = 300.0
_COMPRESSION = 1
"""zlib's fastest level: a batch shrinks to a tenth or less, in a few milliseconds."""
_MEMORY_BATCHES = 32
"""Batches kept in memory where the disk takes none; one more may be under way."""


@dataclass
class Counters:
    """What has happened to batches since the start."""

    delivered: int = 0
    refused: int = 0
    failed: int = 0
    """Attempts that the receiver could not serve."""
    unspooled: int = 0
    """Batches that the disk did not take at once."""
    lost: int = 0
    """Batches dropped because neither the disk nor the memory for them had room."""


class Delivery:
    """A spool, a publisher and the thread between them; `offer` never waits for the receiver."""

    def __init__(self, name: str, publisher: Publisher, spool: Spool) -> None:
        self.name = name
        self.spool = spool
        self.counters = Counters()
        self._publisher = publisher
        self._queueing = threading.Lock()
        # compressed; each is newer than every spooled one
        self._unspooled: deque[bytes] = deque()
        # taken out of memory to be sent; older than every queued one
        self._under_way: bytes | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._failures = 0
        self._fault = ""
        self._thread = threading.Thread(target=self._run, name=f"deliver-{name}", daemon=True)

    def start(self) -> None:
        """Start handing over what the spool holds."""
        self._thread.start()

    def offer(self, batch: bytes) -> None:
        """Queue a batch: it is on disk when this returns, or in memory if the disk takes none."""
        with self._queueing:
            self._unspooled.append(zlib.compress(batch, _COMPRESSION))
            try:
                while self._unspooled:
                    self.spool.put(self._unspooled[0])
                    self._unspooled.popleft()
            except OSError as error:
                LOG.warning("Cannot spool a batch, keeping it in memory: %s", error)
                self.counters.unspooled += 1
                if len(self._unspooled) > _MEMORY_BATCHES:
                    self._unspooled.popleft()
                    self.counters.lost += 1
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Let the thread hand over what the receiver takes of the queue, for this long at most."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            pause_s = self._hand_over_all()
            if self._stop.is_set():
                break
            if pause_s is None:
                self._wake.wait()
            else:
                self._stop.wait(pause_s)
        self._publisher.close()

    def _hand_over_all(self) -> float | None:
        """Hand over all batches; give None, or the seconds to wait where one failed."""
        unavailable = None
        try:
            while (queued := self._oldest()) is not None:
                number, packed = queued
                batch = _unpack(packed)
                taken = batch is not None and self._hand_over(batch)
                if number is None:
                    self._under_way = None
                elif taken:
                    self.spool.remove(number)
                else:
                    self.spool.refuse(number)
        except Unavailable as error:
            unavailable = error
        except Exception:  # the thread must go on: what cannot be sent now is sent later
            LOG.exception("Publisher %s failed unexpectedly", self.name)
            self.counters.failed += 1
            return _LONGEST_PAUSE_S
        # outside the handler, or oslo.log would write the exception a second time
        return self._pause(unavailable) if unavailable else None

    def _oldest(self) -> tuple[int | None, bytes] | None:
        """Give the oldest batch, compressed, with its number in the spool; None: from memory."""
        with self._queueing:
            if self._under_way is None:
                entry = self.spool.head()
                if entry is not None:
                    return entry
                if not self._unspooled:
                    return None
                self._under_way = self._unspooled.popleft()
            return None, self._under_way

    def _hand_over(self, batch: bytes) -> bool:
        """Tell whether the receiver took the batch; False: it never will. Raises Unavailable."""
        refusal = None
        try:
            self._publisher.publish(batch)
        except BatchRefused as error:
            refusal = error
        if refusal is not None:
            self.counters.refused += 1
            LOG.warning("Publisher %s: a batch is refused and set aside: %s", self.name, refusal)
            return False
        self.counters.delivered += 1
        if self._failures:
            LOG.info(
                "Publisher %s takes batches again after %d attempts; %d are queued",
                self.name,
                self._failures,
                len(self.spool),
            )
            self._failures = 0
        return True

    def _pause(self, error: Unavailable) -> float:
        """Give the seconds to wait after a failed attempt: what was asked, or ever longer."""
        self.counters.failed += 1
        self._failures += 1
        fault = str(error).partition(":")[0]  # the rest may differ from one try to the next
        if self._failures == 1 or fault != self._fault:
            LOG.warning("Publisher %s: %s. Batches are spooled meanwhile", self.name, error)
        self._fault = fault
        if error.retry_after_s is not None:
            return min(max(error.retry_after_s, 0.0), _LONGEST_RETRY_AFTER_S)
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE_S)
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads agents, keeps no secret


def _unpack(compressed: bytes) -> bytes | None:
    """Give a spooled batch; None where it is none."""
    try:
        return zlib.decompress(compressed)
    except zlib.error as error:
        LOG.warning("A spooled batch cannot be read and is set aside: %s", error)
        return None
