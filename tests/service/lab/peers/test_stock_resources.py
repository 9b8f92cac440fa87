# SPDX-License-Identifier: Apache-2.0
"""Heat's own `OS::Aodh::*` resources, unchanged, in the lab's real Heat against our server."""

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import Lab
from tests.service.lab.parts import ServerProcess
from tests.service.lab.stacks import Tenant, outputs
from tests.service.waiting import until

pytestmark = pytest.mark.lab

RESOURCE = "2e67b5f0-1c5e-4a8e-9d6e-0a9c8f6f2d11"
METRICS = ["41869681-5776-46d6-91ed-cccc43b6e4e3", "a1fb80f4-c242-4f57-87c6-68f47521059e"]
GNOCCHI = {
    "comparison_operator": "gt",
    "evaluation_periods": 2,
    "granularity": 60,
    "aggregation_method": "mean",
    "threshold": 5.0,
}
THRESHOLD = {
    "type": "threshold",
    "meter_name": "cpu_util",
    "statistic": "avg",
    "comparison_operator": "gt",
    "threshold": 70.0,
    "period": 10,
    "evaluation_periods": 1,
    "query": [
        {"field": "metadata.user_metadata.server_group", "op": "eq", "value": "stock"},
    ],
}
PROMETHEUS = {
    "type": "prometheus",
    "query": "node_load1",
    "comparison_operator": "gt",
    "threshold": 4.0,
}
ALARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "resources": (
        "OS::Aodh::GnocchiResourcesAlarm",
        {"metric": "cpu", "resource_id": RESOURCE, "resource_type": "instance", **GNOCCHI},
    ),
    # Heat sends null for what a template leaves out.
    "metrics": (
        "OS::Aodh::GnocchiAggregationByMetricsAlarm",
        {"metrics": METRICS, "aggregation_method": "mean", "threshold": 5.0},
    ),
    "aggregation": (
        "OS::Aodh::GnocchiAggregationByResourcesAlarm",
        {
            "metric": "cpu",
            "query": '{"=": {"server_group": "stock"}}',
            "resource_type": "instance",
            **GNOCCHI,
            "aggregation_method": "rate:mean",
        },
    ),
    "composite": (
        "OS::Aodh::CompositeAlarm",
        {"composite_rule": {"operator": "or", "rules": [THRESHOLD, PROMETHEUS]}},
    ),
    "event": (
        "OS::Aodh::EventAlarm",
        {
            "event_type": "compute.instance.update",
            "query": [
                {"field": "traits.state", "type": "string", "op": "eq", "value": "error"},
            ],
        },
    ),
    "prometheus": (
        "OS::Aodh::PrometheusAlarm",
        {"query": "node_load1", "comparison_operator": "ge", "threshold": 8},
    ),
    # Heat calls it non-functional, since Aodh has dropped the type behind it. Here it works.
    "threshold": (
        "OS::Aodh::Alarm",
        {
            "meter_name": "cpu_util",
            "threshold": 70,
            "comparison_operator": "gt",
            "period": 60,
            "evaluation_periods": 3,
            "statistic": "avg",
            "matching_metadata": {"metadata.user_metadata.server_group": "stock"},
        },
    ),
}


def template() -> dict[str, Any]:
    """Give a template with a scaling policy and an alarm of each type that signals it."""
    url = {"list_join": ["", ["trust+", {"get_attr": ["up", "signal_url"]}]]}
    resources: dict[str, Any] = {
        "group": {
            "type": "OS::Heat::AutoScalingGroup",
            "properties": {
                "min_size": 1,
                "max_size": 2,
                "resource": {"type": "OS::Heat::TestResource"},
            },
        },
        "up": {
            "type": "OS::Heat::ScalingPolicy",
            "properties": {
                "auto_scaling_group_id": {"get_resource": "group"},
                "adjustment_type": "change_in_capacity",
                "scaling_adjustment": 1,
            },
        },
    }
    shown: dict[str, Any] = {"size": {"value": {"get_attr": ["group", "current_size"]}}}
    for name, (kind, properties) in ALARMS.items():
        resources[name] = {
            "type": kind,
            "properties": {
                "description": f"{name} of a stack",
                "severity": "moderate",
                "alarm_actions": [url],
                "ok_actions": ["http://127.0.0.1:9/ok"],
                "time_constraints": [
                    {"name": "always", "start": "* * * * *", "duration": 3600, "timezone": "UTC"}
                ],
                **copy.deepcopy(properties),
            },
        }
        shown[name] = {"value": {"get_attr": [name, "show"]}}
    return {"heat_template_version": "2018-08-31", "resources": resources, "outputs": shown}


