# SPDX-License-Identifier: Apache-2.0
"""`openstack alarm …`: every subcommand of aodhclient, unchanged, as a user of the lab runs it."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.service.lab.parts import ServerProcess
from tests.service.lab.peers.command import OpenStack, environment
from tests.service.waiting import until

pytestmark = pytest.mark.lab

RESOURCE = "2e67b5f0-1c5e-4a8e-9d6e-0a9c8f6f2d11"
METRICS = ["41869681-5776-46d6-91ed-cccc43b6e4e3", "a1fb80f4-c242-4f57-87c6-68f47521059e"]
POOL = "2177ccd8-b09c-417a-89a0-e8d2419be612"
STACK = "1b974012-ebcb-4888-8ae2-47714d4d2c4d"
GROUP = "681c9266-61d2-4c9a-ad18-526807f6adc0"
COMPOSITE = {
    "or": [
        {
            "type": "threshold",
            "meter_name": "cpu_util",
            "threshold": 90.0,
            "comparison_operator": "gt",
        },
        {
            "type": "prometheus",
            "query": "node_load1",
            "threshold": 4.0,
            "comparison_operator": "gt",
        },
    ]
}
COMMON = ["--comparison-operator", "gt", "--threshold", "5", "--evaluation-periods", "3"]
GNOCCHI = [*COMMON, "--aggregation-method", "mean", "--granularity", "60"]
SHOWN = {"comparison_operator": "gt", "threshold": 5.0, "evaluation_periods": 3}
SHOWN_GNOCCHI = {**SHOWN, "aggregation_method": "mean", "granularity": 60}
TYPES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "threshold": (
        [
            *("--meter-name", "cpu_util", "--period", "60", "--statistic", "max", *COMMON),
            *("--query", "metadata.user_metadata.server_group=string::web;resource_id!=x"),
        ],
        {
            **SHOWN,
            "meter_name": "cpu_util",
            "period": 60,
            "statistic": "max",
            "query": "metadata.user_metadata.server_group = web AND\nresource_id != x",
        },
    ),
    "event": (
        [
            *("--event-type", "compute.instance.*"),
            *("--query", "traits.state=string::error;traits.memory>=integer::64"),
        ],
        {
            "event_type": "compute.instance.*",
            "query": "traits.state = error AND\ntraits.memory >= 64",
        },
    ),
    "prometheus": (
        ["--query", "node_load1", "--comparison-operator", "gt", "--threshold", "5"],
        {"query": "node_load1", "comparison_operator": "gt", "threshold": 5.0},
    ),
    "gnocchi_resources_threshold": (
        ["--metric", "cpu", "--resource-type", "instance", "--resource-id", RESOURCE, *GNOCCHI],
        {
            **SHOWN_GNOCCHI,
            "metric": "cpu",
            "resource_type": "instance",
            "resource_id": RESOURCE,
        },
    ),
    "gnocchi_aggregation_by_metrics_threshold": (
        ["--metric", METRICS[0], "--metric", METRICS[1], *GNOCCHI],
        {**SHOWN_GNOCCHI, "metrics": METRICS},
    ),
    "gnocchi_aggregation_by_resources_threshold": (
        [
            *("--metric", "cpu", "--resource-type", "instance", *GNOCCHI),
            *("--query", '{"=": {"server_group": "web"}}'),
        ],
        {
            **SHOWN_GNOCCHI,
            "metric": "cpu",
            "resource_type": "instance",
            "query": '{"=": {"server_group": "web"}}',
        },
    ),
    "composite": (["--composite-rule", json.dumps(COMPOSITE)], {}),
    "loadbalancer_member_health": (
        ["--pool-id", POOL, "--stack-id", STACK, "--autoscaling-group-id", GROUP],
        {"pool_id": POOL, "stack_id": STACK, "autoscaling_group_id": GROUP},
    ),
}
EVALUATED = {"state", "state_reason", "state_timestamp", "evaluate_timestamp", "timestamp"}
"""What changes of an alarm when it is judged or edited."""
EVENT = ["--type", "event", "--event-type", "compute.instance.*"]


@pytest.fixture(scope="module")
def openstack(lab: Lab, server: ServerProcess) -> Iterator[OpenStack]:  # noqa: ARG001
    openstack = OpenStack(lab)
    yield openstack
    openstack.close()


@pytest.fixture
def name() -> str:
    """Give a name that no other alarm has."""
    return f"alarm-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def create(openstack: OpenStack, name: str) -> Iterator[Any]:
    """Create event alarms of this name, which are deleted at the end."""
    made: list[tuple[str, str]] = []

    def create(*options: str, suffix: str = "", cloud: str = "demo") -> Any:
        alarm = openstack.json(
            "alarm", "create", "--name", name + suffix, *(options or EVENT), cloud=cloud
        )
        made.append((alarm["alarm_id"], cloud))
        return alarm

    yield create
    for alarm_id, cloud in made:
        openstack.run("alarm", "delete", alarm_id, cloud=cloud)


def send(lab: Lab, *, meter: str, project_id: str) -> None:
    """Send samples of 9 that were measured in the last 20 s."""
    now = time.time()
    samples = [
        {
            "name": meter,
            "type": "gauge",
            "unit": "1",
            "volume": 9.0,
            "resource_id": RESOURCE,
            "project_id": project_id,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - age_s)),
        }
        for age_s in (20, 10, 0)
    ]
    lab.cloud("thermostat").session.post(
        "/v2/samples", json=samples, endpoint_filter={"service_type": "metering"}
    )


def defined(alarm: dict[str, Any]) -> dict[str, Any]:
    """Give what a user has said of an alarm."""
    return {key: value for key, value in alarm.items() if key not in EVALUATED}


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


def test_the_command_itself(lab, server):  # noqa: ARG001
    """Once as a process of its own, as a user starts it: the table, and the exit status."""
    command = [Path(sys.executable).with_name("openstack"), "--os-cloud", "demo", "alarm"]
    done = subprocess.run(
        [*command, "list", "--filter", "name=there-is-none"],
        env=environment(lab),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


class TestCreateAndShow:
    @pytest.mark.parametrize("kind", TYPES)
    def test_each_type_with_its_options(self, openstack, create, name, kind):
        options, shown = TYPES[kind]
        alarm = create("--type", kind, *options)
        assert (alarm["name"], alarm["type"], alarm["enabled"]) == (name, kind, True)
        assert (alarm["state"], alarm["state_reason"]) == ("insufficient data", "Not evaluated yet")
        assert {key: alarm[key] for key in shown} == shown
        if kind == "composite":
            (rules,) = json.loads(alarm["composite_rule"]).values()
            for rule, wanted in zip(rules, COMPOSITE["or"], strict=True):
                assert wanted.items() <= rule.items()
        for words in ([alarm["alarm_id"]], [name], ["--name", name]):
            assert defined(openstack.json("alarm", "show", *words)) == defined(alarm)

    def test_every_common_option(self, create):
        alarm = create(
            *EVENT,
            *("--description", "in words", "--severity", "critical", "--enabled", "False"),
            *("--state", "ok", "--repeat-actions", "True"),
            *("--alarm-action", "http://example.org/a", "--alarm-action", "http://example.org/b"),
            *("--ok-action", "https://example.org/ok"),
            *("--insufficient-data-action", "http://example.org/none"),
            "--time-constraint",
            "name=night;start=0 23 * * *;duration=3600;description=quiet;timezone=Asia/Tokyo",
        )
        shown = {
            "description": "in words",
            "severity": "critical",
            "enabled": False,
            "state": "ok",
            "repeat_actions": True,
            "alarm_actions": ["http://example.org/a", "http://example.org/b"],
            "ok_actions": ["https://example.org/ok"],
            "insufficient_data_actions": ["http://example.org/none"],
        }
        assert {key: alarm[key] for key in shown} == shown
        assert json.loads(alarm["time_constraints"]) == [
            {
                "name": "night",
                "start": "0 23 * * *",
                "duration": 3600,
                "description": "quiet",
                "timezone": "Asia/Tokyo",
            }
        ]

    def test_two_alarms_of_one_name(self, openstack, create, name):
        create()
        create()
        said = openstack.refused("alarm", "show", name)
        assert f"Multiple alarms matches found for '{name}'" in said

    def test_one_that_is_not_there(self, openstack):
        missing = str(uuid.uuid4())
        for words in (("show", missing), ("show", "--name", "none"), ("delete", missing)):
            assert "not found" in openstack.refused("alarm", *words).lower()

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            (["--time-constraint", "name=n;start=often;duration=1"], "time_constraints[0].start"),
            (["--alarm-action", "gopher://example.org/"], "alarm_actions"),
            (["--query", "traits.n>=integer::many"], "event_rule.query[0]"),
        ],
    )
    def test_a_refusal_names_the_field(self, openstack, name, options, field):
        said = openstack.refused("alarm", "create", "--name", name, *EVENT, *options)
        assert "Invalid input for field/attribute" in said
        assert field in said
        assert "(HTTP 400)" in said

    def test_for_another_project_only_as_administrator(self, openstack, create):
        options = [*EVENT, "--project-id", uuid.uuid4().hex, "--user-id", uuid.uuid4().hex]
        said = openstack.refused("alarm", "create", "--name", "x", *options)
        assert "HTTP 40" in said
        alarm = create(*options, cloud="admin")
        assert alarm["project_id"] == options[-3]


class TestUpdate:
    @pytest.mark.parametrize("kind", TYPES)
    def test_each_type_as_it_was_but_for_a_name(self, openstack, create, name, kind):
        alarm = create("--type", kind, *TYPES[kind][0])
        options = ["--name", f"{name}-new"]
        if kind == "loadbalancer_member_health":  # aodhclient sends an empty rule without them
            options += TYPES[kind][0]
        changed = openstack.json("alarm", "update", alarm["alarm_id"], *options)
        assert defined(changed) == {**defined(alarm), "name": f"{name}-new"}

    @pytest.mark.parametrize(
        "kind", [kind for kind in TYPES if "threshold" in TYPES[kind][1] and kind != "event"]
    )
    def test_a_threshold_alone(self, openstack, create, kind):
        alarm = create("--type", kind, *TYPES[kind][0])
        changed = openstack.json("alarm", "update", alarm["alarm_id"], "--threshold", "7.5")
        assert changed["threshold"] == 7.5
        assert changed["comparison_operator"] == "gt"

    def test_to_another_type(self, openstack, create):
        alarm = create()
        kind = "gnocchi_resources_threshold"
        options, shown = TYPES[kind]
        changed = openstack.json("alarm", "update", alarm["alarm_id"], "--type", kind, *options)
        assert changed["type"] == kind
        assert {key: changed[key] for key in shown} == shown

    def test_by_name_and_back_to_nothing(self, openstack, create, name):
        create(*EVENT, "--alarm-action", "http://example.org/a", "--severity", "critical")
        changed = openstack.json("alarm", "update", name, "--enabled", "False")
        assert (changed["enabled"], changed["severity"]) == (False, "critical")
        assert changed["alarm_actions"] == ["http://example.org/a"]
        # An empty option is sent as null.
        assert openstack.json("alarm", "update", name, "--alarm-action", "")["alarm_actions"] == []


class TestList:
    @pytest.fixture
    def three(self, create, name):
        """Give three alarms, their names in the order of creation."""
        create(*EVENT, "--severity", "critical", suffix="-b")
        create(*EVENT, "--state", "ok", "--enabled", "False", suffix="-a")
        create("--type", "threshold", *TYPES["threshold"][0], "--severity", "critical", suffix="-c")
        return [f"{name}-b", f"{name}-a", f"{name}-c"]

    def test_columns_and_formats(self, openstack, create, name):
        alarm = create()
        table = openstack("alarm", "list")
        assert "| alarm_id " in table
        assert f"| {name} " in table
        columns = ["alarm_id", "type", "name", "state", "severity", "enabled"]
        (row,) = (row for row in openstack.json("alarm", "list") if row["name"] == name)
        assert row == {column: alarm[column] for column in columns}
        line = openstack("alarm", "list", "-f", "value", "-c", "name", "-c", "state")
        assert f"{name} insufficient data" in line.splitlines()

    def test_sort_limit_marker(self, openstack, three):
        def listed(*options):
            return names(openstack.json("alarm", "list", *options))

        assert listed()[:3] == three[::-1]  # the newest first
        in_order = [name for name in listed("--sort", "name:asc") if name in three]
        assert in_order == sorted(three)
        assert [one for one in listed("--sort", "name:desc") if one in three] == in_order[::-1]
        several = listed("--sort", "severity:asc", "--sort", "name:desc")
        assert [name for name in several if name in three] == [three[1], three[2], three[0]]
        assert listed("--limit", "2") == three[::-1][:2]
        (first,) = openstack.json("alarm", "list", "--limit", "1")
        assert listed("--limit", "2", "--marker", first["alarm_id"]) == [three[1], three[0]]
        assert "sort" in openstack.refused("alarm", "list", "--sort", "colour:asc")
        assert "marker" in openstack.refused("alarm", "list", "--marker", str(uuid.uuid4()))

    def test_filters(self, openstack, three):
        def listed(*filters):
            options = [word for one in filters for word in ("--filter", one)]
            return set(names(openstack.json("alarm", "list", *options)))

        assert listed(f"name={three[0]}") == {three[0]}
        assert listed("type=threshold") & {*three} == {three[2]}
        assert listed("state=ok") & {*three} == {three[1]}
        assert listed("enabled=false") & {*three} == {three[1]}
        assert listed("severity=critical", "type=event") & {*three} == {three[0]}
        said = openstack.refused("alarm", "list", "--filter", "colour=red")
        assert "colour" in said
        assert "HTTP 400" in said

    def test_the_query_language(self, openstack, three):
        def found(query):
            return set(names(openstack.json("alarm", "list", "--query", query))) & {*three}

        assert found("type=threshold") == {three[2]}
        assert found("type!=threshold") == {three[0], three[1]}
        assert found("state=ok or type=threshold") == {three[1], three[2]}
        assert found("severity=critical and not type=threshold") == {three[0]}
        assert found('state="insufficient data" and enabled=true') == {three[0], three[2]}
        assert found(f'name="{three[1]}"') == {three[1]}
        assert "HTTP 400" in openstack.refused("alarm", "list", "--query", "colour=red")

    def test_each_project_sees_its_own(self, openstack, create):
        mine, other = create(), create(suffix="-other", cloud="other")

        def listed(*options, cloud):
            return {
                row["alarm_id"] for row in openstack.json("alarm", "list", *options, cloud=cloud)
            }

        both = {mine["alarm_id"], other["alarm_id"]}
        assert listed(cloud="demo") & both == {mine["alarm_id"]}
        assert listed(cloud="other") & both == {other["alarm_id"]}
        assert listed(cloud="admin") & both == set()
        everywhere = ("--filter", "all_projects=true")
        assert listed(*everywhere, cloud="admin") & both == both
        assert "HTTP 403" in openstack.refused("alarm", "list", *everywhere)
        assert "not found" in openstack.refused("alarm", "show", other["alarm_id"]).lower()


class TestStateAndHistory:
    def test_state(self, openstack, create, name):
        alarm_id = create()["alarm_id"]
        assert openstack.json("alarm", "state", "get", alarm_id) == {"state": "insufficient data"}
        assert openstack.json("alarm", "state", "set", alarm_id, "--state", "alarm") == {
            "state": "alarm"
        }
        assert openstack.json("alarm", "state", "get", "--name", name) == {"state": "alarm"}
        assert openstack.json("alarm", "state", "set", name, "--state", "ok") == {"state": "ok"}
        shown = openstack.json("alarm", "show", alarm_id)
        assert shown["state_reason"] == "Manually set via API"

    def test_history_of_one(self, openstack, create):
        alarm_id = create()["alarm_id"]
        openstack("alarm", "state", "set", alarm_id, "--state", "alarm")
        openstack("alarm", "update", alarm_id, "--severity", "critical")

        def shown(*options):
            return openstack.json("alarm-history", "show", alarm_id, *options)

        rows = shown()
        assert set(rows[0]) == {"timestamp", "type", "detail", "event_id"}
        assert [row["type"] for row in rows] == ["rule change", "state transition", "creation"]
        assert json.loads(rows[1]["detail"]) == {
            "state": "alarm",
            "transition_reason": "Manually set via API",
        }
        assert json.loads(rows[0]["detail"]) == {"severity": "critical"}
        assert shown("--limit", "1") == rows[:1]
        assert shown("--marker", rows[0]["event_id"]) == rows[1:]
        assert shown("--sort", "timestamp:asc") == rows[::-1]

    def test_history_of_all(self, openstack, create):
        alarm_id = create()["alarm_id"]
        openstack("alarm", "state", "set", alarm_id, "--state", "alarm")
        everything = openstack.json("alarm-history", "search")
        assert [row["type"] for row in everything if row["alarm_id"] == alarm_id] == [
            "state transition",
            "creation",
        ]
        assert set(everything[0]) == {"alarm_id", "timestamp", "type", "detail"}
        query = f'alarm_id="{alarm_id}" and type="creation"'
        (row,) = openstack.json("alarm-history", "search", "--query", query)
        assert (row["alarm_id"], row["type"]) == (alarm_id, "creation")
        theirs = openstack.json("alarm-history", "search", cloud="other")
        assert alarm_id not in {row["alarm_id"] for row in theirs}

    def test_a_deleted_alarm(self, openstack, create, name):
        alarm_id = create()["alarm_id"]
        assert openstack("alarm", "delete", "--name", name) == ""
        assert "not found" in openstack.refused("alarm", "show", alarm_id).lower()
        assert "not found" in openstack.refused("alarm-history", "show", alarm_id).lower()


class TestTheRest:
    def test_quotas(self, openstack, create, name):
        project = create(cloud="other")["project_id"]
        assert openstack.json("alarm", "quota", "show", cloud="other") == {"alarms": -1}
        assert "HTTP 403" in openstack.refused("alarm", "quota", "set", project, "--alarm", "9")
        assert openstack.json(
            *("alarm", "quota", "set", project, "--alarm", "1"), cloud="admin"
        ) == {"alarms": 1}
        try:
            assert openstack.json("alarm", "quota", "show", cloud="other") == {"alarms": 1}
            said = openstack.refused("alarm", "create", "--name", name, *EVENT, cloud="other")
            assert "HTTP 403" in said
            shown = openstack.json(*("alarm", "quota", "show", "--project", project), cloud="admin")
            assert shown == {"alarms": 1}
        finally:
            openstack(*("alarm", "quota", "set", project, "--alarm", "-1"), cloud="admin")

    def test_capabilities(self, openstack):
        shown = openstack.json("alarming", "capabilities", "list")
        assert shown["alarm_storage"] == {"storage:production_ready": True}
        for name in ("alarms:query:simple", "alarms:history:query:complex", "alarms:preview"):
            assert shown["api"][name] is True

    def test_metrics(self, lab, openstack, create, name):
        options = ["--meter-name", name, "--threshold", "5", "--comparison-operator", "gt"]
        alarm = create("--type", "threshold", *options, "--period", "10")

        def is_alarm() -> bool:
            send(lab, meter=name, project_id=alarm["project_id"])
            state = openstack.json("alarm", "state", "get", alarm["alarm_id"])
            return bool(state == {"state": "alarm"})

        until(is_alarm, "the alarm")
        counts = {
            row["labels"]: row["value"]
            for row in openstack.json("alarm", "metrics")
            if alarm["alarm_id"] in row["labels"] and row["name"] == "evaluation_result"
        }
        assert [count for labels, count in counts.items() if "{alarm}" in labels] == [1]
