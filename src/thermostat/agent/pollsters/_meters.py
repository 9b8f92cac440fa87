# SPDX-License-Identifier: Apache-2.0
"""libvirt's domain statistics as samples of Ceilometer's meters. Pure.

`cpu` is the domain's CPU time alone. Ceilometer adds the time that virtual CPUs waited for a real
one (vcpu.N.wait), so that a crowded host looks like a busy guest; ours does not.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from thermostat.agent.pollsters._instance import Instance
from thermostat.samples.catalogue import MEASURED
from thermostat.samples.model import Sample

_KIB_PER_MIB = 1024

_OF_INSTANCE = {
    "cpu": ("cpu.time", 1),
    "vcpus": ("vcpu.current", 1),
    "power.state": ("state.state", 1),
    "memory": ("balloon.current", _KIB_PER_MIB),
    "memory.available": ("balloon.available", _KIB_PER_MIB),
    "memory.resident": ("balloon.rss", _KIB_PER_MIB),
    "memory.swap.in": ("balloon.swap_in", _KIB_PER_MIB),
    "memory.swap.out": ("balloon.swap_out", _KIB_PER_MIB),
}
"""Meter: libvirt's key, and how many of libvirt's units make one of the meter's."""

_OF_DISK = {
    "disk.device.read.requests": "rd.reqs",
    "disk.device.read.bytes": "rd.bytes",
    "disk.device.read.latency": "rd.times",
    "disk.device.write.requests": "wr.reqs",
    "disk.device.write.bytes": "wr.bytes",
    "disk.device.write.latency": "wr.times",
    "disk.device.capacity": "capacity",
    "disk.device.allocation": "allocation",
    "disk.device.usage": "physical",
}

_OF_INTERFACE = {
    "network.incoming.bytes": "rx.bytes",
    "network.incoming.packets": "rx.pkts",
    "network.incoming.packets.error": "rx.errs",
    "network.incoming.packets.drop": "rx.drop",
    "network.outgoing.bytes": "tx.bytes",
    "network.outgoing.packets": "tx.pkts",
    "network.outgoing.packets.error": "tx.errs",
    "network.outgoing.packets.drop": "tx.drop",
}


def samples(
    instance: Instance, statistics: Mapping[str, Any], timestamp_us: int, monotonic_s: float
) -> Iterator[Sample]:
    """Give a sample of each meter that libvirt told of, disks and NICs with the same metadata."""
    for meter, volume, resource_id, metadata in _values(instance, statistics):
        yield Sample(
            name=meter,
            type=MEASURED[meter].type,
            unit=MEASURED[meter].unit,
            volume=float(volume),
            resource_id=resource_id,
            project_id=instance.project_id,
            user_id=instance.user_id,
            timestamp_us=timestamp_us,
            monotonic_s=monotonic_s,
            metadata=metadata,
        )


_Value = tuple[str, float, str, dict[str, Any]]
"""A meter, its volume, the resource's id and its metadata."""


def _values(instance: Instance, statistics: Mapping[str, Any]) -> Iterator[_Value]:
    for meter, (key, divisor) in _OF_INSTANCE.items():
        if key in statistics:
            yield meter, statistics[key] / divisor, instance.uuid, instance.metadata
    used_kib = _memory_used_kib(statistics)
    if used_kib is not None:
        yield "memory.usage", used_kib / _KIB_PER_MIB, instance.uuid, instance.metadata
    for prefix, device in _devices(statistics, "block"):
        yield from _device_values(statistics, prefix, _OF_DISK, instance.disk(device))
    for prefix, device in _devices(statistics, "net"):
        yield from _device_values(statistics, prefix, _OF_INTERFACE, instance.interface(device))


def _devices(statistics: Mapping[str, Any], group: str) -> Iterator[tuple[str, str]]:
    """Give the prefix of the keys and the name of each device of a group."""
    for number in range(statistics.get(f"{group}.count", 0)):
        prefix = f"{group}.{number}."
        if prefix + "name" in statistics:
            yield prefix, statistics[prefix + "name"]


def _device_values(
    statistics: Mapping[str, Any],
    prefix: str,
    table: Mapping[str, str],
    resource: tuple[str, dict[str, Any]],
) -> Iterator[_Value]:
    for meter, key in table.items():
        if prefix + key in statistics:
            yield meter, statistics[prefix + key], *resource


def _memory_used_kib(statistics: Mapping[str, Any]) -> int | None:
    """Give what the guest uses of its memory; None without a balloon driver in the guest."""
    available = statistics.get("balloon.available")
    free = statistics.get("balloon.usable", statistics.get("balloon.unused"))
    if available is None or free is None:
        return None
    return max(0, int(available) - int(free))
