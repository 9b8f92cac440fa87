# SPDX-License-Identifier: Apache-2.0
"""The lab itself: it stays up, its guests obey, its Heat restarts and asks for tokens."""

import http.client
import json
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.lab import Lab

pytestmark = pytest.mark.lab

SERVER_ACTIVE_WITHIN_S = 180.0  # 5 s on an idle machine
BUSY, IDLE = 0.15, 0.05
TALK_TEMPLATE = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Resources": {
        "Group": {
            "Type": "AWS::AutoScaling::AutoScalingGroup",
            "Properties": {
                "AvailabilityZones": {"Fn::GetAZs": ""},
                "LaunchConfigurationName": {"Ref": "LaunchConfig"},
                "MinSize": "1",
                "MaxSize": "3",
                "Tags": [{"Key": "metering.server_group", "Value": "lab-test"}],
            },
        },
        "LaunchConfig": {
            "Type": "AWS::AutoScaling::LaunchConfiguration",
            "Properties": {"ImageId": "tiny", "InstanceType": "tiny"},
        },
    },
}


@pytest.fixture
def server(lab: Lab) -> Iterator[str]:
    """A server of the demo project, by its id."""
    cloud = lab.cloud("demo")
    created = cloud.compute.create_server(
        name="lab-test",
        image_id=cloud.image.find_image("tiny").id,
        flavor_id=cloud.compute.find_flavor("tiny").id,
        networks="none",
    )
    try:
        cloud.compute.wait_for_server(created, interval=0.2, wait=SERVER_ACTIVE_WITHIN_S)
        yield created.id
    finally:
        cloud.compute.delete_server(created.id)
        cloud.compute.wait_for_delete(created, interval=0.2, wait=180)


def pids(lab: Lab) -> dict[str, int]:
    """Give the lab's own processes; other tests may boot guests meanwhile."""
    return {part.name: part.pid for part in lab.status() if part.pid}


def test_up_again_changes_nothing_and_takes_seconds(lab: Lab) -> None:
    before = pids(lab)
    begun = time.monotonic()
    lab.up()
    assert time.monotonic() - begun < 30  # 0.3 s on an idle machine; starting anew takes longer
    assert pids(lab) == before


def test_every_part_answers_and_takes_memory(lab: Lab) -> None:
    parts = {part.name: part for part in lab.status() if part.pid}
    assert set(parts) >= {"postgres", "keystone", "heat", "nova", "glance", "placement", "libvirtd"}
    assert all(part.answers and part.memory_mib > 0 for part in parts.values())


def test_a_guest_turns_busy_and_idle_as_told(lab: Lab, server: str) -> None:
    lab.load(server, True)
    busy = lab.cpu_share(server, 2)
    lab.load(server, False)
    time.sleep(0.5)
    idle = lab.cpu_share(server, 2)
    assert busy > BUSY
    assert idle < IDLE
    lab.load(server, True)  # and again: the port can be reopened
    assert lab.cpu_share(server, 2) > BUSY


def test_heat_restarts_and_keeps_its_stacks(lab: Lab) -> None:
    heat = lab.cloud("demo").orchestration
    template = {
        "heat_template_version": "wallaby",
        "resources": {"one": {"type": "OS::Heat::TestResource"}},
    }
    stack = heat.create_stack(name="lab-test-restart", template=template)
    try:
        heat.wait_for_status(stack, "CREATE_COMPLETE", ["CREATE_FAILED"], interval=0.3, wait=180)
        lab.restart("heat")
        assert lab.cloud("demo").orchestration.get_stack(stack.id).status == "CREATE_COMPLETE"
    finally:
        lab.cloud("demo").orchestration.delete_stack(stack)


def test_a_template_of_2013_boots_a_server_with_the_groups_metadata(lab: Lab) -> None:
    cloud = lab.cloud("demo")
    heat = cloud.orchestration
    stack = heat.create_stack(name="lab-test-2013", template=TALK_TEMPLATE)
    try:
        heat.wait_for_status(stack, "CREATE_COMPLETE", ["CREATE_FAILED"], interval=0.5, wait=180)
        tagged = [
            server
            for server in cloud.compute.servers()
            if server.metadata.get("metering.server_group") == "lab-test"
        ]
        assert [server.status for server in tagged] == ["ACTIVE"]
    finally:
        heat.delete_stack(stack)
        heat.wait_for_delete(stack, interval=0.5, wait=180)


def test_heat_without_a_token_is_refused(lab: Lab) -> None:
    project = lab.cloud("demo").current_project_id
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(lab.layout.url("heat", f"/v1/{project}/stacks"), timeout=30)
    refused.value.close()
    assert refused.value.code == http.client.UNAUTHORIZED


def test_tenants_and_the_service_user_are_who_they_should_be(lab: Lab) -> None:
    sessions = {name: lab.cloud(name).session for name in ("demo", "other", "thermostat")}
    access = {name: session.auth.get_access(session) for name, session in sessions.items()}
    assert len({one.project_id for one in access.values()}) == len(access)
    roles = {name: set(one.role_names) for name, one in access.items()}
    assert {"member", "reader", "heat_stack_owner"} <= roles["demo"]
    assert "admin" not in roles["demo"] | roles["other"]
    assert {"admin", "service"} <= roles["thermostat"]


def test_passwords_are_readable_by_root_alone_and_not_in_lab_json(lab: Lab) -> None:
    passwords = lab.layout.passwords
    assert len(set(passwords.values())) == len(passwords)
    private = (lab.layout.clouds_file, lab.state_dir / "secrets.json", lab.layout.etc / "heat.conf")
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(password in json.dumps(lab.info) for password in passwords.values())
