# SPDX-License-Identifier: Apache-2.0
"""What became of notifications, for those whose alarms they are of."""

import pytest

from tests.service.alarm_requests import ADMIN, fault
from tests.service.alarm_support import ALICE, NOW_US, make_alarm, make_transition
from thermostat.alarms.model import State
from thermostat.db.outbox import Outcome, Status

URLS = ("http://one.example/a?Signature=secret", "https://two.example/b")


@pytest.fixture
def alarm(services):
    """An alarm of p1 with two notifications: one is dead, one waits for its second attempt."""
    alarm = make_alarm(alarm_actions=URLS)
    services.alarms.create(alarm, ALICE)
    services.alarms.record(make_transition(alarm))
    due = {one.target: one.notification_id for one in services.outbox.due(2**62, 9)}
    services.outbox.settle(
        [
            Outcome(due["one.example"], Status.DEAD, "HTTP 410"),
            Outcome(due["two.example"], Status.PENDING, "no answer in time", NOW_US + 5_000_000),
        ],
        NOW_US + 2_000_000,
    )
    return alarm


def of(shown, target):
    (found,) = [one for one in shown if target in one["action"]]
    return found


class TestStatus:
    def test_of_an_alarm(self, api, alarm):
        answer = api("GET", f"/v2/alarms/{alarm.alarm_id}/notifications")
        assert answer.status_code == 200
        dead, waiting = of(answer.json, "one"), of(answer.json, "two")
        assert dead == {
            "notification_id": dead["notification_id"],
            "alarm_id": "a1",
            "project_id": "p1",
            "timestamp": "2023-11-14T22:13:20.123457",
            "previous": "insufficient data",
            "state": "alarm",
            "action": "http://one.example/a?Signature=***",
            "status": "dead",
            "attempts": 1,
            "last_error": "HTTP 410",
            "next_attempt_timestamp": None,
            "finished_timestamp": "2023-11-14T22:13:22.123456",
            "request_id": dead["request_id"],
        }
        assert waiting["status"] == "pending"
        assert waiting["last_error"] == "no answer in time"
        assert waiting["next_attempt_timestamp"] == "2023-11-14T22:13:25.123456"
        assert waiting["finished_timestamp"] is None
        assert "secret" not in answer.text

    def test_the_newest_is_the_first_and_pages(self, api, services, alarm):
        current = services.alarms.find(alarm.alarm_id)
        later = make_transition(current, state=State.OK, timestamp_us=NOW_US + 9)
        assert services.alarms.record(later)
        path = f"/v2/alarms/{alarm.alarm_id}/notifications"
        found = api("GET", path).json
        assert [one["state"] for one in found] == ["ok", "alarm", "alarm"]
        first = api("GET", path, params={"limit": "2"}).json
        rest = api("GET", path, params={"marker": first[-1]["notification_id"]}).json
        assert first + rest == found

    @pytest.mark.parametrize(
        ("field", "value", "targets"),
        [
            ("status", "dead", {"one"}),
            ("status", "delivered", set()),
            ("scheme", "https", {"two"}),
            ("target", "one.example", {"one"}),
            ("target", "ONE.example.:80", {"one"}),
            ("target", "one.example:443", set()),
            ("target", "one_example", set()),
            ("target", "[", set()),
            ("target", "x:y", set()),
            ("target", "", set()),
            ("alarm_id", "a1", {"one", "two"}),
            ("alarm_id", "other", set()),
        ],
    )
    @pytest.mark.usefixtures("alarm")
    def test_filters(self, api, field, value, targets):
        query = {"q.field": field, "q.op": "eq", "q.value": value}
        found = api("GET", "/v2/notifications", params=query).json
        assert {one["action"].partition("://")[2][:3] for one in found} == targets

    @pytest.mark.parametrize(
        ("query", "named"),
        [
            ({"q.field": "status", "q.value": "lost"}, "status"),
            ({"q.field": "body", "q.value": "x"}, "q.field"),
            ({"marker": "none"}, "marker"),
            ({"limit": "0"}, "limit"),
            ({"sort": "status"}, "sort"),
        ],
    )
    def test_wrong_queries(self, api, alarm, query, named):
        for path in ("/v2/notifications", f"/v2/alarms/{alarm.alarm_id}/notifications"):
            answer = api("GET", path, params=query)
            assert answer.status_code == 400
            assert named in fault(answer)

    def test_of_another_project(self, api, alarm):
        (one, _) = api("GET", "/v2/notifications").json
        assert api("GET", "/v2/notifications", project="p2").json == []
        for method, path in (
            ("GET", f"/v2/alarms/{alarm.alarm_id}/notifications"),
            ("GET", f"/v2/notifications/{one['notification_id']}"),
            ("DELETE", f"/v2/notifications/{one['notification_id']}"),
            ("POST", f"/v2/notifications/{one['notification_id']}/retry"),
        ):
            assert api(method, path, project="p2").status_code == 404
        marked = api(
            "GET", "/v2/notifications", project="p2", params={"marker": one["notification_id"]}
        )
        assert marked.status_code == 400

    @pytest.mark.usefixtures("alarm")
    def test_of_all_projects(self, api):
        query = {"q.field": "all_projects", "q.value": "true"}
        assert len(api("GET", "/v2/notifications", params=query, **ADMIN).json) == 2
        assert api("GET", "/v2/notifications", params=query).status_code == 403
        query = {"q.field": "project_id", "q.value": "p1"}
        assert len(api("GET", "/v2/notifications", params=query, **ADMIN).json) == 2
        assert api("GET", "/v2/notifications", params=query, project="p2").status_code == 403

    def test_outlives_the_alarm(self, api, alarm):
        assert api("DELETE", f"/v2/alarms/{alarm.alarm_id}").status_code == 204
        assert api("GET", f"/v2/alarms/{alarm.alarm_id}/notifications").status_code == 404
        assert len(api("GET", "/v2/notifications").json) == 2


