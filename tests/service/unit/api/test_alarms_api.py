# SPDX-License-Identifier: Apache-2.0
import json
from datetime import datetime

import pytest
from falcon.testing import TestClient

from tests.service.alarm_support import make_transition
from thermostat.api.app import create_api
from thermostat.trusts import TrustRefused, TrustUnavailable

RULE = {"meter_name": "cpu_util", "threshold": 70.0, "comparison_operator": "gt"}
ALARM = {"name": "busy", "type": "threshold", "threshold_rule": RULE}
HOOK = "https://heat.example/v1/signal/policy?Signature=s3cret"
TRUSTED = "trust+https://heat.example/v1/policies/up/signal"
ADMIN = {"roles": "admin", "project": "p-admin", "user": "root"}


def with_(**changes):
    return {**ALARM, **changes}


def with_rule(**changes):
    return with_(threshold_rule={**RULE, **changes})


def fault(answer):
    message = answer.json["error_message"]
    assert set(message) == {"debuginfo", "faultcode", "faultstring"}
    assert message["debuginfo"] is None
    assert message["faultcode"] == ("Client" if answer.status_code < 500 else "Server")
    return message["faultstring"]


@pytest.fixture
def alarm(api):
    answer = api("POST", "/v2/alarms", with_(alarm_actions=[HOOK]))
    assert answer.status_code == 201, answer.text
    return answer.json


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
        ("document", "field"),
        [
            ({}, "name"),
            (with_(name=""), "name"),
            (with_(name="x" * 256), "name"),
            (with_(name=5), "name"),
            (with_(name="a\0b"), "name"),
            (with_(description="\0"), "description"),
            (with_(type="event"), "type"),
            (with_(type="gnocchi_resources_threshold"), "type"),
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
        assert answer.status_code == 403
        assert "alarm_actions" in fault(answer)
        assert (
            api("POST", "/v2/alarms", with_(alarm_actions=["log://"]), **ADMIN).status_code == 201
        )

    def test_another_owner_is_for_administrators(self, api):
        answer = api("POST", "/v2/alarms", with_(project_id="p2"))
        assert answer.status_code == 403
        assert "project_id" in fault(answer)
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
        assert api("GET", f"/v2/alarms/{alarm['alarm_id']}/", roles="reader").json == alarm

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
        assert fault(foreign) == f"Alarm {alarm['alarm_id']} Not Found"
        assert fault(missing) == "Alarm none Not Found"
        assert api("GET", f"/v2/alarms/{alarm['alarm_id']}").json == alarm

    def test_own_alarm_without_the_role_is_forbidden(self, api, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}"
        assert api("GET", url, roles="stranger").status_code == 403
        assert api("DELETE", url, roles="reader").status_code == 403

    def test_administrators_see_every_project(self, api, alarm):
        assert api("GET", f"/v2/alarms/{alarm['alarm_id']}", **ADMIN).json == alarm


class TestList:
    @pytest.fixture
    def three(self, api):
        def make(**changes):
            return api("POST", "/v2/alarms", with_(**changes)).json["alarm_id"]

        return [
            make(name="a"),
            make(name="b", enabled=False, severity="critical"),
            make(name="c", repeat_actions=True, state="ok"),
        ]

    def names(self, api, query="", **identity):
        answer = api("GET", "/v2/alarms", query_string=query, **identity)
        assert answer.status_code == 200, answer.text
        return [alarm["name"] for alarm in answer.json]

    @pytest.mark.usefixtures("three")
    def test_newest_first(self, api):
        assert self.names(api) == ["c", "b", "a"]
        assert self.names(api, project="p2") == []

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("q.field=name&q.op=eq&q.value=b", ["b"]),
            ("q.field=name&q.value=b", ["b"]),
            ("q.field=enabled&q.op=eq&q.value=false", ["b"]),
            ("q.field=enabled&q.op=eq&q.value=True", ["c", "a"]),
            ("q.field=severity&q.op=eq&q.value=critical", ["b"]),
            ("q.field=state&q.op=eq&q.value=ok", ["c"]),
            ("q.field=state&q.op=eq&q.value=insufficient+data", ["b", "a"]),
            ("q.field=type&q.op=eq&q.value=threshold", ["c", "b", "a"]),
            ("q.field=repeat_actions&q.op=eq&q.value=1", ["c"]),
            ("q.field=user_id&q.value=alice&q.field=name&q.value=a", ["a"]),
            ("q.field=user_id&q.value=bob", []),
            ("q.field=timestamp&q.value=2001-01-01T00:00:00", []),
            ("q.field=project_id&q.value=p1", ["c", "b", "a"]),
            ("q.field=all_projects&q.value=false", ["c", "b", "a"]),
            ("sort=name:asc", ["a", "b", "c"]),
            ("sort=severity:asc&sort=name:desc", ["b", "c", "a"]),
            ("sort=enabled,name&limit=2", ["b", "a"]),
            ("limit=1", ["c"]),
        ],
    )
    @pytest.mark.usefixtures("three")
    def test_query(self, api, query, names):
        assert self.names(api, query) == names

    def test_pages(self, api, three):
        assert self.names(api, f"sort=name&marker={three[0]}") == ["b", "c"]
        assert self.names(api, f"sort=name:desc&limit=1&marker={three[2]}") == ["b"]

    @pytest.mark.usefixtures("three")
    def test_all_projects_are_for_administrators(self, api):
        api("POST", "/v2/alarms", with_(name="d"), project="p2", user="bob")
        query = "q.field=all_projects&q.op=eq&q.value=true"
        assert self.names(api, query, **ADMIN) == ["d", "c", "b", "a"]
        assert self.names(api, "q.field=project_id&q.value=p2", **ADMIN) == ["d"]
        assert self.names(api, **ADMIN) == []
        for forbidden in (query, "q.field=project_id&q.value=p2"):
            assert api("GET", "/v2/alarms", query_string=forbidden).status_code == 403

    @pytest.mark.parametrize(
        ("query", "word"),
        [
            ("q.field=colour&q.value=red", "colour"),
            ("q.field=name&q.op=like&q.value=x", "like"),
            ("q.field=name&q.op=gt&q.value=x", "eq"),
            ("q.field=name", "q.value"),
            ("q.field=enabled&q.value=perhaps", "perhaps"),
            ("q.field=state&q.value=fine", "fine"),
            ("q.field=timestamp&q.value=noon", "timestamp"),
            ("q.field=name&q.value=a&q.field=name&q.value=b", "name"),
            ("sort=colour", "colour"),
            ("sort=name:up", "up"),
            ("limit=0", "limit"),
            ("limit=x", "limit"),
            ("limit=99999999999999999999999999", "limit"),
            ("marker=nothing", "nothing"),
            ("marker=%00", "NUL"),
            ("q.field=name&q.value=%00", "NUL"),
        ],
    )
    def test_bad_query_names_what_is_wrong(self, api, query, word):
        answer = api("GET", "/v2/alarms", query_string=query)
        assert answer.status_code == 400
        assert word in fault(answer)


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
        assert api("PUT", url, {**alarm, "project_id": "p2"}).status_code == 403
        answer = api("PUT", url, {**alarm, "project_id": "p2"}, **ADMIN)
        assert answer.json["project_id"] == "p2"

    def test_bad_input_changes_nothing(self, api, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}"
        assert api("PUT", url, with_rule(threshold="x")).status_code == 400
        assert api("PUT", url, {**alarm, "state": "ok", "state_timestamp": "x"}).status_code == 400
        assert api("GET", url).json == alarm


