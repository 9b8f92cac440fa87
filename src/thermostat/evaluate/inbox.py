# SPDX-License-Identifier: Apache-2.0
"""What other threads hand to the evaluator, in its order.

That is stored samples and described series, and what outside stores have answered.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from thermostat.evaluate.polls import Poll
from thermostat.outside.base import Answer
from thermostat.store.base import Batch, Series

MOST_AT_ONCE = 100_000
"""Samples that are taken out as one batch."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an outside store was asked, and its answers, or the reason why there are none."""

    poll: Poll
    answers: Sequence[Answer] | str


Item = Batch | Sequence[Series] | Answered


class Inbox:
    """A queue that any thread may add to and one thread takes from."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._items: deque[tuple[float, Item]] = deque()
        self._samples = 0

    @property
    def samples(self) -> int:
        """How many samples wait."""
        return self._samples

    @property
    def age_s(self) -> float:
        """How many seconds the oldest item has waited; 0 where there is none."""
        with self._lock:
            return self._clock() - self._items[0][0] if self._items else 0.0

    def add_samples(self, batch: Batch) -> None:
        """Add samples that are stored."""
        with self._lock:
            self._items.append((self._clock(), batch))
            self._samples += len(batch)

    def add_series(self, series: Sequence[Series]) -> None:
        """Add series that were registered or have changed."""
        with self._lock:
            self._items.append((self._clock(), series))

    def add_answers(self, answered: Answered) -> None:
        """Add what an outside store has answered."""
        with self._lock:
            self._items.append((self._clock(), answered))

    def take(self) -> Iterator[Item]:
        """Give what waits now, batches that follow each other as one; nothing of it is kept."""
        with self._lock:
            items, self._items = self._items, deque()
            self._samples = 0
        batches: list[Batch] = []
        count = 0
        for _, item in items:
            if isinstance(item, Batch):
                batches.append(item)
                count += len(item)
                if count < MOST_AT_ONCE:
                    continue
            yield from _joined(batches)
            batches, count = [], 0
            if not isinstance(item, Batch):
                yield item
        yield from _joined(batches)


def _joined(batches: Sequence[Batch]) -> Iterator[Batch]:
    if batches:
        yield batches[0] if len(batches) == 1 else Batch.concatenate(batches)
