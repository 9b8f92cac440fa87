# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_network

import pytest

from tests.service.alarm_requests import ADMIN, ALARM, HOOK, RULE, fault, with_, with_rule
from tests.service.alarm_support import make_transition
from tests.service.unit.api.conftest import Api
from thermostat.api.app import create_api
from thermostat.notify.egress import Egress


class TestCreate:
    def test_minimal(self, api, services):
        answer = api("POST", "/v2/alarms", ALARM)
        assert answer.status_code == 201
        shown = answer.json
        assert answer.headers["location"].endswith(f"/v2/alarms/{shown['alarm_id']}")
        assert answer.headers["x-openstack-request-id"].startswith("req-")
        for field in ("timestamp", "state_timestamp"):
            assert datetime.fromisoformat(shown[field]).tzinfo is None
        assert services.alarm_changed == [shown["alarm_id"]]
        assert shown == {
            "alarm_id": shown["alarm_id"],
            "name": "busy",
            "type": "threshold",
            "description": "threshold alarm rule",
            "enabled": True,
            "severity": "low",
            "state": "insufficient data",
            "state_reason": "Not evaluated yet",
            "state_timestamp": shown["timestamp"],
            "timestamp": shown["timestamp"],
            "evaluate_timestamp": None,
            "ok_actions": [],
            "alarm_actions": [],
            "insufficient_data_actions": [],
            "repeat_actions": False,
            "time_constraints": [],
            "user_id": "alice",
            "project_id": "p1",
            "threshold_rule": {
                "meter_name": "cpu_util",
                "query": [],
                "period": 60,
                "statistic": "avg",
                "comparison_operator": "gt",
                "threshold": 70.0,
                "evaluation_periods": 1,
                "datapoints_to_alarm": None,
                "treat_missing_data": "missing",
                "exclude_outliers": False,
                "clear_threshold": None,
                "min_reporting_ratio": 0.0,
                "warm_up": 0,
            },
        }

    def test_everything_may_be_text_or_null(self, api):
        answer = api(
            "POST",
            "/v2/alarms",
            {
                "name": "busy",
                "type": "threshold",
                "description": None,
                "enabled": "false",
                "repeat_actions": "True",
                "evaluate_timestamp": None,
                "gnocchi_resources_threshold_rule": None,
                "threshold_rule": {
                    **RULE,
                    "threshold": "70.5",
                    "period": "300",
                    "evaluation_periods": "2",
                    "datapoints_to_alarm": None,
                    "query": [
                        {
                            "field": "metadata.user_metadata.server_group",
                            "value": "g",
                            "type": "string",
                            "op": "",
                        },
                        {"field": "metadata.vcpus", "op": "ge", "value": 2},
                    ],
                },
            },
        )
        assert answer.status_code == 201, answer.text
        shown = answer.json
        assert (shown["enabled"], shown["repeat_actions"]) == (False, True)
        rule = shown["threshold_rule"]
        assert (rule["threshold"], rule["period"], rule["evaluation_periods"]) == (70.5, 300, 2)
        assert rule["query"] == [
            {"field": "metadata.user_metadata.server_group", "op": "eq", "value": "g"},
            {"field": "metadata.vcpus", "op": "ge", "value": "2"},
        ]

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ({"time_constraints": None}, {"time_constraints": []}),
            ({"enabled": 0}, {"enabled": False}),
        ],
    )
    def test_what_upstreams_tests_leave_open(self, api, given, shown):
        """Two of the tests of telemetry-tempest-plugin that skip themselves are about these."""
        answer = api("POST", "/v2/alarms", with_(**given))
        assert answer.status_code == 201
        assert shown.items() <= answer.json.items()

    def test_null_in_a_time_constraint_means_the_default(self, api):
        """Heat sends null for each property that a template leaves out."""
        constraint = {"name": "n", "start": "0 8 * * *", "duration": 60}
        null = {**constraint, "description": None, "timezone": None}
        shown = [
            api("POST", "/v2/alarms", with_(time_constraints=[one])).json["time_constraints"]
            for one in (constraint, null)
        ]
        assert shown[0] == shown[1]

    @pytest.mark.parametrize(
        ("document", "field"),
        [
            ({}, "name"),
            (with_(name=""), "name"),
            (with_(name="x" * 256), "name"),
            (with_(name=5), "name"),
            (with_(name="a\0b"), "name"),
            (with_(description="\0"), "description"),
            (with_(type="cloud"), "type"),
            (with_(type="cloud_threshold"), "type"),
            (with_(severity="dire"), "severity"),
            (with_(state="fine"), "state"),
            (with_(enabled="perhaps"), "enabled"),
            (with_(colour="red"), "colour"),
            (with_(threshold_rule=None), "threshold_rule"),
            (with_(threshold_rule=[]), "threshold_rule"),
            (with_(composite_rule={}), "composite_rule"),
            (with_rule(threshold="much"), "threshold_rule.threshold"),
            (with_rule(threshold="nan"), "threshold_rule.threshold"),
            (with_rule(threshold="inf"), "threshold_rule.threshold"),
            (with_rule(threshold=None), "threshold_rule.threshold"),
            (with_rule(meter_name=""), "threshold_rule.meter_name"),
            (with_rule(comparison_operator="over"), "threshold_rule.comparison_operator"),
            (with_rule(statistic="mode"), "threshold_rule.statistic"),
            (with_rule(period=0), "threshold_rule.period"),
            (with_rule(period=1.5), "threshold_rule.period"),
            (with_rule(evaluation_periods=101), "threshold_rule.evaluation_periods"),
            (with_rule(datapoints_to_alarm=2), "threshold_rule.datapoints_to_alarm"),
            (with_rule(treat_missing_data="what"), "threshold_rule.treat_missing_data"),
            (with_rule(unknown=1), "threshold_rule.unknown"),
            (with_rule(query="x"), "threshold_rule.query"),
            (with_rule(query=[1]), "threshold_rule.query[0]"),
            (with_rule(query=[{"field": "colour", "value": "r"}]), "threshold_rule.query[0].field"),
            (
                with_rule(query=[{"field": "resource_id", "op": "like", "value": "r"}]),
                "threshold_rule.query[0].op",
            ),
            (with_rule(query=[{"field": "resource_id"}]), "threshold_rule.query[0].value"),
            (with_(alarm_actions="http://x.example"), "alarm_actions"),
            (with_(alarm_actions=[1]), "alarm_actions[0]"),
            (with_(ok_actions=["gopher://x.example"]), "ok_actions"),
            (with_(ok_actions=["nothing"]), "ok_actions"),
            (with_(ok_actions=["http://"]), "ok_actions"),
            (with_(ok_actions=["http://[::1"]), "ok_actions"),
            (with_(ok_actions=["http://x.example:port/"]), "ok_actions"),
            (with_(ok_actions=["http://user:pw@x.example/"]), "ok_actions"),
            (with_(ok_actions=["http://x.example/\n"]), "ok_actions"),
            (with_(ok_actions=["http://x.example/" + "x" * 4096]), "ok_actions"),
            (
                with_(time_constraints=[{"name": "n", "start": "often", "duration": 1}]),
                "time_constraints[0].start",
            ),
            (
                with_(
                    time_constraints=[
                        {"name": "n", "start": "0 8 * * *", "duration": 1, "timezone": "Mars/X"}
                    ]
                ),
                "time_constraints[0].timezone",
            ),
            (
                with_(time_constraints=[{"name": "n", "start": "0 8 * * *", "duration": -1}]),
                "time_constraints[0].duration",
            ),
            (
                with_(time_constraints=[{"name": "n", "start": "0 8 * * *", "duration": 1}] * 2),
                "time_constraints[1].name",
            ),
        ],
    )
    def test_bad_input_names_the_field(self, api, services, document, field):
        answer = api("POST", "/v2/alarms", document)
        assert answer.status_code == 400
        assert fault(answer).startswith(f"Invalid input for field/attribute {field}: ")
        assert services.alarm_changed == []
        assert api("GET", "/v2/alarms").json == []

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b'"x"', b"null", b'{"name": NaN}', b"\xff\xfe", b"[" * 100_000]
    )
    def test_what_is_no_object(self, api, body):
        answer = _raw(api, body)
        assert answer.status_code == 400
        assert "JSON" in fault(answer)

    def test_too_long_a_body(self, api):
        answer = _raw(api, b" " * 300_000)
        assert answer.status_code == 413
        assert "bytes" in fault(answer)

    def test_log_actions_are_for_administrators(self, api):
        answer = api("POST", "/v2/alarms", with_(alarm_actions=["log://"]))
        assert answer.status_code == 401
        assert "alarm_actions: You are not authorized to create action: log:" in fault(answer)
        body = with_(alarm_actions=["log://"], ok_actions=["log:"])
        answer = api("POST", "/v2/alarms", body, **ADMIN)
        assert answer.status_code == 201
        assert answer.json["alarm_actions"] == answer.json["ok_actions"] == ["log:"]

    def test_another_owner_is_for_administrators(self, api):
        answer = api("POST", "/v2/alarms", with_(project_id="p2"))
        assert answer.status_code == 401
        assert fault(answer) == "Not Authorized to access project p2"
        answer = api("POST", "/v2/alarms", with_(user_id="bob"))
        assert (answer.status_code, fault(answer)) == (401, "Not Authorized to access user bob")
        assert api("POST", "/v2/alarms", with_(project_id="p1")).status_code == 201
        answer = api("POST", "/v2/alarms", with_(project_id="p2", user_id="bob"), **ADMIN)
        assert (answer.json["project_id"], answer.json["user_id"]) == ("p2", "bob")

    def test_readers_may_not(self, api):
        answer = api("POST", "/v2/alarms", ALARM, roles="reader")
        assert answer.status_code == 403
        assert "telemetry:create_alarm" in fault(answer)