class TestState:
    def test_set_by_hand(self, api, services, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}"
        assert api("GET", f"{url}/state").json == "insufficient data"
        answer = api("PUT", f"{url}/state", "alarm")
        assert (answer.status_code, answer.json) == (200, "alarm")
        assert api("GET", f"{url}/state").json == "alarm"
        event = api("GET", f"{url}/history").json[0]
        assert event["type"] == "state transition"
        assert json.loads(event["detail"])["transition_reason"] == "Manually set via API"
        assert services.outbox.due(2**62, 10) == []
        assert services.alarm_changed == [alarm["alarm_id"]] * 2

    @pytest.mark.parametrize("state", ["fine", 1, None, {}, ["ok"]])
    def test_an_unknown_one(self, api, alarm, state):
        answer = _put_state(api, alarm, state)
        assert answer.status_code == 400
        assert "state" in fault(answer)


def _put_state(api, alarm, state):
    return api._client.simulate_put(
        f"/v2/alarms/{alarm['alarm_id']}/state",
        body=json.dumps(state),
        headers={"X-Project-Id": "p1", "X-User-Id": "alice", "X-Roles": "member"},
    )


class TestHistory:
    def test_events(self, api, services, alarm):
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        transition, created = api("GET", f"/v2/alarms/{alarm['alarm_id']}/history").json
        assert set(transition) == {
            "event_id",
            "alarm_id",
            "type",
            "detail",
            "user_id",
            "project_id",
            "on_behalf_of",
            "severity",
            "timestamp",
        }
        assert (transition["user_id"], transition["on_behalf_of"]) == (None, "p1")
        assert json.loads(transition["detail"])["reason_data"]["most_recent"] == 90.0
        assert created["user_id"] == "alice"
        detail = json.loads(created["detail"])
        assert detail["rule"]["meter_name"] == "cpu_util"
        assert "trust_id" not in detail

    def test_query(self, api, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}/history"
        api("PUT", f"/v2/alarms/{alarm['alarm_id']}/state", "ok")
        found = api("GET", url, query_string="q.field=type&q.op=eq&q.value=creation").json
        assert [event["type"] for event in found] == ["creation"]
        assert len(api("GET", url, query_string="limit=1").json) == 1
        assert api("GET", url, query_string="q.field=type&q.value=x").status_code == 400

    def test_of_a_deleted_alarm(self, api, services, alarm):
        url = f"/v2/alarms/{alarm['alarm_id']}"
        answer = api("DELETE", url)
        assert (answer.status_code, answer.content) == (204, b"")
        assert services.alarm_changed == [alarm["alarm_id"]] * 2
        for path in (url, f"{url}/state", f"{url}/history"):
            assert api("GET", path).status_code == 404