def rule(alarm: dict[str, Any]) -> Any:
    """Give an alarm's rule."""
    return alarm[f"{alarm['type']}_rule"]


@pytest.fixture(scope="module")
def tenant(lab: Lab, server: ServerProcess) -> Iterator[Tenant]:  # noqa: ARG001 - Heat calls it
    tenant = Tenant(lab.cloud("demo"), trustee_id=lab.cloud("thermostat").current_user_id)
    yield tenant
    tenant.delete_all()


@pytest.fixture(scope="module")
def earlier_trusts(tenant: Tenant) -> set[str]:
    """Give the trusts that there were before the stack."""
    return tenant.trusts()


@pytest.fixture(scope="module")
def stack(tenant: Tenant, earlier_trusts: set[str]) -> Any:  # noqa: ARG001 - they come first
    return tenant.create(template())


def test_all_are_created_as_the_template_says(tenant, stack):
    alarms = tenant.alarms(stack)
    assert set(alarms) == set(ALARMS)
    for name, alarm in alarms.items():
        assert (alarm["description"], alarm["severity"]) == (f"{name} of a stack", "moderate")
        assert (alarm["enabled"], alarm["repeat_actions"]) == (True, True)  # Heat's defaults
        assert alarm["time_constraints"][0]["start"] == "* * * * *"
        assert alarm["ok_actions"] == ["http://127.0.0.1:9/ok"]
        (signal_url,) = alarm["alarm_actions"]
        assert signal_url.startswith("trust+http://")
        assert "@" not in signal_url  # Aodh's place for the trust's id
    for name in ("resources", "metrics", "aggregation", "prometheus"):
        wanted = ALARMS[name][1]
        assert {key: rule(alarms[name])[key] for key in wanted} == wanted
    defaults = {"comparison_operator": "eq", "evaluation_periods": 1, "granularity": 60}
    assert defaults.items() <= rule(alarms["metrics"]).items()
    either, (first, second) = next(iter(rule(alarms["composite"]).items()))
    assert either == "or"
    assert THRESHOLD.items() <= first.items()
    assert PROMETHEUS.items() <= second.items()
    assert rule(alarms["event"])["event_type"] == "compute.instance.update"
    assert rule(alarms["event"])["query"] == ALARMS["event"][1]["query"]
    assert rule(alarms["threshold"])["query"] == [
        {"field": "metadata.user_metadata.server_group", "op": "eq", "value": "stock"}
    ]


def test_each_alarm_has_a_trust_of_its_own(tenant, stack, earlier_trusts):
    assert len(tenant.trusts() - earlier_trusts) == len(tenant.alarms(stack))


def test_the_attribute_show_is_the_alarm(tenant, stack):
    alarms = tenant.alarms(stack)
    shown = outputs(tenant.heat.get_stack(stack.id))
    for name in ALARMS:
        assert shown[name]["alarm_id"] == alarms[name]["alarm_id"]
        assert rule(shown[name]) == rule(alarms[name])


