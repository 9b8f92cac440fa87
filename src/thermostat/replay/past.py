# SPDX-License-Identifier: Apache-2.0
"""Recordings, and the store that an engine sees while one is replayed: nothing of the future."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from thermostat.store import selecting
from thermostat.store.base import Batch, Selection, Series, Subscriber


class Recording(Protocol):
    """Samples that were recorded. Spans of time are start < event time ≤ end, in microseconds."""

    def changes(self) -> Iterator[tuple[int, Series]]:
        """Give each series with the event time at which it appeared or changed, in that order."""
        ...

    def scan(self, series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the samples of these series, or of all, oldest first."""
        ...

    def batches(self, start_us: int, end_us: int) -> Iterator[Batch]:
        """Give every sample, oldest first, in batches that do not overlap in time."""
        ...


class PastStore:
    """What an engine reads of a store, as it was at an instant: without what came later."""

    def __init__(self, recording: Recording, now_us: int) -> None:
        self._recording = recording
        self._changes = recording.changes()
        self._next = next(self._changes, None)
        self._series: dict[int, Series] = {}
        self._subscribers: list[Subscriber] = []
        self._now_us = now_us
        self.advance(now_us)

    def advance(self, now_us: int) -> None:
        """Go on to this instant, and tell the subscribers which series are new or changed."""
        self._now_us = now_us
        changed: dict[int, Series] = {}
        while self._next is not None and self._next[0] <= now_us:
            series = self._next[1]
            changed[series.series_id] = series
            self._next = next(self._changes, None)
        self._series.update(changed)
        if changed:
            for subscriber in self._subscribers:
                subscriber(list(changed.values()))

    @property
    def next_change_us(self) -> int | None:
        """The event time at which the next series appears or changes; None if none does."""
        return None if self._next is None else self._next[0]

    def subscribe(self, callback: Subscriber) -> None:
        """Call this with the series that are new or changed, whenever time has gone on."""
        self._subscribers.append(callback)

    def all_series(self) -> Iterator[Series]:
        """Give every series that has appeared, by ascending id."""
        return iter([self._series[series_id] for series_id in sorted(self._series)])

    def series(self, selection: Selection) -> Sequence[Series]:
        """Give the series that the selection matches, by ascending id."""
        return [one for one in self.all_series() if selecting.matches(one, selection)]

    def get_series(self, series_id: int) -> Series:
        """Give one series; KeyError if it has not appeared yet."""
        return self._series[series_id]

    def scan(self, series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the samples of these series, or of all, up to now, oldest first."""
        return self._recording.scan(series_ids, start_us, min(end_us, self._now_us))


def rows(batch: Batch, first: int, last: int) -> Batch:
    """Give the rows from `first` to before `last`, without copying them."""
    return Batch(
        batch.series_id[first:last], batch.timestamp_us[first:last], batch.volume[first:last]
    )
