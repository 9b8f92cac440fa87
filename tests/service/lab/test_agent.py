# SPDX-License-Identifier: Apache-2.0
"""The agent in the lab's cloud: real guests that Nova booted, real tokens, real metadata."""

import time
from collections.abc import Iterator
from statistics import mean

import pytest

from tests.service.lab.parts import Servers, running_agent
from tests.service.receiver import Receiver, running_receiver
from thermostat.samples.model import Sample

pytestmark = pytest.mark.lab

INTERVAL_S = 2
GROUP = "agent-test"


@pytest.fixture(scope="module")
def servers(lab):
    servers = Servers(lab, GROUP)
    yield servers
    servers.delete_all()


@pytest.fixture(scope="module")
def pair(servers) -> tuple[str, str]:
    return servers.boot("agent-1"), servers.boot("agent-2")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


def cpu_utils(batch: list[Sample]) -> dict[str, float]:
    return {
        sample.resource_id: sample.volume
        for sample in batch
        if sample.name == "cpu_util"
        and sample.metadata.get("user_metadata", {}).get("server_group") == GROUP
    }


def wait_until_measured(receiver, members) -> None:
    """Wait for a batch with the cpu_util of all these members."""
    deadline = time.monotonic() + 90
    while not receiver.batches or not cpu_utils(receiver.batches[-1]).keys() >= set(members):
        assert time.monotonic() < deadline, "the group has no cpu_util"
        time.sleep(0.1)


def next_batches(receiver, count: int) -> list[list[Sample]]:
    """Wait for this many more batches and give them."""
    begun = len(receiver.batches)
    receiver.wait_for(begun + count, timeout_s=60)
    return receiver.batches[begun : begun + count]


def test_every_meter_of_the_first_poll_carries_the_servers_metering_keys(
    lab, servers, pair, receiver, tmp_path
):
    with running_agent(lab, receiver.url, tmp_path, interval_s=10):
        receiver.wait_for(1, timeout_s=60)
    mine = [s for s in receiver.batches[0] if s.metadata["instance_id"] in pair]
    assert {sample.metadata["instance_id"] for sample in mine} == set(pair)
    assert {sample.name for sample in mine} >= {"cpu", "memory", "disk.device.read.bytes"}
    for sample in mine:
        assert sample.metadata["user_metadata"] == {"server_group": GROUP, "tier_name": "web"}
        assert sample.metadata["display_name"] in {"agent-1", "agent-2"}
        assert sample.metadata["name"].startswith("instance-")
        assert sample.metadata["instance_host"] == lab.info["compute_host"]
        assert (sample.metadata["vcpus"], sample.metadata["memory_mb"]) == (1, 64)
        assert (sample.metadata["status"], sample.metadata["state"]) == ("active", "running")
        assert sample.project_id == servers.project_id
        assert sample.user_id


def test_the_description_of_a_series_does_not_change_from_poll_to_poll(
    lab, pair, receiver, tmp_path
):
    with running_agent(lab, receiver.url, tmp_path):
        wait_until_measured(receiver, pair)
        batches = next_batches(receiver, 3)
    descriptions = [
        {
            sample.key: (sample.type, sample.unit, sample.user_id, sample.metadata)
            for sample in batch
            if sample.metadata["instance_id"] in pair
        }
        for batch in batches
    ]
    assert descriptions[0]
    assert descriptions[0] == descriptions[1] == descriptions[2]


def test_cpu_util_follows_the_load(lab, pair, receiver, tmp_path):
    busy, idle = pair
    lab.load(idle, on=False)
    lab.load(busy, on=True)
    try:
        with running_agent(lab, receiver.url, tmp_path):
            wait_until_measured(receiver, pair)
            before_s = lab.domain(busy).info()[4] / 1e9, time.monotonic()
            loaded = next_batches(receiver, 4)
            after_s = lab.domain(busy).info()[4] / 1e9, time.monotonic()
            share = 100 * (after_s[0] - before_s[0]) / (after_s[1] - before_s[1])
            lab.load(busy, on=False)
            next_batches(receiver, 2)
            calm = next_batches(receiver, 3)
    finally:
        lab.load(busy, on=False)
    measured = [cpu_utils(batch)[busy] for batch in loaded]
    # what the neighbours on this machine leave to the guest, by libvirt's own account
    assert mean(measured) == pytest.approx(share, abs=20)
    assert min(measured) > 20
    assert max(measured) <= 100
    assert mean(cpu_utils(batch)[idle] for batch in loaded) < 10
    assert mean(cpu_utils(batch)[busy] for batch in calm) < 10


def test_a_member_that_joins_or_leaves_does_not_bend_the_groups_cpu_util(
    lab, servers, pair, receiver, tmp_path
):
    for member in pair:
        lab.load(member, on=False)
    with running_agent(lab, receiver.url, tmp_path):
        wait_until_measured(receiver, pair)
        begun = len(receiver.batches)
        third = servers.boot("agent-3")
        lab.load(third, on=False)
        wait_until_measured(receiver, (*pair, third))
        joined = len(receiver.batches)
        servers.delete(third)
        deadline = time.monotonic() + 60
        while third in cpu_utils(receiver.batches[-1]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        next_batches(receiver, 2)
        batches = receiver.batches[begun:]
    assert any(third in cpu_utils(batch) for batch in batches[: joined - begun])
    members_before: set[str] = set(pair)
    for batch in batches:
        utils = cpu_utils(batch)
        present = {sample.resource_id for sample in batch if sample.name == "cpu"}
        # a rate needs two readings of the same member: no one else's change gets into it
        assert utils.keys() <= members_before
        assert utils.keys() >= set(pair)
        assert all(0 <= value <= 100 for value in utils.values())
        # the joiner's own boot is real load; those that were there stay idle throughout
        assert mean(utils[member] for member in pair) < 10
        members_before = present