def _raw(api, body):
    return api._client.simulate_post(
        "/v2/alarms",
        body=body,
        headers={"X-Project-Id": "p1", "X-User-Id": "alice", "X-Roles": "member"},
    )


class TestRead:
    def test_one(self, api, alarm):
        assert api("GET", f"/v2/alarms/{alarm['alarm_id']}").json == alarm
        seen = api("GET", f"/v2/alarms/{alarm['alarm_id']}/", roles="reader").json
        assert {**seen, "alarm_actions": [HOOK]} == alarm

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", ""),
            ("PUT", ""),
            ("DELETE", ""),
            ("GET", "/state"),
            ("PUT", "/state"),
            ("GET", "/history"),
        ],
    )
    def test_another_projects_alarm_does_not_exist(self, api, alarm, method, path):
        url = f"/v2/alarms/{alarm['alarm_id']}{path}"
        foreign = api(method, url, ALARM, project="p2", user="bob")
        missing = api(method, f"/v2/alarms/none{path}", ALARM)
        assert foreign.status_code == missing.status_code == 404
        assert fault(foreign) == f"Alarm {alarm['alarm_id']} not found"
        assert fault(missing) == "Alarm none not found"
        assert api("GET", f"/v2/alarms/{alarm['alarm_id']}").json == alarm

    def test_own_alarm_without_the_role_is_forbidden(self, api, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}"
        assert api("GET", url, roles="stranger").status_code == 403
        assert api("DELETE", url, roles="reader").status_code == 403

    def test_administrators_see_every_project(self, api, alarm):
        seen = api("GET", f"/v2/alarms/{alarm['alarm_id']}", **ADMIN).json
        assert {**seen, "alarm_actions": [HOOK]} == alarm


