# SPDX-License-Identifier: Apache-2.0
"""The meters that the agent measures, by Ceilometer's names, and those derived from them."""

from collections.abc import Iterable

import msgspec

from thermostat.samples.model import SampleType


class Meter(msgspec.Struct, frozen=True):
    """What is measured: its name, how its volumes relate to each other, and their unit."""

    name: str
    type: SampleType
    unit: str


def _meters(type_: SampleType, unit: str, names: str) -> Iterable[Meter]:
    return (Meter(name, type_, unit) for name in names.split())


_G, _C = SampleType.GAUGE, SampleType.CUMULATIVE

MEASURED: dict[str, Meter] = {
    meter.name: meter
    for meter in (
        *_meters(_C, "ns", "cpu disk.device.read.latency disk.device.write.latency"),
        *_meters(_G, "vcpu", "vcpus"),
        *_meters(_G, "state", "power.state"),
        *_meters(_G, "MiB", "memory memory.available memory.usage memory.resident"),
        *_meters(_C, "MiB", "memory.swap.in memory.swap.out"),
        *_meters(_C, "request", "disk.device.read.requests disk.device.write.requests"),
        *_meters(_C, "B", "disk.device.read.bytes disk.device.write.bytes"),
        *_meters(_G, "B", "disk.device.capacity disk.device.allocation disk.device.usage"),
        *_meters(_C, "B", "network.incoming.bytes network.outgoing.bytes"),
        *_meters(
            _C,
            "packet",
            "network.incoming.packets network.incoming.packets.drop network.incoming.packets.error "
            "network.outgoing.packets network.outgoing.packets.drop network.outgoing.packets.error",
        ),
    )
}
"""Meters that a pollster reads, by name."""

CPU_UTIL = Meter("cpu_util", SampleType.GAUGE, "%")
"""The share of all its virtual CPUs that an instance used between two polls, 0 to 100."""

MEMORY_UTIL = Meter("memory.util", SampleType.GAUGE, "%")
"""The share of its memory that an instance uses, 0 to 100."""


def rate_of(name: str, unit: str) -> Meter:
    """Give the meter that holds the change per second of a cumulative meter."""
    return Meter(f"{name}.rate", SampleType.GAUGE, f"{unit}/s")