class TestTrusts:
    def test_made_with_the_alarm_and_never_shown(self, api, services):
        answer = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED]))
        assert services.trusts.alive == {"trust-1": "alice"}
        assert services.alarms.find(answer.json["alarm_id"]).trust_id == "trust-1"
        shown = answer.text + api("GET", f"/v2/alarms/{answer.json['alarm_id']}/history").text
        assert "trust-1" not in shown
        assert "trust_id" not in shown

    def test_kept_while_its_urls_stay(self, api, services):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        api("PUT", f"/v2/alarms/{alarm['alarm_id']}", {**alarm, "name": "calm"}, user="bob")
        assert services.alarms.find(alarm["alarm_id"]).trust_id == "trust-1"
        assert services.trusts.made == 1

    def test_whoever_changes_the_url_lends_the_rights(self, api, services):
        """Else bob could have alice's token sent to a server of his."""
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        changed = {**alarm, "alarm_actions": ["trust+https://bob.example/"]}
        api("PUT", f"/v2/alarms/{alarm['alarm_id']}", changed, user="bob")
        assert services.trusts.alive["trust-2"] == "bob"
        assert services.alarms.find(alarm["alarm_id"]).trust_id == "trust-2"
        assert services.outbox.unused_trusts() == ["trust-1"]

    def test_retired_when_it_is_not_needed(self, api, services):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        url = f"/v2/alarms/{alarm['alarm_id']}"
        api("PUT", url, {**alarm, "alarm_actions": []})
        assert services.alarms.find(alarm["alarm_id"]).trust_id is None
        assert services.outbox.unused_trusts() == ["trust-1"]
        api("PUT", url, {**alarm, "ok_actions": [TRUSTED]})
        api("DELETE", url)
        assert services.outbox.unused_trusts() == ["trust-1", "trust-2"]

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_taken_back_if_the_alarm_cannot_be_written(self, api, services, monkeypatch, method):
        alarm = api("POST", "/v2/alarms", ALARM).json
        path = "/v2/alarms" if method == "POST" else f"/v2/alarms/{alarm['alarm_id']}"
        monkeypatch.setattr("thermostat.db.alarms.note", _fail)
        answer = api(method, path, with_(alarm_actions=[TRUSTED]))
        assert answer.status_code == 500
        assert services.trusts.made == 1
        assert services.trusts.alive == {}

    def test_not_made_for_a_bad_alarm(self, api, services):
        bad = with_rule(threshold="x") | {"alarm_actions": [TRUSTED]}
        assert api("POST", "/v2/alarms", bad).status_code == 400
        assert services.trusts.made == 0

    @pytest.mark.parametrize(
        ("refusal", "status"),
        [(TrustRefused("Keystone answered 403"), 403), (TrustUnavailable("no Keystone"), 503)],
    )
    def test_refused(self, api, services, refusal, status):
        services.trusts.refusal = refusal
        answer = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED]))
        assert answer.status_code == status
        assert str(refusal) in fault(answer)
        assert api("GET", "/v2/alarms").json == []


