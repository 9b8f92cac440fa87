# SPDX-License-Identifier: Apache-2.0
"""`loadbalancer_member_health` alarms: a real Octavia, and a real Heat that replaces members.

What is not real: there are no load balancers behind Octavia's API (tests/lab/octavia.py) and no
servers with addresses behind its members (tests/lab/templates/addressed_server.yaml).
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.octavia import report
from tests.service.lab.deployment import own_server
from tests.service.lab.parts import ServerProcess
from tests.service.lab.stacks import Tenant, outputs

pytestmark = pytest.mark.lab

TEMPLATES = Path(__file__).parents[3] / "docs" / "templates"
LAB_TEMPLATES = Path(__file__).parents[2] / "lab" / "templates"
FILES = {
    "balanced-member.yaml": TEMPLATES / "balanced-member.yaml",
    "addressed_server.yaml": LAB_TEMPLATES / "addressed_server.yaml",
}
STACK = {
    "files": {name: path.read_text() for name, path in FILES.items()},
    "environment": {"resource_registry": {"OS::Nova::Server": "addressed_server.yaml"}},
}
INTERVAL_S = 1.0


@pytest.fixture(scope="module")
def server(octavia: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = {"interval": INTERVAL_S, "timeout": 2, "member_creation_time": 0}
    with own_server(octavia, tmp_path_factory.mktemp("server"), octavia=options) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


class Balanced:
    """The stack of docs/templates/balanced-group.yaml."""

    def __init__(self, lab: Lab, tenant: Tenant) -> None:
        self.lab = lab
        self.tenant = tenant
        template = (TEMPLATES / "balanced-group.yaml").read_text()
        self.stack = tenant.create(
            template, with_=STACK, image="tiny", flavor="tiny", network="none", subnet="lab-subnet"
        )
        said = outputs(self.stack)
        self.pool_id, self.alarm_id = said["pool"], said["health_id"]

    def members(self) -> dict[str, str]:
        """The operating status of each member of the pool, by its id."""
        members = self.tenant.cloud.load_balancer.members(self.pool_id)
        return {member.id: member.operating_status for member in members}

    def units(self) -> set[str]:
        """The physical ids of the group's resources."""
        group = self.alarm()["loadbalancer_member_health_rule"]["autoscaling_group_id"]
        found = self.tenant.heat.get(f"/stacks/{group}/resources").json()["resources"]
        return {one["physical_resource_id"] for one in found}

    def alarm(self) -> dict[str, Any]:
        found: dict[str, Any] = self.tenant.alarm(self.alarm_id).json()
        return found

    def fails(self, member_id: str) -> None:
        """Let a member's health check fail, as a provider reports it."""
        status = {"operating_status": "ERROR"}
        degraded = {"operating_status": "DEGRADED"}
        report(
            self.lab.layout,
            {"members": [{"id": member_id, **status}], "pools": [{"id": self.pool_id, **degraded}]},
        )

    def history(self) -> list[dict[str, Any]]:
        """The alarm's changes of state, the oldest first."""
        answer = self.tenant.cloud.session.get(
            f"/v2/alarms/{self.alarm_id}/history", endpoint_filter={"service_type": "alarming"}
        )
        return [one for one in reversed(answer.json()) if one["type"] == "state transition"]


@pytest.fixture(scope="module")
def tenant(octavia: Lab, server: ServerProcess) -> Iterator[Tenant]:  # noqa: ARG001 - it is first
    tenant = Tenant(octavia.cloud("demo"), trustee_id=octavia.cloud("thermostat").current_user_id)
    yield tenant
    tenant.delete_all()


@pytest.fixture(scope="module")
def balanced(octavia: Lab, tenant: Tenant) -> Balanced:
    return Balanced(octavia, tenant)


def create(cloud: Any, **definition: Any) -> str:
    """Create an alarm and give its id."""
    answer = cloud.session.post(
        "/v2/alarms",
        endpoint_filter={"service_type": "alarming"},
        json={"name": "test-balancers", **definition},
    )
    return str(answer.json()["alarm_id"])


