# SPDX-License-Identifier: Apache-2.0
"""Group commit: one thread writes what all requests bring; each request waits for its commit."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from thermostat.store.base import (
    Batch,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreUnavailable,
    reason_of,
)

LOG = logging.getLogger(__name__)

IDLE_S = 1.0

GAP_S = 0.004
LINGER_S = 0.03
"""Under load a commit waits, so that many requests share it: for as many as shared the last one,
until none has come for GAP_S, and LINGER_S at most. A request that comes alone does not wait."""


class Committer:
    """A bounded queue of batches, and the thread that commits all that is queued at once."""

    def __init__(
        self,
        write: Callable[[Batch], NDArray[np.bool_]],
        idle: Callable[[], None],
        *,
        queue_samples: int,
    ) -> None:
        """Call `write` with each group; it commits and tells which rows were new.

        `idle` is called in the same thread, at least once a second.
        """
        self._write = write
        self._idle = idle
        self._queue_samples = queue_samples
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Batch, Future[Batch]]] = deque()
        self._waiting_samples = 0
        self._stopping = False
        self._expected = 1
        """How many requests shared the last commit."""
        self._thread = threading.Thread(target=self._run, name="store-committer", daemon=True)
        self._thread.start()

    @property
    def queued_samples(self) -> int:
        """Samples that wait for a commit."""
        return self._waiting_samples

    def submit(self, batch: Batch) -> Batch:
        """Give the new rows of the batch when they are on disk. Raises what the commit raised."""
        result: Future[Batch] = Future()
        with self._changed:
            if self._stopping:
                raise StoreUnavailable("the store is closed")
            if self._waiting and self._waiting_samples + len(batch) > self._queue_samples:
                raise StoreBusy(f"{self._waiting_samples} samples wait to be written already")
            self._waiting.append((batch, result))
            self._waiting_samples += len(batch)
            self._changed.notify()
        return result.result()

    def stop(self) -> None:
        """Commit what waits, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping, IDLE_S)
                self._gather()
                group = list(self._waiting)
                self._waiting.clear()
                self._waiting_samples = 0
                if self._stopping and not group:
                    return
            try:
                self._idle()
            except Exception:
                LOG.exception("The store's committing thread goes on")
            if group:
                self._commit(group)

    def _gather(self) -> None:
        """Let the requests come that are likely to come; the caller holds `_changed`."""
        deadline = time.monotonic() + LINGER_S
        while 0 < len(self._waiting) < self._expected and not self._stopping:
            came = len(self._waiting)
            self._changed.wait(GAP_S)  # a request that comes ends it, and so does stopping
            if len(self._waiting) == came or time.monotonic() > deadline:
                break
        self._expected = len(self._waiting)

    def _commit(self, group: Sequence[tuple[Batch, "Future[Batch]"]]) -> None:
        """Write a group; whatever goes wrong, every request of it learns that it was not stored."""
        batches = [batch for batch, _ in group]
        try:
            new = self._write(Batch.concatenate(batches))
        except Exception as error:
            if not isinstance(error, StoreError):
                LOG.exception("A commit failed")
            for _, result in group:
                result.set_exception(_failure(error))
            return
        start = 0
        for batch, result in group:
            mask = new[start : start + len(batch)]
            result.set_result(batch if mask.all() else batch.where(mask))
            start += len(batch)


def _failure(error: Exception) -> StoreError:
    """Give each waiting request its own exception: their tracebacks must not grow together."""
    kind = type(error) if isinstance(error, StoreFull | StoreUnavailable) else StoreUnavailable
    failure = kind(reason_of(error))
    failure.__cause__ = error
    return failure
