# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from tests.service.alarm_requests import fault
from tests.service.alarm_support import make_transition


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
