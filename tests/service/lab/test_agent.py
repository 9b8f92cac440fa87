# SPDX-License-Identifier: Apache-2.0
"""The agent in the lab's cloud: real guests that Nova booted, real tokens, real metadata."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from statistics import mean
from typing import Any

import pytest

from tests.service.lab.parts import ServerProcess, Servers, running_agent
from tests.service.receiver import Receiver, running_receiver
from thermostat.samples.model import Sample

pytestmark = pytest.mark.lab

INTERVAL_S = 2
GROUP = "agent-test"
QUERY = {"field": "metadata.user_metadata.server_group", "op": "eq", "value": GROUP}
JUDGED = 15
"""Datapoints that an alarm judges: half a minute, so that what has just changed is among them."""


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
    deadline = time.monotonic() + 180
    while not receiver.batches or not cpu_utils(receiver.batches[-1]).keys() >= set(members):
        assert time.monotonic() < deadline, "the group has no cpu_util"
        time.sleep(0.1)


def next_batches(receiver, count: int) -> list[list[Sample]]:
    """Wait for this many more batches and give them."""
    begun = len(receiver.batches)
    receiver.wait_for(begun + count, timeout_s=180)
    return receiver.batches[begun : begun + count]


def test_every_meter_of_the_first_poll_carries_the_servers_metering_keys(
    lab, servers, pair, receiver, tmp_path
):
    with running_agent(lab, receiver.url, tmp_path, interval_s=10):
        receiver.wait_for(1, timeout_s=180)
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
    assert min(measured) > 10
    assert max(measured) <= 100
    assert mean(cpu_utils(batch)[idle] for batch in loaded) < 10
    assert mean(cpu_utils(batch)[busy] for batch in calm) < 10


class Group:
    """The test's servers as the demo user sees them on one server: datapoints and alarms."""

    def __init__(self, lab, url: str) -> None:
        self._session = lab.cloud("demo").session
        self.url = url

    def datapoints(self, **more: str) -> list[dict[str, Any]]:
        """Give the group's cpu_util over each of the agent's intervals, oldest first."""
        query = {f"q.{name}": value for name, value in QUERY.items()}
        return self._ask(
            "GET",
            "/v2/meters/cpu_util/statistics",
            params={**query, "period": str(INTERVAL_S), **more},
        )

    def values(self) -> dict[str, dict[str, float]]:
        """Give each member's own cpu_util by the end of the interval."""
        values: dict[str, dict[str, float]] = {}
        for row in self.datapoints(groupby="resource_id"):
            assert row["count"] == 1, "one sample of each member in each interval"
            values.setdefault(row["period_end"], {})[row["groupby"]["resource_id"]] = row["avg"]
        return values

    def wait_for_members(self, members: set[str], intervals: int = 1) -> None:
        """Wait until these, and no others, make up the newest datapoints."""

        def newest() -> list[set[str]]:
            values = self.values()
            return [set(values[end]) for end in sorted(values)[-intervals:]]

        wait_until(lambda: newest() == [members] * intervals, f"no datapoint of {members}")

    def judge(self) -> dict[str, Any]:
        """Let a new alarm judge the group's newest datapoints; give its transition's reason."""
        rule = {
            "meter_name": "cpu_util",
            "query": [QUERY],
            "period": INTERVAL_S,
            "evaluation_periods": JUDGED,
            "datapoints_to_alarm": 1,  # where this machine is too slow for a poll, others do
            "comparison_operator": "ge",
            "threshold": 0.0,
        }
        body = {"name": "any load", "type": "threshold", "threshold_rule": rule}
        path = f"/v2/alarms/{self._ask('POST', '/v2/alarms', json=body)['alarm_id']}/history"

        def reasons() -> list[dict[str, Any]]:
            changes = [e for e in self._ask("GET", path) if e["type"] == "state transition"]
            details = [json.loads(change["detail"]) for change in changes]
            return [detail["reason_data"] for detail in details if detail["state"] == "alarm"]

        wait_until(reasons, "the alarm has not been judged")
        return reasons()[-1]

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self._session.request(f"{self.url}{path}", method, raise_exc=False, **more)
        assert answer.status_code < 300, answer.text
        return answer.json()


def wait_until(condition: Callable[[], Any], complaint: str) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.3)


@pytest.fixture
def group(lab, tmp_path) -> Iterator[Group]:
    server = ServerProcess(lab, tmp_path)
    server.start()
    yield Group(lab, server.url)
    server.stop()


def test_a_member_that_joins_or_leaves_does_not_bend_the_groups_datapoints(
    lab, servers, pair, group, tmp_path
):
    busy, idle = pair
    lab.load(idle, on=False)
    lab.load(busy, on=True)
    try:
        with running_agent(lab, group.url, tmp_path, INTERVAL_S):
            group.wait_for_members({*pair}, intervals=3)
            third = servers.boot("agent-3")  # booting is load; the group's only real change
            group.wait_for_members({*pair, third})
            joined = group.judge()
            group.wait_for_members({*pair, third}, intervals=3)
            servers.delete(third)
            group.wait_for_members({*pair})
            left = group.judge()
            group.wait_for_members({*pair}, intervals=3)
    finally:
        lab.load(busy, on=False)

    rows, values = {row["period_end"]: row for row in group.datapoints()}, group.values()
    assert rows.keys() == values.keys()
    for end, row in rows.items():
        members = values[end]
        assert members.keys() <= {*pair, third}
        assert row["count"] == len(members)
        assert row["avg"] == pytest.approx(mean(members.values()))
        assert (row["min"], row["max"]) == (min(members.values()), max(members.values()))
        assert 0 <= row["min"] <= row["avg"] <= row["max"] <= 100
    assert any(row["max"] - row["min"] > 20 for row in rows.values()), "the members differ"
    present = [third in members for _, members in sorted(values.items())]
    assert (present[0], any(present), present[-1]) == (False, True, False), "it joined and left"

    at = {seconds(end): row for end, row in rows.items()}
    for judged in (joined, left):
        points = [point for point in judged["datapoints"] if point["value"] is not None]
        assert {point["count"] for point in points} >= {2, 3}, "the change is among them"
        for point in points:
            row = at[point["period_end"]]
            assert point["count"] == row["count"]
            assert point["value"] == pytest.approx(row["avg"])
            assert row["min"] <= point["value"] <= row["max"]


def seconds(end: str) -> float:
    return datetime.fromisoformat(end).replace(tzinfo=UTC).timestamp()
