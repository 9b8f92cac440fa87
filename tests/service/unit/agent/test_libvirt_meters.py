# SPDX-License-Identifier: Apache-2.0
"""libvirt's statistics and Nova's descriptions become samples in Ceilometer's terms."""

import json
from pathlib import Path

import msgspec
import pytest

from thermostat.agent.pollsters import _meters
from thermostat.agent.pollsters._instance import (
    DomainDescription,
    Server,
    describe,
    parse_domain,
    parse_server,
    user_metadata,
)
from thermostat.samples.model import Sample, SampleType

GOLDEN = Path(__file__).parents[2] / "golden" / "libvirt"
UUID = "2e67b1c4-0c0e-4e5c-9b43-5a8f5b1c9f11"
XML = (GOLDEN / "nova-domain.xml").read_text()
STATISTICS = json.loads((GOLDEN / "statistics.json").read_text())
SERVER = Server("web-1", "h4sh", "nova", {"server_group": "grp", "role": "web"})


def poll(statistics=STATISTICS, server=SERVER, xml=XML) -> dict[tuple[str, str], Sample]:
    instance = describe(UUID, parse_domain(xml), server, statistics, "lab")
    return {
        (sample.name, sample.resource_id): sample
        for sample in _meters.samples(instance, statistics, 1_000_000, 12.5)
    }


DISK, NIC = f"{UUID}-vda", f"instance-00000002-{UUID}-tap42ad67cf-12"


@pytest.mark.parametrize(
    ("meter", "resource_id", "type_", "unit", "volume"),
    [
        ("cpu", UUID, "cumulative", "ns", 5_660_000_000),
        ("vcpus", UUID, "gauge", "vcpu", 2),
        ("power.state", UUID, "gauge", "state", 1),
        ("memory", UUID, "gauge", "MiB", 64),
        ("memory.available", UUID, "gauge", "MiB", 48),
        ("memory.usage", UUID, "gauge", "MiB", 32),
        ("memory.resident", UUID, "gauge", "MiB", 160),
        ("memory.swap.in", UUID, "cumulative", "MiB", 2),
        ("memory.swap.out", UUID, "cumulative", "MiB", 0),
        ("disk.device.read.requests", DISK, "cumulative", "request", 11),
        ("disk.device.read.bytes", DISK, "cumulative", "B", 45056),
        ("disk.device.read.latency", DISK, "cumulative", "ns", 123988),
        ("disk.device.write.requests", DISK, "cumulative", "request", 5),
        ("disk.device.write.bytes", DISK, "cumulative", "B", 20480),
        ("disk.device.write.latency", DISK, "cumulative", "ns", 55000),
        ("disk.device.capacity", DISK, "gauge", "B", 3221225472),
        ("disk.device.allocation", DISK, "gauge", "B", 2097152),
        ("disk.device.usage", DISK, "gauge", "B", 2097152),
        ("network.incoming.bytes", NIC, "cumulative", "B", 1000),
        ("network.incoming.packets", NIC, "cumulative", "packet", 10),
        ("network.incoming.packets.error", NIC, "cumulative", "packet", 1),
        ("network.incoming.packets.drop", NIC, "cumulative", "packet", 2),
        ("network.outgoing.bytes", NIC, "cumulative", "B", 2000),
        ("network.outgoing.packets", NIC, "cumulative", "packet", 20),
        ("network.outgoing.packets.error", NIC, "cumulative", "packet", 3),
        ("network.outgoing.packets.drop", NIC, "cumulative", "packet", 4),
    ],
)
def test_each_meter(meter, resource_id, type_, unit, volume):
    sample = poll()[meter, resource_id]
    assert (sample.type, sample.unit, sample.volume) == (SampleType(type_), unit, volume)
    assert (sample.timestamp_us, sample.monotonic_s) == (1_000_000, 12.5)
    assert sample.project_id == "0b6ac8c6f1e54ad69eb2c5b9a91d7d52"
    assert sample.user_id == "6f1e8b1d7c7d4b0f9a43a5e6d3ce1f10"


def test_there_are_no_others():
    assert len(poll()) == 26


def test_cpu_leaves_out_the_time_that_virtual_cpus_waited():
    waiting = STATISTICS | {"vcpu.0.wait": 10**12}
    assert poll(waiting)["cpu", UUID].volume == poll()["cpu", UUID].volume


