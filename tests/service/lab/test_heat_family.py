# SPDX-License-Identifier: Apache-2.0
"""The Heat family on the lab's real Heat: every template of the documents, and a group's policy."""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.service.lab.deployment import install_plugin, running_server
from tests.service.lab.stacks import Tenant, outputs

pytestmark = pytest.mark.lab

TEMPLATES = Path(__file__).parents[3] / "docs" / "templates"
TIMEOUT_S = 180.0


@pytest.fixture(scope="module")
def url(lab, tmp_path_factory):
    install_plugin(lab)
    with running_server(lab, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="module")
def tenant(lab, url):  # noqa: ARG001 - Heat finds the server in the catalogue
    tenant = Tenant(lab.cloud("demo"), trustee_id=lab.cloud("thermostat").current_user_id)
    yield tenant
    tenant.delete_all()


def group(max_size: int = 8, **policies: dict[str, Any]) -> dict[str, Any]:
    """Give a template with a group of light members and these policies."""
    group: dict[str, Any] = {
        "type": "OS::Heat::AutoScalingGroup",
        "properties": {
            "min_size": 1,
            "max_size": max_size,
            "resource": {"type": "OS::Heat::RandomString"},
        },
    }
    resources = {"group": group}
    for name, properties in policies.items():
        resources[name] = {
            "type": "OS::Metering::ScalingPolicy",
            "properties": {
                "auto_scaling_group_id": {"get_resource": "group"},
                "adjustment_type": "change_in_capacity",
                **properties,
            },
        }
    shown = {
        f"{name}_{attribute}": {"value": {"get_attr": [name, attribute]}}
        for name in policies
        for attribute in ("alarm_url", "activities")
    }
    return {
        "heat_template_version": "2018-08-31",
        "resources": resources,
        "outputs": {"size": {"value": {"get_attr": ["group", "current_size"]}}, **shown},
    }


def signal(url: str, value: float = 90.0, **details: Any) -> int:
    """Call a policy as an alarm with threshold 50 does."""
    data = {"most_recent": value, "threshold": 50.0, "comparison_operator": "gt"}
    body = {"current": "alarm", "previous": "ok", "reason": "busy", "reason_data": data, **details}
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.status)


def wait_for(tenant: Tenant, stack: Any, true: Any) -> dict[str, Any]:
    deadline = time.monotonic() + TIMEOUT_S
    while not true(seen := outputs(tenant.heat.get_stack(stack.id))):
        assert time.monotonic() < deadline, seen
        time.sleep(0.3)
    return seen


def codes(seen: dict[str, Any], policy: str) -> list[str]:
    return [one["code"] for one in seen[f"{policy}_activities"]]


class TestTemplates:
    """Those that the loop's tests do not create."""

    @pytest.mark.parametrize(
        ("name", "kinds"),
        [
            (
                "weekdays.yaml",
                {
                    "busy_on_weekday": "threshold",
                    "busy_on_weekend": "threshold",
                    "idle": "threshold",
                },
            ),
            ("cpu-and-memory.yaml", {"maintenance": "threshold", "short": "composite"}),
            ("steps.yaml", {"busy": "threshold", "idle": "threshold"}),
        ],
    )
    def test_is_created(self, tenant, name, kinds):
        template = (TEMPLATES / name).read_text()
        stack = tenant.create(template, image="tiny", flavor="tiny", min_size=0)
        alarms = tenant.alarms(stack)
        assert {name: alarm["type"] for name, alarm in alarms.items()} == kinds
        actions = [alarm["alarm_actions"] for alarm in alarms.values() if alarm["alarm_actions"]]
        assert all("resources" in url and "Signature=" in url for (url,) in actions)
        if name == "weekdays.yaml":
            (span,) = alarms["busy_on_weekend"]["time_constraints"]
            assert span["start"] == "0 0 * * sat,sun"
        if name == "cpu-and-memory.yaml":
            suppressor = alarms["short"]["composite_rule"]["suppressor"]
            assert suppressor == alarms["maintenance"]["alarm_id"]

    def test_of_2014_with_its_names_of_old(self, tenant):
        threshold = {"meter_name": "cpu_util", "threshold": "50", "comparison_operator": "gt"}
        template = {
            "heat_template_version": "2013-05-23",
            "resources": {
                "high": {"type": "OS::Ceilometer::Alarm", "properties": threshold},
                "low": {
                    "type": "OS::Ceilometer::Alarm",
                    "properties": {**threshold, "comparison_operator": "lt"},
                },
                "both": {
                    "type": "OS::Ceilometer::CombinationAlarm",
                    "properties": {
                        "alarm_ids": [{"get_resource": "high"}, {"get_resource": "low"}],
                        "operator": "or",
                    },
                },
            },
        }
        stack = tenant.create(template)
        alarms = tenant.alarms(stack)
        ids = [alarms["high"]["alarm_id"], alarms["low"]["alarm_id"]]
        assert alarms["both"]["combination_rule"] == {"alarm_ids": ids, "operator": "or"}


