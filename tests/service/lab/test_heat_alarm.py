# SPDX-License-Identifier: Apache-2.0
"""OS::Metering::Alarm in the lab's real Heat, against the real server."""

import copy
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from openstack.exceptions import BadRequestException

from tests.service.lab.deployment import install_plugin, running_server
from tests.service.lab.stacks import Tenant, outputs

pytestmark = pytest.mark.lab

TEMPLATES = Path(__file__).parents[3] / "docs" / "templates"
LIGHT: dict[str, Any] = {
    "heat_template_version": "2018-08-31",
    "parameters": {"threshold": {"type": "number", "default": 50}},
    "resources": {
        "group": {
            "type": "OS::Heat::AutoScalingGroup",
            "properties": {
                "min_size": 1,
                "max_size": 2,
                "resource": {"type": "OS::Heat::TestResource"},
            },
        },
        "scale_up": {
            "type": "OS::Heat::ScalingPolicy",
            "properties": {
                "auto_scaling_group_id": {"get_resource": "group"},
                "adjustment_type": "change_in_capacity",
                "scaling_adjustment": 1,
            },
        },
        "busy": {
            "type": "OS::Metering::Alarm",
            "properties": {
                "meter_name": "cpu_util",
                "comparison_operator": "gt",
                "threshold": {"get_param": "threshold"},
                "matching_metadata": {"server_group": {"get_param": "OS::stack_name"}},
                "alarm_actions": ["scale_up"],
            },
        },
    },
    "outputs": {
        "id": {"value": {"get_resource": "busy"}},
        "state": {"value": {"get_attr": ["busy", "state"]}},
        "reason": {"value": {"get_attr": ["busy", "state_reason"]}},
        "size": {"value": {"get_attr": ["group", "current_size"]}},
    },
}


def signalled(urls: list[str]) -> list[str]:
    """What pre-signed URLs signal. Heat signs with a new key each time that it has none at hand."""
    return ["/".join(unquote(urlsplit(url).path).split("/")[-3:]) for url in urls]


def signal(url: str) -> int:
    """The status that a POST to a pre-signed URL is answered with."""
    # As JSON: the fields of a form would count to what was signed.
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=b"{}", headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def changed(**properties: Any) -> dict[str, Any]:
    """The light template with some of the alarm's properties changed."""
    template = copy.deepcopy(LIGHT)
    template["resources"]["busy"]["properties"].update(properties)
    return template