class TestReplace:
    def test_the_object_as_it_was_read(self, api, services, alarm):
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        url = f"/v2/alarms/{alarm['alarm_id']}"
        read = api("GET", url).json
        assert read["state"] == "alarm"
        answer = api("PUT", url, read)
        assert answer.status_code == 200
        assert answer.json == api("GET", url).json == read

    def test_leaving_out_means_the_default(self, api, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}"
        answer = api("PUT", url, with_(name="calm"))
        assert answer.json["name"] == "calm"
        assert answer.json["alarm_actions"] == []
        (changed, created) = api("GET", f"{url}/history").json
        assert changed["type"] == "rule change"
        assert json.loads(changed["detail"]) == {"name": "calm", "alarm_actions": []}
        assert created["type"] == "creation"

    def test_keeps_the_state_that_came_meanwhile(self, api, services, alarm):
        """A client that edits what it read must not put the old state back."""
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        answer = api("PUT", f"/v2/alarms/{alarm['alarm_id']}", {**alarm, "name": "calm"})
        assert (answer.json["name"], answer.json["state"]) == ("calm", "alarm")

    def test_a_state_that_is_wished_for_is_set(self, api, alarm):
        answer = api("PUT", f"/v2/alarms/{alarm['alarm_id']}", {**alarm, "state": "ok"})
        assert answer.json["state"] == "ok"
        assert answer.json["state_reason"] == "Manually set via API"

    def test_owner_stays(self, api, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}"
        answer = api("PUT", url, {**alarm, "name": "calm"}, user="bob")
        assert answer.json["user_id"] == "alice"
        # Who may name no owner may send one, as with Aodh.
        answer = api("PUT", url, {**alarm, "project_id": "p2", "user_id": "bob"})
        assert (answer.status_code, answer.json["name"]) == (200, "busy")
        assert (answer.json["project_id"], answer.json["user_id"]) == ("p1", "alice")
        answer = api("PUT", url, {**alarm, "project_id": "p2"}, **ADMIN)
        assert answer.json["project_id"] == "p2"

    def test_bad_input_changes_nothing(self, api, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}"
        assert api("PUT", url, with_rule(threshold="x")).status_code == 400
        assert api("PUT", url, {**alarm, "state": "ok", "state_timestamp": "x"}).status_code == 400
        assert api("GET", url).json == alarm