def _fail(*_args, **_named):
    raise RuntimeError("internal detail")


class TestErrors:
    def test_unknown_path(self, api):
        answer = api("GET", "/v2/nothing")
        assert answer.status_code == 404
        fault(answer)

    def test_method(self, api):
        answer = api("PATCH", "/v2/alarms")
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        fault(answer)

    def test_unexpected_ones_keep_their_secrets(self, api, monkeypatch, caplog):
        monkeypatch.setattr("thermostat.db.alarms.note", _fail)
        answer = api("POST", "/v2/alarms", ALARM)
        assert answer.status_code == 500
        assert "internal detail" not in answer.text
        assert "internal detail" in caplog.text
        assert "Traceback" in caplog.text
        fault(answer)


class TestPublicPages:
    def test_discovery(self, api):
        (version,) = api("GET", "/").json["versions"]["values"]
        assert (version["id"], version["status"]) == ("v2", "stable")
        assert version["links"][0]["href"].endswith("/v2")

    def test_health(self, api):
        answer = api("GET", "/healthcheck")
        assert (answer.status_code, answer.json) == (200, {"status": "ok", "reasons": {}})

    def test_health_gives_reasons(self, services, engine):
        def broken():
            raise OSError("/secret/path")

        services = _replaced(services, checks={"store": broken, "evaluator": lambda: "stopped"})
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE alarm RENAME TO gone")
        answer = TestClient(create_api(services)).simulate_get("/healthcheck")
        assert answer.status_code == 503
        assert answer.json == {
            "status": "failing",
            "reasons": {
                "database": "the alarm database cannot be used",
                "store": "failed (OSError)",
                "evaluator": "stopped",
            },
        }

    def test_metrics_have_no_tenant_data(self, api, services, alarm):
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        answer = api("GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        text = answer.text
        assert 'thermostat_alarms{state="alarm"} 1.0' in text
        assert 'thermostat_outbox_notifications{status="pending"} 1.0' in text
        assert (
            'thermostat_http_requests_total{method="POST",route="/v2/alarms",status="201"} 1.0'
            in text
        )
        for secret in (alarm["alarm_id"], "p1", "alice", "busy", "s3cret", "heat.example"):
            assert secret not in text


def _replaced(services, **changes):
    from dataclasses import replace

    from prometheus_client import CollectorRegistry

    return replace(services, registry=CollectorRegistry(), **changes)