def test_check_suspend_resume(tenant, stack):
    before = tenant.alarms(stack)
    tenant.act(stack, "check")
    tenant.act(stack, "suspend")
    suspended = tenant.alarms(stack)
    assert {alarm["enabled"] for alarm in suspended.values()} == {False}
    tenant.act(stack, "resume")
    resumed = tenant.alarms(stack)
    assert {alarm["enabled"] for alarm in resumed.values()} == {True}
    for name, alarm in before.items():
        assert rule(resumed[name]) == rule(suspended[name]) == rule(alarm)
        assert resumed[name]["alarm_actions"] == alarm["alarm_actions"]


def test_the_trust_action_makes_the_group_grow(lab, tenant, stack):
    assert outputs(stack)["size"] == 1
    services = lab.cloud("thermostat").session

    def hot() -> bool:
        """Report a hot server, as it was in the last 20 s, and tell whether the group has grown."""
        now = time.time()
        samples = [
            {
                "name": "cpu_util",
                "type": "gauge",
                "unit": "%",
                "volume": 95.0,
                "resource_id": RESOURCE,
                "project_id": tenant.cloud.current_project_id,
                "user_id": None,
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - age)),
                "resource_metadata": {"user_metadata": {"server_group": "stock"}},
            }
            for age in (20, 10, 0)
        ]
        services.post("/v2/samples", json=samples, endpoint_filter={"service_type": "metering"})
        found = tenant.heat.get_stack(stack.id)
        return bool(outputs(found)["size"] == 2)

    until(hot, "growth")
    assert outputs(tenant.heat.get_stack(stack.id))["composite"]["state"] == "alarm"


def test_an_update_changes_the_alarms_in_place(tenant, stack):
    before = tenant.alarms(stack)
    changed = template()
    for name, resource in changed["resources"].items():
        if name in ALARMS:
            resource["properties"] |= {"description": "other words", "repeat_actions": False}
    properties = {name: changed["resources"][name]["properties"] for name in ALARMS}
    for name in ("resources", "metrics", "aggregation", "prometheus", "threshold"):
        properties[name]["threshold"] = 6.5
    properties["aggregation"]["query"] = '{"=": {"server_group": "other"}}'
    properties["event"]["event_type"] = "compute.instance.*"
    properties["composite"]["composite_rule"] = {
        "operator": "and",
        "rules": [THRESHOLD, {**PROMETHEUS, "threshold": 5.0}],
    }
    tenant.update(stack, changed)
    after = tenant.alarms(stack)
    for name, alarm in after.items():
        assert alarm["alarm_id"] == before[name]["alarm_id"]
        assert (alarm["description"], alarm["repeat_actions"]) == ("other words", False)
        if name != "composite":
            assert alarm["alarm_actions"] == before[name]["alarm_actions"]
    for name in ("resources", "metrics", "aggregation", "prometheus", "threshold"):
        assert rule(after[name])["threshold"] == 6.5
    assert json.loads(rule(after["aggregation"])["query"]) == {"=": {"server_group": "other"}}
    assert rule(after["event"])["event_type"] == "compute.instance.*"
    ((both, (_, second)),) = rule(after["composite"]).items()
    assert (both, second["threshold"]) == ("and", 5.0)
    # Heat sends what has changed, and with it no actions: so it does with Aodh too.
    assert after["composite"]["alarm_actions"] == []


def test_what_the_server_refuses_is_the_stacks_reason(tenant):
    kind, properties = ALARMS["event"]
    alarm = {"type": kind, "properties": {**properties, "alarm_actions": ["gopher://example.org/"]}}
    wrong = {"heat_template_version": "2018-08-31", "resources": {"alarm": alarm}}
    with pytest.raises(AssertionError, match=r"alarm_actions: Unsupported action .*gopher"):
        tenant.create(wrong)


def test_deletion_takes_alarms_and_trusts_away(tenant, stack, earlier_trusts):
    alarms = tenant.alarms(stack)
    tenant.delete(stack)
    for alarm in alarms.values():
        assert tenant.alarm(alarm["alarm_id"]).status_code == 404
    until(lambda: tenant.trusts() <= earlier_trusts, "the deletion of the trusts", 30)
