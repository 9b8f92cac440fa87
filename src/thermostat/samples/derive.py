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
from math import isfinite
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
        self._memory_mib: dict[str, tuple[int, float]] = {}
        """Event time and volume of the newest `memory` that came, by resource."""

    def derive(self, sample: Sample) -> list[Sample]:
        """Give the samples that follow from this one, with its time and metadata: none, or one.

        What is not finite, because volumes differ too much for floating point, is left out.
        """
        return [one for one in self._derive(sample) if isfinite(one.volume)]

    def _derive(self, sample: Sample) -> list[Sample]:
        if sample.type is SampleType.CUMULATIVE:
            return self._from_counter(sample)
        if sample.name == "memory":
            self._memory_mib[sample.resource_id] = (sample.timestamp_us, sample.volume)
        elif sample.name == "memory.usage":
            return self._memory_util(sample)
        return []

    def forget(self, before_us: int) -> None:
        """Drop what was last read before this event time."""
        self._counters = {
            key: seen for key, seen in self._counters.items() if seen.timestamp_us >= before_us
        }
        self._memory_mib = {
            key: seen for key, seen in self._memory_mib.items() if seen[0] >= before_us
        }

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
            percent = 100 * rate / (NS_PER_S * vcpus(sample.metadata))
            return [derived(sample, min(percent, 100.0))]
        return [derived(sample, rate)]

    def _memory_util(self, sample: Sample) -> list[Sample]:
        _, came_mib = self._memory_mib.get(sample.resource_id, (0, 0.0))
        size_mib = memory_mib(sample.metadata) or came_mib
        if not size_mib:
            return []
        return [derived(sample, min(100 * sample.volume / size_mib, 100.0))]


def _elapsed_s(before: _Reading, sample: Sample) -> float:
    """Give the seconds between two readings, always positive."""
    if before.monotonic_s is not None and sample.monotonic_s is not None:
        elapsed_s = sample.monotonic_s - before.monotonic_s
        if elapsed_s > 0:
            return elapsed_s
    return (sample.timestamp_us - before.timestamp_us) / US_PER_S


def derived(sample: Sample, volume: float) -> Sample:
    """Give the sample that follows from this one with its own meter: a rate, or a percentage."""
    meter = _follows(sample)
    return msgspec.structs.replace(
        sample, name=meter.name, type=meter.type, unit=meter.unit, volume=volume
    )


def _follows(sample: Sample) -> Meter:
    if sample.type is not SampleType.CUMULATIVE:
        return MEMORY_UTIL
    return CPU_UTIL if sample.name == "cpu" else rate_of(sample.name, sample.unit)


def memory_mib(metadata: Mapping[str, Any]) -> float | None:
    """Give the memory that an instance's metadata tell, in MiB; None where they do not."""
    return _number(metadata, "memory_mb", "flavor.ram")


def vcpus(metadata: Mapping[str, Any]) -> float:
    """Give the number of virtual CPUs that an instance's metadata tell, or 1."""
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
