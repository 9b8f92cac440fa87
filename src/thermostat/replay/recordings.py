# SPDX-License-Identifier: Apache-2.0
"""The two recordings: samples that were read into memory, and those that a store keeps."""

from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import groupby

import msgspec
import numpy as np

from thermostat.alarms.model import Alarm
from thermostat.replay.past import rows
from thermostat.replay.rules import threshold_rules
from thermostat.samples.catalogue import CPU_UTIL, MEMORY_UTIL
from thermostat.samples.derive import Deriver
from thermostat.samples.model import Sample, SeriesKey
from thermostat.store.base import Batch, SampleStore, Selection, Series

HOUR_US = 3_600_000_000
MEMORY_US = 24 * HOUR_US
"""A counter that has not been read for a day is forgotten, as the server does."""
WANTED_ROWS = 500_000
"""About how many samples of a store are held at once."""
SHORTEST_SPAN_US = 10_000_000


class MemoryRecording:
    """Samples in memory, brought into the order of their event time.

    Of several samples of one series and instant one is kept, whatever order they came in. Rates and
    percentages are derived, as the server derives them; a derived sample gives way to a recorded
    one.
    """

    def __init__(self, samples: Iterable[Sample], meters: Container[str] | None = None) -> None:
        """Take what these samples say of some meters, or of all, measured or derived."""
        known: dict[SeriesKey, Series] = {}
        self._changes: list[tuple[int, Series]] = []
        series_id, timestamp_us, volume = array("q"), array("q"), array("d")
        for sample in _distinct(_with_derived(_in_order(samples))):
            if meters is not None and sample.name not in meters:
                continue
            series = known.get(sample.key)
            if series is None or not series.is_as_in(sample):
                series = (
                    Series.of(series.series_id, sample, series.first_us)
                    if series
                    else Series.of(len(known) + 1, sample, sample.timestamp_us)
                )
                known[sample.key] = series
                self._changes.append((sample.timestamp_us, series))
            series_id.append(series.series_id)
            timestamp_us.append(sample.timestamp_us)
            volume.append(sample.volume)
        self._all = Batch(
            np.array(series_id, np.int64),
            np.array(timestamp_us, np.int64),
            np.array(volume, np.float64),
        )

    @property
    def projects(self) -> set[str]:
        """The projects that have samples."""
        return {one.key.project_id for _, one in self._changes if one.key.project_id is not None}

    @property
    def span_us(self) -> tuple[int, int] | None:
        """The event times of the first and of the last sample; None without samples."""
        times = self._all.timestamp_us
        return (int(times[0]), int(times[-1])) if len(times) else None

    def changes(self) -> Iterator[tuple[int, Series]]:
        """Give each series with the event time at which it appeared or changed, in that order."""
        return iter(self._changes)

    def scan(self, series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the samples of these series, or of all, oldest first."""
        span = self._between(start_us, end_us)
        return span if series_ids is None else span.where(np.isin(span.series_id, series_ids))

    def batches(self, start_us: int, end_us: int) -> Iterator[Batch]:
        """Give every sample in one batch: they are in memory anyway."""
        yield self._between(start_us, end_us)

    def _between(self, start_us: int, end_us: int) -> Batch:
        first, last = np.searchsorted(self._all.timestamp_us, [start_us, end_us], "right")
        return rows(self._all, int(first), int(last))


class StoreRecording:
    """The stored samples that some alarms are about. A series is as its newest metadata says."""

    def __init__(
        self,
        store: SampleStore,
        alarms: Iterable[Alarm],
        *,
        earliest_us: int = 0,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        """Call `on_read` with the number of samples whenever some were read.

        Nothing is looked for at or before the event time `earliest_us`.
        """
        self._store = store
        self._earliest_us = earliest_us
        self._on_read = on_read
        self._series = _matched(store, alarms)
        self._ids = list(self._series)

    @property
    def series_count(self) -> int:
        """How many series the alarms select."""
        return len(self._ids)

    def changes(self) -> Iterator[tuple[int, Series]]:
        """Give each series, as if it had always been there."""
        return ((0, series) for series in self._series.values())

    def scan(self, series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the stored samples of these series, or of all that were selected, oldest first."""
        ids = self._ids if series_ids is None else series_ids
        return Batch.concatenate(list(self._spans(ids, start_us, end_us)))

    def batches(self, start_us: int, end_us: int) -> Iterator[Batch]:
        """Give every sample, some at a time."""
        return self._spans(self._ids, start_us, end_us)

    def _spans(self, ids: Sequence[int], start_us: int, end_us: int) -> Iterator[Batch]:
        """Give samples in spans of time that hold about as many as are wanted at once."""
        span_us = SHORTEST_SPAN_US
        start_us = max(start_us, self._earliest_us)
        while start_us < end_us:
            until_us = min(start_us + span_us, end_us)
            batch = self._store.scan(ids, start_us, until_us)
            if self._on_read is not None:
                self._on_read(len(batch))
            yield batch
            start_us = until_us
            if len(batch) < WANTED_ROWS // 2:
                span_us = min(2 * span_us, HOUR_US)
            elif len(batch) > 2 * WANTED_ROWS:
                span_us = max(span_us // 2, SHORTEST_SPAN_US)


def meters_of(alarms: Iterable[Alarm]) -> set[str]:
    """Give the meters that these alarms are about."""
    return {rule.meter_name for alarm in alarms for rule in threshold_rules(alarm.rule)}


def is_wanted(alarms: Iterable[Alarm]) -> Callable[[Sample], bool]:
    """Give a test for the samples that these alarms are about, or that a rate of theirs needs."""
    meters = meters_of(alarms)
    meters |= {meter.removesuffix(".rate") for meter in meters}
    if CPU_UTIL.name in meters:
        meters.add("cpu")
    if MEMORY_UTIL.name in meters:
        meters |= {"memory", "memory.usage"}
    return lambda sample: sample.name in meters


def stored_span_us(store: SampleStore, alarms: Iterable[Alarm]) -> tuple[int, int] | None:
    """Give the event times of the first and of the last sample that alarms are about, or None."""
    found = [one for chosen in _selections(alarms) for one in store.statistics(chosen)]
    if not found:
        return None
    return (
        min(one.duration_start_us for one in found),
        max(one.duration_end_us for one in found),
    )


def _selections(alarms: Iterable[Alarm]) -> Iterator[Selection]:
    for alarm in alarms:
        for rule in threshold_rules(alarm.rule):
            yield Selection(rule.meter_name, alarm.project_id, rule.query)


def _matched(store: SampleStore, alarms: Iterable[Alarm]) -> dict[int, Series]:
    """Give the series that the alarms select, by ascending id."""
    found = {one.series_id: one for chosen in _selections(alarms) for one in store.series(chosen)}
    return dict(sorted(found.items()))


def _in_order(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Give samples by time, one for each series and instant: the same one in whatever order."""
    for _, doubles in groupby(sorted(samples, key=_place), _place):
        first, *others = doubles
        yield min(first, *others, key=_content) if others else first


def _place(sample: Sample) -> tuple[int, str, str, bool, str]:
    project_id = sample.project_id
    has_project = project_id is not None
    return sample.timestamp_us, sample.name, sample.resource_id, has_project, project_id or ""


def _content(sample: Sample) -> bytes:
    return msgspec.json.encode(sample, order="deterministic")


def _with_derived(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Give samples in order of time, those of one instant followed by what follows from them."""
    deriver = Deriver()
    derived: list[Sample] = []
    now_us, forgotten_us = 0, 0
    for sample in samples:
        if sample.timestamp_us != now_us:
            yield from derived
            derived = []
            now_us = sample.timestamp_us
        if now_us - forgotten_us > HOUR_US:
            deriver.forget(now_us - MEMORY_US)
            forgotten_us = now_us
        yield sample
        derived += deriver.derive(sample)
    yield from derived


def _distinct(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Leave out all but the first sample of a series and instant."""
    now_us = -1
    seen: set[SeriesKey] = set()
    for sample in samples:
        if sample.timestamp_us != now_us:
            now_us = sample.timestamp_us
            seen = set()
        if sample.key not in seen:
            seen.add(sample.key)
            yield sample