def state(balanced: Balanced, alarm_id: str) -> str:
    return str(balanced.tenant.alarm(alarm_id).json()["state"])


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 180.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} not in {timeout_s} s"
        time.sleep(0.1)
    return found


def test_heat_replaces_exactly_the_member_that_fails(balanced, server):
    wait_until(lambda: balanced.alarm()["state"] == "ok", "the healthy pool is ok")
    heard = create(
        balanced.tenant.cloud,
        type="composite",
        composite_rule={"not": {"type": "alarm", "alarm_id": balanced.alarm_id}},
    )
    wait_until(lambda: state(balanced, heard) == "alarm", "a composite hears of the state")
    before, units = balanced.members(), balanced.units()
    assert len(before) == len(units) == 2
    trusts = balanced.tenant.trusts()
    broken, *healthy = before

    begun = time.monotonic()
    balanced.fails(broken)
    wait_until(lambda: balanced.alarm()["state"] == "alarm", "the alarm")
    fired_s = time.monotonic() - begun
    wait_until(lambda: state(balanced, heard) == "ok", "the composite hears of the change")
    wait_until(lambda: broken not in balanced.members(), "the broken member is replaced")
    replaced_s = time.monotonic() - begun
    wait_until(lambda: balanced.alarm()["state"] == "ok", "all is well again")
    balanced.tenant.wait(balanced.stack, "UPDATE_COMPLETE")
    print(
        f"alarm after {fired_s:.1f} s, replaced after {replaced_s:.1f} s,"
        f" stack complete after {time.monotonic() - begun:.1f} s"
    )

    after = balanced.members()
    assert len(after) == 2
    assert set(healthy) < set(after)
    assert set(after.values()) == {"ONLINE"}
    assert len(balanced.units() & units) == 1
    assert [json.loads(one["detail"])["state"] for one in balanced.history()] == [
        "ok",
        "alarm",
        "ok",
    ]
    log = server.log.read_text()
    assert "delivered to trust+heat://" in log
    assert not any(trust in log for trust in trusts)


def test_another_projects_pool_does_not_exist(balanced, octavia):
    other = octavia.cloud("other")
    reasons = []
    for pool_id in (balanced.pool_id, "6d1c3f0e-0d5a-4bb4-9b0f-3a1f6f6f1c00"):
        rule = {"pool_id": pool_id, "stack_id": "s", "autoscaling_group_id": "g"}
        alarm_id = create(
            other, type="loadbalancer_member_health", loadbalancer_member_health_rule=rule
        )
        path, filter_ = f"/v2/alarms/{alarm_id}", {"service_type": "alarming"}

        def told(path=path, filter_=filter_):
            alarm = other.session.get(path, endpoint_filter=filter_).json()
            return alarm if alarm["state_reason"] != "Not evaluated yet" else None

        alarm = wait_until(told, "the first judgement")
        assert alarm["state"] == "insufficient data"
        reasons.append(alarm["state_reason"].replace(pool_id, "POOL"))
        other.session.delete(path, endpoint_filter=filter_)
    assert reasons[0] == reasons[1]
    assert "does not exist in the project" in reasons[0]


def test_a_hanging_octavia_is_insufficient_data_until_it_is_back(balanced, octavia):
    wait_until(lambda: balanced.alarm()["state"] == "ok", "the pool is well")
    pid = next(part.pid for part in octavia.status() if part.name == "octavia")
    os.kill(pid, signal.SIGSTOP)
    try:
        alarm = wait_until(
            lambda: (now := balanced.alarm())["state"] == "insufficient data" and now,
            "Octavia is missed",
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "Octavia being out of reach: no answer in time" in alarm["state_reason"]
    wait_until(lambda: balanced.alarm()["state"] == "ok", "all is well again")
