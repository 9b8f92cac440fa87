# SPDX-License-Identifier: Apache-2.0
"""Rates and percentages of whole batches: what `derive.Deriver` does, as columns by series id.

The meanings and formulas are those of `derive`, which is the reference; here several samples of one
series in one batch are taken in their order, and a series takes some 50 bytes of memory.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thermostat.samples.derive import NS_PER_S, US_PER_S, memory_mib, vcpus
from thermostat.samples.growing import with_length
from thermostat.samples.model import Sample, SampleType

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_NOTHING, _COUNTER, _CPU, _MEMORY, _MEMORY_USAGE = range(5)
_UNKNOWN, _FOLLOWS_NOTHING = 0, -1
_NEVER_US = -1
"""Before every event time."""


class _Readings(NamedTuple):
    """Readings of counters, column by column."""

    timestamp_us: Ints
    volume: Floats
    monotonic_s: Floats

    def at(self, rows: NDArray[Any]) -> "_Readings":
        """Give the rows that a mask or an index array selects."""
        return _Readings(*(column[rows] for column in self))


class Rates:
    """Counters by series id; not thread-safe."""

    def __init__(self) -> None:
        self._slot: NDArray[np.int32] = np.zeros(0, np.int32)
        """By series id: where the columns below have it, from 1; 0: unknown, -1: nowhere."""
        self._slots = 1
        self._kind: NDArray[np.int8] = np.zeros(1, np.int8)
        self._factor: Floats = np.zeros(1)
        """Virtual CPUs, or MiB of memory, of the newest description; 0: it tells none."""
        self._timestamp_us: Ints = np.full(1, _NEVER_US, np.int64)
        self._volume: Floats = np.zeros(1)
        self._monotonic_s: Floats = np.full(1, np.nan)
        self._resource: NDArray[np.int32] = np.zeros(1, np.int32)
        self._resources: dict[str, int] = {}
        """Where the columns below have a resource that has a meter of its memory."""
        self._memory_mib: Floats = np.zeros(0)
        self._memory_us: Ints = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Give how many series have something that follows from them."""
        return self._slots - 1

    def is_unknown(self, series_id: Ints) -> NDArray[np.bool_]:
        """Tell which of these series were never described."""
        self._slot = with_length(self._slot, int(series_id.max(initial=0)) + 1, _UNKNOWN)
        unknown: NDArray[np.bool_] = self._slot[series_id] == _UNKNOWN
        return unknown

    def describe(self, series_id: Sequence[int], samples: Sequence[Sample]) -> None:
        """Take what these samples say of their series."""
        self.is_unknown(np.array(series_id, np.int64))
        for number, sample in zip(series_id, samples, strict=True):
            kind = _kind(sample)
            slot = int(self._slot[number])
            if slot <= 0:
                if kind == _NOTHING:
                    self._slot[number] = _FOLLOWS_NOTHING
                    continue
                slot = self._new_slot(number)
            self._kind[slot] = kind
            if kind == _CPU:
                self._factor[slot] = vcpus(sample.metadata)
            elif kind in (_MEMORY, _MEMORY_USAGE):
                self._factor[slot] = memory_mib(sample.metadata) or 0.0
                self._resource[slot] = self._resource_of(sample.resource_id)

    def prime(self, series_id: Ints, timestamp_us: Ints, volume: Floats) -> None:
        """Take the last readings of counters that were described just now and not read since."""
        slot = self._slot[series_id]
        fresh = (slot > 0) & (self._timestamp_us[slot] == _NEVER_US)
        self._timestamp_us[slot[fresh]] = timestamp_us[fresh]
        self._volume[slot[fresh]] = volume[fresh]

    def prime_memory(self, resource_id: str, timestamp_us: int, volume: float) -> None:
        """Take the last known memory of a resource, in MiB."""
        resource = self._resource_of(resource_id)
        self._memory_mib[resource], self._memory_us[resource] = volume, timestamp_us

    def derive(
        self, series_id: Ints, timestamp_us: Ints, volume: Floats, monotonic_s: Floats
    ) -> tuple[Ints, Floats]:
        """Give the rows from which a sample follows, ascending, and its volumes.

        Every series must have been described. `monotonic_s` is NaN where the sender sent none.
        """
        rows = np.flatnonzero(self._slot[series_id] > 0)
        slots = self._slot[series_id[rows]].astype(np.int64)
        kinds = self._kind[slots]
        follows = np.full(len(rows), np.nan)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            chosen = np.flatnonzero((kinds == _COUNTER) | (kinds == _CPU))
            if len(chosen):
                at = rows[chosen]
                readings = _Readings(timestamp_us[at], volume[at], monotonic_s[at])
                follows[chosen] = self._from_counters(slots[chosen], readings)
            chosen = np.flatnonzero(kinds >= _MEMORY)
            if len(chosen):
                at = rows[chosen]
                follows[chosen] = self._from_memory(slots[chosen], timestamp_us[at], volume[at])
        finite = np.isfinite(follows)
        return rows[finite], follows[finite]

    def forget(self, before_us: int) -> None:
        """Drop what was last read before this event time."""
        self._timestamp_us[self._timestamp_us < before_us] = _NEVER_US
        self._memory_mib[self._memory_us < before_us] = 0

    # -- counters -------------------------------------------------------------------------------

    def _from_counters(self, slot: Ints, now: _Readings) -> Floats:
        """Give what follows from each reading, NaN where nothing does, and remember the newest."""
        row = np.arange(len(slot))
        last = np.empty(self._slots, np.int64)
        last[slot] = row
        if (last[slot] == row).all():  # no series has two rows
            before = self._remembered(slot)
            accepted = now.timestamp_us > before.timestamp_us
            rate = np.where(accepted, _rate(before, now), np.nan)
            self._remember(slot[accepted], now.at(accepted))
        else:
            rate = self._from_repeated(slot, now)
        percent = 100 * rate / (NS_PER_S * self._factor[slot])
        return np.where(self._kind[slot] == _CPU, np.minimum(percent, 100.0), rate)

    def _from_repeated(self, slot: Ints, now: _Readings) -> Floats:
        """Do so where some series have several rows: each is compared with the one before it.

        What is remembered of a series stands in front of its rows.
        """
        known = np.unique(slot)
        slots = np.concatenate([known, slot])
        order = np.argsort(slots, kind="stable")
        slots = slots[order]
        pairs = zip(self._remembered(known), now, strict=True)
        readings = _Readings(*(np.concatenate(pair)[order] for pair in pairs))
        taken = np.flatnonzero(_is_newest_so_far(slots, readings.timestamp_us))
        self._remember(slots[taken], readings.at(taken))
        earlier, later = taken[:-1], taken[1:]
        same = slots[earlier] == slots[later]
        earlier, later = earlier[same], later[same]
        rate = np.full(len(slot), np.nan)
        rate[order[later] - len(known)] = _rate(readings.at(earlier), readings.at(later))
        return rate

    def _remembered(self, slot: Ints) -> _Readings:
        return _Readings(self._timestamp_us[slot], self._volume[slot], self._monotonic_s[slot])

    def _remember(self, slot: Ints, now: _Readings) -> None:
        """Keep these readings; of several of one series, the last one here stays."""
        self._timestamp_us[slot] = now.timestamp_us
        self._volume[slot] = now.volume
        self._monotonic_s[slot] = now.monotonic_s

    # -- memory ---------------------------------------------------------------------------------

    def _from_memory(self, slot: Ints, timestamp_us: Ints, volume: Floats) -> Floats:
        """Give the share in use for each `memory.usage`: of what its metadata or `memory` tell."""
        order = np.argsort(self._resource[slot], kind="stable")
        slot, timestamp_us, volume = slot[order], timestamp_us[order], volume[order]
        resource = self._resource[slot]
        tells = self._kind[slot] == _MEMORY
        row = np.arange(len(slot))
        begins = np.ones(len(slot), np.bool_)
        begins[1:] = resource[1:] != resource[:-1]
        begun = np.maximum.accumulate(np.where(begins, row, 0))
        told = np.maximum.accumulate(np.where(tells, row, -1))
        came = np.where(told >= begun, volume[told], self._memory_mib[resource])
        factor = self._factor[slot]
        size = np.where(factor > 0, factor, came)
        percent = np.minimum(100 * volume / size, 100.0)
        follows = np.empty(len(slot))
        follows[order] = np.where(tells | (size == 0), np.nan, percent)
        self._memory_mib[resource[tells]] = volume[tells]
        self._memory_us[resource[tells]] = timestamp_us[tells]
        return follows

    # -- columns --------------------------------------------------------------------------------

    def _new_slot(self, series_id: int) -> int:
        slot = self._slots
        self._slots += 1
        self._kind = with_length(self._kind, self._slots)
        self._factor = with_length(self._factor, self._slots)
        self._timestamp_us = with_length(self._timestamp_us, self._slots, _NEVER_US)
        self._volume = with_length(self._volume, self._slots)
        self._monotonic_s = with_length(self._monotonic_s, self._slots, np.nan)
        self._resource = with_length(self._resource, self._slots)
        self._slot[series_id] = slot
        return slot

    def _resource_of(self, resource_id: str) -> int:
        resource = self._resources.setdefault(resource_id, len(self._resources))
        self._memory_mib = with_length(self._memory_mib, resource + 1)
        self._memory_us = with_length(self._memory_us, resource + 1)
        return resource


