# SPDX-License-Identifier: Apache-2.0
"""What a sample store does; `embedded` is the default one.

StoreError
├── StoreFull         the disk has no room: try again later
├── StoreBusy         too many samples wait to be written: try again soon
├── StoreUnavailable  the store cannot answer now
└── InvalidSelection  the selection or an argument makes no sense
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.query import Condition
from thermostat.samples.model import Sample, SampleType, SeriesKey


class StoreError(Exception):
    """The sample store could not do what was asked."""


class StoreFull(StoreError):  # noqa: N818 - it reads as a state, like queue.Full
    """The disk has no room; the batch was not stored."""


class StoreBusy(StoreError):  # noqa: N818 - as above
    """Too many samples wait to be written; the batch was not stored."""


class StoreUnavailable(StoreError):  # noqa: N818 - as above
    """The store cannot answer now; the batch was not stored."""


class InvalidSelection(StoreError, ValueError):  # noqa: N818 - as above
    """A selection or an argument makes no sense; the message names the field."""


def reason_of(error: BaseException) -> str:
    """Give what an error says, or its kind where it says nothing, as a MemoryError does."""
    return str(error) or repr(error)


class Series(msgspec.Struct, frozen=True):
    """One registered series: what a series id stands for."""

    series_id: int
    key: SeriesKey
    type: SampleType
    unit: str
    user_id: str | None
    source: str
    metadata: Mapping[str, Any]
    """The newest resource metadata that was seen with it."""
    first_us: int = 0
    """Event time in microseconds of the sample that it was registered with; 0 where unknown."""

    @staticmethod
    def of(series_id: int, sample: Sample, first_us: int) -> "Series":
        """Give a series as one of its samples describes it."""
        return Series(
            series_id,
            sample.key,
            sample.type,
            sample.unit,
            sample.user_id,
            sample.source,
            sample.metadata,
            first_us,
        )

    def is_as_in(self, sample: Sample) -> bool:
        """Tell whether one of its samples describes it as it is known."""
        return (
            (self.metadata is sample.metadata or self.metadata == sample.metadata)
            and self.unit == sample.unit
            and self.type is sample.type
            and self.user_id == sample.user_id
            and self.source == sample.source
        )


Subscriber = Callable[[Sequence[Series]], None]
"""Takes series that were registered or described anew."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns of samples, all of one length: row i is one sample."""

    series_id: NDArray[np.int64]
    timestamp_us: NDArray[np.int64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.series_id)

    def where(self, rows: NDArray[Any]) -> "Batch":
        """Give the rows that a mask or an index array selects, in its order."""
        return Batch(self.series_id[rows], self.timestamp_us[rows], self.volume[rows])

    @staticmethod
    def concatenate(batches: Sequence["Batch"]) -> "Batch":
        """Give the rows of all these batches, in order; of none, an empty batch."""
        if not batches:
            return Batch(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
        return Batch(
            np.concatenate([batch.series_id for batch in batches]),
            np.concatenate([batch.timestamp_us for batch in batches]),
            np.concatenate([batch.volume for batch in batches]),
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples: one meter, one project or all, conditions, a span of time."""

    meter: str
    project_id: str | None
    """Only this project's series; None selects every project's (administrators only)."""
    conditions: Sequence[Condition] = ()
    start_us: int | None = None
    """Exclusive lower bound of event time in microseconds; None: from the first sample."""
    end_us: int | None = None
    """Inclusive upper bound of event time in microseconds; None: to the last sample."""


@dataclass(frozen=True, slots=True)
class PeriodStatistics:
    """The statistics of one period, over one group of series."""

    period_start_us: int
    period_end_us: int
    duration_start_us: int
    """Event time of the first sample in the period."""
    duration_end_us: int
    """Event time of the last sample in the period."""
    count: int
    minimum: float
    maximum: float
    total: float
    average: float
    stddev: float
    """Population standard deviation."""
    last: float
    """The volume of the newest sample."""
    unit: str
    group: Mapping[str, str | None] = field(default_factory=dict)
    """The values of the group-by fields, by field name."""


class SampleStore(Protocol):
    """Keeps samples and answers statistics over them. Every method is thread-safe."""

    @property
    def fingerprint_key(self) -> int:
        """The secret key of this store's fingerprints, 64 bits: the same after a restart."""
        ...

    def find(
        self, fingerprints: NDArray[np.uint64], guess: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Give the series that were last interned with these fingerprints; 0 where there is none.

        Fast for millions a second. `guess` has the ids that were found before, 0 where none was.
        """
        ...

    def intern(
        self, samples: Sequence[Sample], fingerprints: NDArray[np.uint64] | None = None
    ) -> NDArray[np.int64]:
        """Give each sample's series id, shape (len(samples),); new series are durable on return.

        Changed metadata replaces what was known of the series. A fingerprint, 64 bits, stands for
        all that a sample says of its series: `find` knows the newest one of each series, and none
        that stood for another description.
        """
        ...

    def subscribe(self, callback: Subscriber) -> None:
        """Have `intern` call this with each batch of new and changed series, before it returns.

        The series are durable by then. Calls come from one thread at a time, so that two changes of
        one series arrive in their order. What a subscriber raises leaves `intern`.
        """
        ...

    def append(self, batch: Batch) -> Batch:
        """Store the batch; on return it is on disk.

        Raises StoreFull, StoreBusy or StoreUnavailable; none of it is stored then, or all.
        A series has one sample an instant: one that was stored before (a sender's retry after a
        lost acknowledgement) is left out. Gives the samples that are newly stored.
        """
        ...

    def series(self, selection: Selection) -> Sequence[Series]:
        """Give the registered series that the selection's meter, project and conditions match."""
        ...

    def get_series(self, series_id: int) -> Series:
        """Give one registered series; KeyError if there is none."""
        ...

    def all_series(self) -> Iterator[Series]:
        """Give every registered series by ascending id, without holding all of them."""
        ...

    def scan(self, series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the stored samples with start < event time ≤ end, oldest first.

        Of these series; None: of all.
        """
        ...

    def latest(self, since_us: int) -> Batch:
        """Give the newest stored sample of each series that has one after this event time."""
        ...

    def statistics(
        self, selection: Selection, *, period_s: int | None = None, group_by: Sequence[str] = ()
    ) -> Sequence[PeriodStatistics]:
        """Give statistics per period (None: one period over everything), oldest period first.

        Periods are left-open and right-closed, (start, end], and aligned to the epoch: a rate that
        was measured between two polls belongs to the period that those polls enclose.
        Periods without samples are left out. Raises InvalidSelection.
        """
        ...

    def check(self) -> str | None:
        """Give the reason why samples cannot be stored now, or None when they can."""
        ...

    def close(self) -> None:
        """Finish pending work and release the files."""
        ...