class TestPolicy:
    def test_the_size_follows_the_breach(self, tenant):
        steps = [
            {"lower_bound": 0, "upper_bound": 20, "scaling_adjustment": 1},
            {"lower_bound": 20, "scaling_adjustment": 3},
        ]
        stack = tenant.create(group(up={"step_adjustments": steps}))
        up = outputs(stack)["up_alarm_url"]
        assert signal(up, 55.0) == 200
        wait_for(tenant, stack, lambda seen: int(seen["size"]) == 2)
        assert signal(up, 95.0) == 200
        seen = wait_for(tenant, stack, lambda seen: int(seen["size"]) == 5)
        assert codes(seen, "up")[0] == "scaled"

    def test_a_signal_to_a_busy_group_is_taken_up_later(self, tenant):
        """Heat's own policy drops it, and says nothing."""
        stack = tenant.create(
            group(up={"scaling_adjustment": 1, "cooldown": 8}, down={"scaling_adjustment": -1})
        )
        urls = outputs(stack)
        for _ in range(4):
            assert signal(urls["up_alarm_url"]) == 200
        seen = wait_for(
            tenant,
            stack,
            lambda seen: int(seen["size"]) == 3 and codes(seen, "up")[0] == "scaled",
        )
        told = codes(seen, "up")
        assert "waiting" in told, "the second one came while the group grew or cooled down"
        assert told.count("scaled") == 2, "those that waited are one step"
        assert signal(urls["down_alarm_url"]) == 200
        began = time.monotonic()
        wait_for(tenant, stack, lambda seen: int(seen["size"]) == 2)
        assert time.monotonic() - began < 60, "shrinking does not wait for growing to cool down"

    def test_a_signal_that_is_not_true_any_more_is_not_taken_up(self, tenant):
        template = group(up={"scaling_adjustment": 1, "cooldown": 4})
        template["resources"]["alarm"] = {
            "type": "OS::Metering::Alarm",
            "properties": {"meter_name": "nothing", "threshold": 1},
        }
        template["outputs"]["alarm"] = {"value": {"get_resource": "alarm"}}
        stack = tenant.create(template)
        seen = outputs(stack)
        assert signal(seen["up_alarm_url"]) == 200
        wait_for(tenant, stack, lambda seen: int(seen["size"]) == 2)
        assert signal(seen["up_alarm_url"], alarm_id=seen["alarm"]) == 200
        told = wait_for(tenant, stack, lambda seen: codes(seen, "up")[0] == "obsolete")
        assert int(told["size"]) == 2
        assert told["up_activities"][0]["reason"] == (
            "the alarm was alarm and is insufficient data"
        )

    def test_at_its_largest_the_reason_is_said(self, tenant):
        stack = tenant.create(
            group(3, up={"adjustment_type": "exact_capacity", "scaling_adjustment": 50})
        )
        up = outputs(stack)["up_alarm_url"]
        signal(up)
        wait_for(tenant, stack, lambda seen: int(seen["size"]) == 3)
        signal(up)
        seen = wait_for(tenant, stack, lambda seen: codes(seen, "up")[0] == "at_bound")
        assert seen["up_activities"][0]["reason"] == "group group has its largest size, 3"
        events = tenant.heat.get(f"/stacks/{stack.name}/{stack.id}/resources/up/events").json()
        reasons = [event["resource_status_reason"] for event in events["events"]]
        assert "Signal: group group has its largest size, 3" in reasons