@pytest.fixture(scope="module")
def service(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    install_plugin(lab)
    with running_server(lab, tmp_path_factory.mktemp("server")):
        yield


@pytest.fixture(scope="module")
def tenant(lab: Any, service: None) -> Iterator[Tenant]:  # noqa: ARG001 - it is set up first
    tenant = Tenant(lab.cloud("demo"), trustee_id=lab.cloud("thermostat").current_user_id)
    yield tenant
    tenant.delete_all()


def test_the_talks_template(tenant):
    template = json.loads((TEMPLATES / "talk.template").read_text())
    stack = tenant.create(template, ImageId="tiny", InstanceType="tiny", HighThreshold="60")
    alarms = tenant.alarms(stack)
    assert set(alarms) == {"CPUAlarmHigh", "CPUAlarmLow"}
    high, low, said = alarms["CPUAlarmHigh"], alarms["CPUAlarmLow"], outputs(stack)
    assert high["type"] == "threshold"
    assert high["threshold_rule"]["threshold"] == 60
    assert high["threshold_rule"]["query"] == [
        {"field": "metadata.user_metadata.server_group", "op": "eq", "value": stack.name}
    ]
    assert signalled(high["alarm_actions"]) == [f"{stack.id}/resources/ScaleUpPolicy"]
    assert signalled(low["alarm_actions"]) == [f"{stack.id}/resources/ScaleDownPolicy"]
    assert said["CPUAlarmHighId"] == high["alarm_id"]
    assert said["CPUAlarmLowState"] in ("ok", "alarm", "insufficient data")
    (server,) = [
        server
        for server in tenant.cloud.compute.servers()
        if server.metadata.get("metering.server_group") == stack.name
    ]
    assert server.status == "ACTIVE"
    tenant.delete(stack)
    assert tenant.alarm(high["alarm_id"]).status_code == 404


def test_the_template_with_a_trust(tenant):
    before = tenant.trusts()
    stack = tenant.create(
        (TEMPLATES / "trust.yaml").read_text(), image="tiny", flavor="tiny", min_size=0
    )
    alarms = tenant.alarms(stack)
    assert set(alarms) == {"cpu_high", "cpu_low"}
    for alarm in alarms.values():
        (url,) = alarm["alarm_actions"]
        assert url.startswith("trust+http://")
        assert url.endswith("/signal")
        assert "@" not in url
    assert len(tenant.trusts() - before) == 2
    tenant.delete(stack)
    deadline = time.monotonic() + 30
    while tenant.trusts() - before:
        assert time.monotonic() < deadline, "the alarms' trusts are still there after 30 s"
        time.sleep(0.5)


def test_the_life_of_an_alarm(tenant):
    stack = tenant.create(LIGHT)
    alarm_id = outputs(stack)["id"]
    alarm = tenant.alarm(alarm_id).json()
    assert signalled(alarm["alarm_actions"]) == [f"{stack.id}/resources/scale_up"]
    assert outputs(stack)["state"] == alarm["state"]
    assert outputs(stack)["reason"] == alarm["state_reason"]

    tenant.act(stack, "suspend")
    suspended = tenant.alarm(alarm_id).json()
    assert suspended["enabled"] is False
    assert suspended["threshold_rule"] == alarm["threshold_rule"]
    tenant.act(stack, "resume")
    assert tenant.alarm(alarm_id).json()["enabled"] is True
    tenant.act(stack, "check")

    template = changed(
        description="Other words",
        meter_name="memory.util",
        statistic="max",
        evaluation_periods="3",
        severity="critical",
        repeat_actions="false",
        alarm_actions=["https://example.org/alarm"],
        ok_actions=["scale_up"],
    )
    stack = tenant.update(stack, template, threshold=70)
    updated = tenant.alarm(alarm_id).json()
    assert outputs(stack)["id"] == alarm_id
    assert updated["threshold_rule"]["threshold"] == 70
    assert updated["threshold_rule"]["meter_name"] == "memory.util"
    assert updated["threshold_rule"]["statistic"] == "max"
    assert updated["threshold_rule"]["evaluation_periods"] == 3
    assert updated["description"] == "Other words"
    assert (updated["severity"], updated["repeat_actions"]) == ("critical", False)
    assert updated["alarm_actions"] == ["https://example.org/alarm"]
    assert signalled(updated["ok_actions"]) == [f"{stack.id}/resources/scale_up"]

    tenant.delete(stack)
    assert tenant.alarm(alarm_id).status_code == 404


def test_the_alarms_url_makes_the_group_grow(tenant):
    stack = tenant.create(LIGHT)
    (url,) = tenant.alarm(outputs(stack)["id"]).json()["alarm_actions"]
    assert signal(url) == 200
    deadline = time.monotonic() + 60
    while outputs(tenant.heat.get_stack(stack.id))["size"] != 2:
        assert time.monotonic() < deadline, "the group has not grown in 60 s"
        time.sleep(0.5)


def test_a_replaced_policy_gives_the_alarm_its_new_url(tenant):
    stack = tenant.create(LIGHT)
    alarm_id = outputs(stack)["id"]
    (old,) = tenant.alarm(alarm_id).json()["alarm_actions"]
    template = copy.deepcopy(LIGHT)
    # Heat cannot change a policy's group in place, so it makes another policy.
    template["resources"]["group2"] = copy.deepcopy(template["resources"]["group"])
    policy = template["resources"]["scale_up"]["properties"]
    policy["auto_scaling_group_id"] = {"get_resource": "group2"}
    stack = tenant.update(stack, template)
    assert outputs(stack)["id"] == alarm_id
    (new,) = tenant.alarm(alarm_id).json()["alarm_actions"]
    assert new != old
    assert signal(new) == 200


def test_an_alarm_deleted_behind_heats_back(tenant):
    stack = tenant.create(LIGHT)
    alarm_id = outputs(stack)["id"]
    tenant.cloud.session.delete(
        f"/v2/alarms/{alarm_id}", endpoint_filter={"service_type": "alarming"}
    )
    stack = tenant.update(stack, LIGHT, threshold=70)
    assert outputs(stack)["id"] != alarm_id
    assert tenant.alarm(outputs(stack)["id"]).json()["threshold_rule"]["threshold"] == 70


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("comparison_operator", ">"),
        ("threshold", "half"),
        ("threshold", "nan"),
        ("period", "0"),
        ("evaluation_periods", "many"),
        ("statistic", "mode"),
        ("alarm_actions", ["scale_upp"]),
    ],
)
def test_a_wrong_value_is_refused_with_the_propertys_name(tenant, name, value):
    with pytest.raises(BadRequestException) as refused:
        tenant.create(changed(**{name: value}))
    assert f"resources.busy.properties.{name}" in str(refused.value)
    with pytest.raises(BadRequestException) as refused:
        tenant.heat.validate_template(changed(**{name: value}))
    assert f"resources.busy.properties.{name}" in str(refused.value)


def test_the_services_refusal_is_the_stacks_reason(tenant):
    with pytest.raises(AssertionError, match="gopher"):
        tenant.create(changed(alarm_actions=["gopher://example.org/"]))