class TestDefaults:
    def test_time_constraints_describe_themselves(self, api):
        span = {"name": "n", "start": "0 8 * * *", "duration": 60}
        own = {**span, "name": "m", "description": "office hours"}
        answer = api("POST", "/v2/alarms", with_(time_constraints=[span, own]))
        assert [one["description"] for one in answer.json["time_constraints"]] == [
            "Time constraint at 0 8 * * * lasting for 60 seconds",
            "office hours",
        ]

    def test_an_event_alarm_describes_itself(self, api):
        rule = {"event_type": "compute.*"}
        answer = api("POST", "/v2/alarms", {"name": "n", "type": "event", "event_rule": rule})
        assert answer.json["description"] == "Alarm when compute.* event occurred."


class TestTargets:
    """What the URL itself shows is refused at once; the rest at delivery (see test_egress)."""

    @pytest.mark.parametrize(
        "host",
        ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "0.0.0.0",
         "[::ffff:169.254.169.254]", "[fe80::1]", "[fd00:ec2::254]", "224.0.0.1"],
    )  # fmt: skip
    @pytest.mark.parametrize("scheme", ["http", "trust+https"])
    def test_addresses_that_are_always_refused(self, api, host, scheme):
        answer = api("POST", "/v2/alarms", with_(ok_actions=[f"{scheme}://{host}/latest"]))
        assert answer.status_code == 400
        assert "ok_actions" in fault(answer)
        assert "is refused" in fault(answer)

    @pytest.mark.parametrize("user", ["bob:passw0rd", "passw0rd", ":passw0rd", "", ":"])
    @pytest.mark.parametrize("scheme", ["http", "https", "trust+https", "trust+heat", "log"])
    def test_a_password_is_refused_and_not_repeated(self, api, scheme, user, caplog):
        caplog.set_level("DEBUG")
        url = f"{scheme}://{user}@a.example/"
        answer = api("POST", "/v2/alarms", with_(ok_actions=[url]), **ADMIN)
        assert answer.status_code == 400
        assert fault(answer) == (
            "Invalid input for field/attribute ok_actions: a URL has a user name or password in it"
        )
        assert "passw0rd" not in answer.text
        assert "passw0rd" not in caplog.text

    def test_ports_and_networks_of_the_options(self, services):
        rules = Egress(ports=[range(443, 444)], denied=[ip_network("10.0.0.0/8")])
        api = Api(create_api(replace(services, egress=rules)))
        for url, status in {
            "https://10.0.0.1/": 400,
            "http://a.example/": 400,
            "https://a.example:444/": 400,
            "https://a.example/": 201,
        }.items():
            answer = api("POST", "/v2/alarms", with_(alarm_actions=[url]))
            assert answer.status_code == status, url


class TestGroups:
    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://h.example/?thermostat-group=0", "thermostat-group must be a whole number"),
            ("trust+http://h.example/?thermostat-group=9", "is for http and https URLs"),
        ],
    )
    def test_what_a_url_may_not_ask_for(self, api, url, words):
        answer = api("POST", "/v2/alarms", with_(ok_actions=[url]))
        assert answer.status_code == 400
        assert "ok_actions" in fault(answer)
        assert words in fault(answer)

    def test_what_it_may(self, api):
        urls = ["http://h.example/?thermostat-group=9"]
        answer = api("POST", "/v2/alarms", with_(ok_actions=urls))
        assert (answer.status_code, answer.json["ok_actions"]) == (201, urls)
