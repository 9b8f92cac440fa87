# SPDX-License-Identifier: Apache-2.0
"""A sample store in memory: the contract in plain Python, for tests. Nothing is kept on disk."""

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from thermostat.samples.model import Sample, SeriesKey
from thermostat.store import selecting
from thermostat.store.base import Batch, PeriodStatistics, Selection, Series, Subscriber

US_PER_S = 1_000_000


class _Point(msgspec.Struct, frozen=True, order=True):
    """One stored sample; ordered by time, then by series."""

    timestamp_us: int
    series_id: int
    volume: float


class MemoryStore:
    """Keeps samples in dictionaries; slow, and plain enough to judge the other stores by."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._series: dict[SeriesKey, Series] = {}
        self._volumes: dict[int, dict[int, float]] = defaultdict(dict)
        self._subscribers: list[Subscriber] = []
        self._fingerprints: dict[int, int] = {}

    @property
    def fingerprint_key(self) -> int:
        """The key of fingerprints."""
        return 1

    def find(
        self, fingerprints: NDArray[np.uint64], guess: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Give the series that were last interned with these fingerprints, 0 where none was."""
        del guess
        with self._lock:
            numbers = {fingerprint: number for number, fingerprint in self._fingerprints.items()}
            return np.array([numbers.get(one, 0) for one in fingerprints.tolist()], np.int64)

    def intern(
        self, samples: Sequence[Sample], fingerprints: NDArray[np.uint64] | None = None
    ) -> NDArray[np.int64]:
        """Give each sample's series id."""
        with self._lock:
            changed: dict[SeriesKey, Series] = {}
            ids = [self._intern(sample, changed) for sample in samples]
            if fingerprints is None:
                for one in changed.values():
                    self._fingerprints.pop(one.series_id, None)
            else:
                self._fingerprints.update(zip(ids, fingerprints.tolist(), strict=True))
            if changed:
                for tell in self._subscribers:
                    tell(list(changed.values()))
            return np.array(ids, np.int64)

    def subscribe(self, callback: Subscriber) -> None:
        """Tell new and changed series to this callback."""
        with self._lock:
            self._subscribers.append(callback)

    def append(self, batch: Batch) -> Batch:
        """Store the samples whose instant is not taken yet, and give those."""
        new = []
        with self._lock:
            for row, (series_id, timestamp_us) in enumerate(
                zip(batch.series_id.tolist(), batch.timestamp_us.tolist(), strict=True)
            ):
                if timestamp_us not in self._volumes[series_id]:
                    self._volumes[series_id][timestamp_us] = float(batch.volume[row])
                    new.append(row)
        return batch.where(np.array(new, np.int64))

    def series(self, selection: Selection) -> Sequence[Series]:
        """Give the series that the selection matches, by ascending id."""
        with self._lock:
            return [one for one in self._series.values() if selecting.matches(one, selection)]

    def get_series(self, series_id: int) -> Series:
        """Give one series; KeyError if there is none."""
        with self._lock:
            for one in self._series.values():
                if one.series_id == series_id:
                    return one
        raise KeyError(series_id)

    def all_series(self) -> Iterator[Series]:
        """Give every series by ascending id."""
        with self._lock:
            return iter(sorted(self._series.values(), key=lambda one: one.series_id))

    def scan(self, series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the samples of these series with start < event time ≤ end, oldest first."""
        with self._lock:
            chosen = tuple(self._volumes) if series_ids is None else series_ids
            return _batch(self._points(chosen, start_us, end_us))

    def latest(self, since_us: int) -> Batch:
        """Give the newest sample of each series that has one after this event time."""
        with self._lock:
            newest = [
                _Point(max(volumes), series_id, volumes[max(volumes)])
                for series_id, volumes in self._volumes.items()
                if volumes and max(volumes) > since_us
            ]
        return _batch(newest)

    def statistics(
        self, selection: Selection, *, period_s: int | None = None, group_by: Sequence[str] = ()
    ) -> Sequence[PeriodStatistics]:
        """Give the statistics of each period and group that has samples."""
        selecting.check_period(period_s)
        selecting.check_group_by(group_by)
        chosen = {one.series_id: one for one in self.series(selection)}
        cells: dict[tuple[int | None, tuple[str | None, ...]], list[_Point]] = defaultdict(list)
        for point in self._points(chosen, selection.start_us, selection.end_us):
            start_us = None if period_s is None else _period_start(point, period_s * US_PER_S)
            group = selecting.group_of(chosen[point.series_id], group_by)
            cells[start_us, group].append(point)
        return [
            _statistics(
                points,
                start_us=points[0].timestamp_us if start_us is None else start_us,
                end_us=points[-1].timestamp_us
                if start_us is None or period_s is None
                else start_us + period_s * US_PER_S,
                unit=chosen[min(point.series_id for point in points)].unit,
                group=dict(zip(group_by, group, strict=True)),
            )
            for (start_us, group), points in sorted(cells.items(), key=_by_period_and_group)
        ]

    def check(self) -> str | None:
        """Give None: memory is always ready."""
        return None

    def close(self) -> None:
        """Do nothing: there are no files."""

    def _intern(self, sample: Sample, changed: dict[SeriesKey, Series]) -> int:
        known = self._series.get(sample.key)
        series_id = known.series_id if known else len(self._series) + 1
        seen = Series.of(series_id, sample, known.first_us if known else sample.timestamp_us)
        if seen != known:
            self._series[sample.key] = changed[sample.key] = seen
        return series_id

    def _points(
        self, series_ids: Iterable[int], start_us: int | None, end_us: int | None
    ) -> list[_Point]:
        """Give the samples with start < event time ≤ end, by time, then by series."""
        with self._lock:
            return sorted(
                _Point(timestamp_us, series_id, volume)
                for series_id in series_ids
                for timestamp_us, volume in self._volumes.get(series_id, {}).items()
                if (start_us is None or timestamp_us > start_us)
                and (end_us is None or timestamp_us <= end_us)
            )


def _by_period_and_group(
    cell: tuple[tuple[int | None, tuple[str | None, ...]], list[_Point]],
) -> tuple[int, list[tuple[bool, str]]]:
    (start_us, group), _ = cell
    return start_us or 0, selecting.group_order(group)


def _period_start(point: _Point, period_us: int) -> int:
    return (point.timestamp_us - 1) // period_us * period_us


def _batch(points: Sequence[_Point]) -> Batch:
    return Batch(
        np.array([point.series_id for point in points], np.int64),
        np.array([point.timestamp_us for point in points], np.int64),
        np.array([point.volume for point in points], np.float64),
    )


def _statistics(
    points: Sequence[_Point],
    *,
    start_us: int,
    end_us: int,
    unit: str,
    group: dict[str, str | None],
) -> PeriodStatistics:
    volumes = [point.volume for point in points]
    total = math.fsum(volumes)
    average = total / len(volumes)
    return PeriodStatistics(
        period_start_us=start_us,
        period_end_us=end_us,
        duration_start_us=points[0].timestamp_us,
        duration_end_us=points[-1].timestamp_us,
        count=len(volumes),
        minimum=min(volumes),
        maximum=max(volumes),
        total=total,
        average=average,
        stddev=math.sqrt(math.fsum((volume - average) ** 2 for volume in volumes) / len(volumes)),
        last=points[-1].volume,
        unit=unit,
        group=group,
    )