@pytest.mark.usefixtures("alarm")
class TestDeadLetters:
    def test_are_sent_again_with_a_new_deadline(self, api, services):
        dead = of(api("GET", "/v2/notifications").json, "one")
        path = f"/v2/notifications/{dead['notification_id']}"
        before_us = services.now_us()
        answer = api("POST", f"{path}/retry")
        assert answer.status_code == 200
        assert answer.json["status"] == "pending"
        assert answer.json["finished_timestamp"] is None
        assert answer.json["timestamp"] == dead["timestamp"]
        (due,) = [one for one in services.outbox.due(2**62, 9) if one.target == "one.example"]
        assert due.queued_us >= before_us
        assert due.notification_id == dead["notification_id"]

    def test_are_dropped_and_may_still_be_sent(self, api, services):
        dead = of(api("GET", "/v2/notifications").json, "one")
        path = f"/v2/notifications/{dead['notification_id']}"
        assert api("DELETE", path).status_code == 204
        assert api("GET", path).json["status"] == "dropped"
        assert api("DELETE", path).status_code == 409
        assert services.outbox.counts()[Status.DROPPED] == 1
        assert api("POST", f"{path}/retry").json["status"] == "pending"

    def test_what_is_delivered_stays_so(self, api, services):
        waiting = of(api("GET", "/v2/notifications").json, "two")
        services.outbox.settle([Outcome(waiting["notification_id"], Status.DELIVERED)], NOW_US)
        path = f"/v2/notifications/{waiting['notification_id']}"
        assert api("POST", f"{path}/retry").status_code == 409
        assert api("DELETE", path).status_code == 409

    def test_an_attempt_under_way_does_not_undo_a_drop(self, api, services):
        waiting = of(api("GET", "/v2/notifications").json, "two")["notification_id"]
        assert api("DELETE", f"/v2/notifications/{waiting}").status_code == 204
        services.outbox.settle([Outcome(waiting, Status.PENDING, "HTTP 500", 1)], NOW_US)
        assert api("GET", f"/v2/notifications/{waiting}").json["status"] == "dropped"
        services.outbox.settle([Outcome(waiting, Status.DELIVERED)], NOW_US)
        assert api("GET", f"/v2/notifications/{waiting}").json["status"] == "delivered"

    def test_unknown(self, api):
        for method, path in (("GET", "n"), ("DELETE", "n"), ("POST", "n/retry")):
            assert api(method, f"/v2/notifications/{path}").status_code == 404


class TestSecret:
    def test_is_the_projects_own(self, api):
        mine = api("GET", "/v2/webhook-secret").json
        assert mine["project_id"] == "p1"
        assert api("GET", "/v2/webhook-secret", user="bob").json == mine
        assert api("GET", "/v2/webhook-secret", project="p2").json["secret"] != mine["secret"]

    def test_is_replaced(self, api):
        before = api("GET", "/v2/webhook-secret").json
        after = api("POST", "/v2/webhook-secret").json
        assert after["secret"] != before["secret"]
        assert api("GET", "/v2/webhook-secret").json == after