def test_memory_usage_needs_the_guests_balloon_driver():
    without = {key: value for key, value in STATISTICS.items() if key != "balloon.available"}
    assert ("memory.usage", UUID) not in poll(without)
    old = {key: value for key, value in STATISTICS.items() if key != "balloon.usable"}
    assert poll(old)["memory.usage", UUID].volume == 28


def test_every_meter_keeps_the_groups_metadata():
    for sample in poll().values():
        assert sample.metadata["user_metadata"] == {"server_group": "grp", "role": "web"}
        assert sample.metadata["instance_id"] == UUID
    assert poll()["disk.device.read.bytes", DISK].metadata["disk_name"] == "vda"
    assert poll()["network.incoming.bytes", NIC].metadata["vnic_name"] == "tap42ad67cf-12"


def test_the_metadata_follows_ceilometers_form():
    assert poll()["cpu", UUID].metadata == {
        "display_name": "web-1",
        "name": "instance-00000002",
        "instance_id": UUID,
        "instance_host": "lab",
        "instance_type": "tiny",
        "host": "h4sh",
        "OS-EXT-AZ:availability_zone": "nova",
        "status": "active",
        "state": "running",
        "flavor": {
            "name": "tiny",
            "ram": 64,
            "disk": 3,
            "swap": 0,
            "ephemeral": 1,
            "vcpus": 2,
        },
        "image": {"id": "9a0c5f0e-6f0c-4fb7-8f6a-3b0f0f6f6a77"},
        "image_ref": "9a0c5f0e-6f0c-4fb7-8f6a-3b0f0f6f6a77",
        "vcpus": 2,
        "memory_mb": 64,
        "disk_gb": 3,
        "root_gb": 2,
        "ephemeral_gb": 1,
        "cpu_number": 2,
        "user_metadata": {"server_group": "grp", "role": "web"},
    }


def test_counters_do_not_change_the_metadata():
    later = STATISTICS | {"cpu.time": 9 * 10**9, "balloon.rss": 1, "balloon.current": 32768}
    assert poll(later)["cpu", UUID].metadata == poll()["cpu", UUID].metadata


def test_without_nova_the_samples_go_on_without_user_metadata():
    metadata = poll(server=None)["cpu", UUID].metadata
    assert metadata["display_name"] == "web-1"
    assert "user_metadata" not in metadata


def test_a_domain_that_nova_did_not_make():
    sample = poll(server=None, xml="<domain><name>plain</name></domain>")["cpu", UUID]
    assert sample.project_id is None
    assert sample.metadata["display_name"] == "plain"
    assert (sample.metadata["vcpus"], sample.metadata["memory_mb"]) == (2, 64)


def test_a_paused_instance():
    metadata = poll(STATISTICS | {"state.state": 3})["cpu", UUID].metadata
    assert (metadata["status"], metadata["state"]) == ("paused", "paused")


def test_newer_novas_tell_the_flavors_id():
    xml = XML.replace('<nova:flavor name="tiny">', '<nova:flavor name="tiny" id="42">')
    assert parse_domain(xml).flavor["id"] == "42"


def test_a_domain_whose_nova_element_is_nearly_empty():
    xml = (
        "<domain><name>n</name><metadata><i:instance xmlns:i='http://openstack.org/xmlns/libvirt/"
        "nova/1.0'/></metadata></domain>"
    )
    assert parse_domain(xml) == DomainDescription("n", "n", of_nova=True)


def test_user_metadata_is_what_ceilometer_makes_of_metering_keys():
    assert user_metadata(
        {
            "metering.server_group": "grp",
            "metering.foo.bar": "x" * 300,
            "metering.": "empty",
            "other": "no",
            "xmetering.a": "no",
        }
    ) == {"server_group": "grp", "foo_bar": "x" * 256, "": "empty"}


def test_a_server_of_nova():
    assert parse_server(
        {
            "name": "web-1",
            "hostId": "h4sh",
            "metadata": {"metering.server_group": "grp", "private": "no"},
            "OS-EXT-AZ:availability_zone": "nova",
        }
    ) == Server("web-1", "h4sh", "nova", {"server_group": "grp"})


def test_samples_go_over_the_wire_as_they_are():
    from thermostat.samples.wire import decode_columnar, encode_columnar

    samples = list(poll().values())
    without_clock = [msgspec.structs.replace(sample, monotonic_s=None) for sample in samples]
    assert decode_columnar(encode_columnar(samples), now_us=10**15) == without_clock
