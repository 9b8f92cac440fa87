# SPDX-License-Identifier: Apache-2.0
"""Rates and percentages, made per resource and before any group statistic.

A rate of a group's mean is wrong as soon as a member comes or goes; the mean of the members' rates
is not. So everything that depends on two samples of one series is computed here, once, when a
sample comes in:

- `cpu` (cumulative, ns) becomes `cpu_util` = 100 x Δcpu / (Δt x 1e9 x vcpus), in %, at most 100;
- `memory.usage` (MiB) becomes `memory.util` = 100 x usage / memory, in %;
- any other cumulative meter becomes `<meter>.rate` = Δvolume / Δt, in unit/s.

Δt comes from the sender's monotonic clock where both samples carry it, so that a step of the wall
clock bends no rate. The first sample of a series yields nothing, and neither does a decrease: the
counter was reset, and there is never a negative rate.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from thermostat.samples.catalogue import CPU_UTIL, MEMORY_UTIL, Meter, rate_of
from thermostat.samples.model import Sample, SampleType, SeriesKey

NS_PER_S = 1_000_000_000
US_PER_S = 1_000_000


class _Reading(msgspec.Struct):
    """What must be remembered of a counter between two samples."""

    timestamp_us: int
    monotonic_s: float | None
    volume: float


class Deriver:
    """Turns a stream of samples into the samples that follow from it; not thread-safe."""

    def __init__(self) -> None:
        self._counters: dict[SeriesKey, _Reading] = {}
        self._memory_mib: dict[str, float] = {}

    def derive(self, sample: Sample) -> list[Sample]:
        """Give the samples that follow from this one, with its time and metadata: none, or one."""
        if sample.type is SampleType.CUMULATIVE:
            return self._from_counter(sample)
        if sample.name == "memory":
            self._memory_mib[sample.resource_id] = sample.volume
        elif sample.name == "memory.usage":
            return self._memory_util(sample)
        return []

    def forget(self, before_us: int) -> None:
        """Drop the counters that were last read before this event time."""
        stale = [key for key, seen in self._counters.items() if seen.timestamp_us < before_us]
        for key in stale:
            del self._counters[key]
            self._memory_mib.pop(key.resource_id, None)

    def _from_counter(self, sample: Sample) -> list[Sample]:
        before = self._counters.get(sample.key)
        if before is not None and sample.timestamp_us <= before.timestamp_us:
            return []  # late or doubled: the newer reading stays the one to compare with
        self._counters[sample.key] = _Reading(
            sample.timestamp_us, sample.monotonic_s, sample.volume
        )
        if before is None or sample.volume < before.volume:
            return []
        rate = (sample.volume - before.volume) / _elapsed_s(before, sample)
        if sample.name == "cpu":
            percent = 100 * rate / (NS_PER_S * _vcpus(sample.metadata))
            return [_derived(sample, CPU_UTIL, min(percent, 100.0))]
        return [_derived(sample, rate_of(sample.name, sample.unit), rate)]

    def _memory_util(self, sample: Sample) -> list[Sample]:
        memory_mib = _number(sample.metadata, "memory_mb", "flavor.ram") or self._memory_mib.get(
            sample.resource_id
        )
        if not memory_mib:
            return []
        return [_derived(sample, MEMORY_UTIL, min(100 * sample.volume / memory_mib, 100.0))]


def _elapsed_s(before: _Reading, sample: Sample) -> float:
    """Give the seconds between two readings, always positive."""
    if before.monotonic_s is not None and sample.monotonic_s is not None:
        elapsed_s = sample.monotonic_s - before.monotonic_s
        if elapsed_s > 0:
            return elapsed_s
    return (sample.timestamp_us - before.timestamp_us) / US_PER_S


def _derived(sample: Sample, meter: Meter, volume: float) -> Sample:
    return msgspec.structs.replace(
        sample, name=meter.name, type=meter.type, unit=meter.unit, volume=volume
    )


def _vcpus(metadata: Mapping[str, Any]) -> float:
    return _number(metadata, "vcpus", "flavor.vcpus", "cpu_number") or 1.0


def _number(metadata: Mapping[str, Any], *paths: str) -> float | None:
    """Give the first positive number at one of the dotted paths."""
    for path in paths:
        found: Any = metadata
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        try:
            value = float(found) if found is not None else 0.0
        except (TypeError, ValueError):
            continue
        if value > 0:
            return value
    return None