def _kind(sample: Sample) -> int:
    if sample.type is SampleType.CUMULATIVE:
        return _CPU if sample.name == "cpu" else _COUNTER
    return {"memory": _MEMORY, "memory.usage": _MEMORY_USAGE}.get(sample.name, _NOTHING)


def _rate(before: _Readings, now: _Readings) -> Floats:
    """Give the change per second; NaN for the first reading of a counter, and after a reset."""
    elapsed_s = now.monotonic_s - before.monotonic_s
    wall_s = (now.timestamp_us - before.timestamp_us) / US_PER_S
    rate = (now.volume - before.volume) / np.where(elapsed_s > 0, elapsed_s, wall_s)
    grown = (before.timestamp_us != _NEVER_US) & (now.volume >= before.volume)
    return np.where(grown, rate, np.nan)


def _is_newest_so_far(group: Ints, timestamp_us: Ints) -> NDArray[np.bool_]:
    """Tell which rows are newer than all rows before them in their group; groups are together."""
    _, rank = np.unique(timestamp_us, return_inverse=True)
    begins = np.ones(len(group), np.int64)
    begins[1:] = group[1:] != group[:-1]
    place = np.cumsum(begins) * len(group) + rank
    newest = np.ones(len(group), np.bool_)
    newest[1:] = place[1:] > np.maximum.accumulate(place)[:-1]
    return newest
