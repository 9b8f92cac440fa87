# SPDX-License-Identifier: Apache-2.0
import time

import pytest
from oslo_context.context import RequestContext
from sqlalchemy import select

from tests.service.alarm_requests import ADMIN, ALARM, TRUSTED, fault, with_, with_rule
from tests.service.alarm_support import ALICE, make_alarm, make_transition
from tests.service.unit.notify.conftest import configure
from thermostat.api.trust_steps import ensured_trust
from thermostat.db.deliveries import Chosen
from thermostat.db.outbox import Outcome, Status
from thermostat.db.tables import NOTIFICATION
from thermostat.notify.transports.trust import TrustTransport
from thermostat.notify.worker import Worker
from thermostat.trusts import TrustRefused, TrustUnavailable


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
        assert services.retired_trusts.unused(services.now_us()) == ["trust-1"]

    def test_retired_when_it_is_not_needed(self, api, services):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        url = f"/v2/alarms/{alarm['alarm_id']}"
        api("PUT", url, {**alarm, "alarm_actions": []})
        assert services.alarms.find(alarm["alarm_id"]).trust_id is None
        assert services.retired_trusts.unused(services.now_us()) == ["trust-1"]
        api("PUT", url, {**alarm, "ok_actions": [TRUSTED]})
        api("DELETE", url)
        assert services.retired_trusts.unused(services.now_us()) == ["trust-1", "trust-2"]

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_taken_back_if_the_alarm_cannot_be_written(self, api, services, monkeypatch, method):
        alarm = api("POST", "/v2/alarms", ALARM).json
        path = "/v2/alarms" if method == "POST" else f"/v2/alarms/{alarm['alarm_id']}"
        monkeypatch.setattr("thermostat.db.alarms.note", _fail)
        answer = api(method, path, with_(alarm_actions=[TRUSTED]))
        assert answer.status_code == 500
        assert services.trusts.made == 1
        assert services.trusts.alive == {}
        assert services.retired_trusts.unused(2**62) == []

    def test_deleted_later_if_keystone_is_away_by_then(self, api, services, monkeypatch):
        def away(_caller, _trust_id):
            raise TrustUnavailable("no Keystone")

        monkeypatch.setattr(services.trusts, "abandon", away)
        monkeypatch.setattr("thermostat.db.alarms.note", _fail)
        assert api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).status_code == 500
        assert services.retired_trusts.unused(services.now_us()) == []
        assert services.retired_trusts.unused(services.now_us() + 3_600_000_000) == ["trust-1"]

    def test_deleted_later_if_the_server_ends_before_the_alarm_is_written(self, services):
        with ensured_trust(
            services, RequestContext(user_id="alice", project_id="p1"), wanted=True
        ) as trust_id:
            assert services.retired_trusts.unused(services.now_us()) == []
            assert services.retired_trusts.unused(2**62) == [trust_id]

    def test_an_alarm_that_is_written_keeps_it(self, api, services):
        api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED]))
        assert services.retired_trusts.unused(2**62) == []

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


class TestOwner:
    def test_a_new_owner_does_not_get_the_former_ones_trust(self, api, services):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        path = f"/v2/alarms/{alarm['alarm_id']}"
        for position, change in enumerate(({"user_id": "carol"}, {"project_id": "p2"}), start=2):
            changed = {**alarm, "alarm_actions": [TRUSTED], **change}
            answer = api("PUT", path, changed, **ADMIN)
            assert answer.status_code == 200, answer.text
            kept = services.alarms.find(alarm["alarm_id"]).trust_id
            assert kept == f"trust-{position}"
            assert services.trusts.alive[kept] == "root"
        assert services.retired_trusts.unused(services.now_us()) == ["trust-1", "trust-2"]

    def test_the_same_owner_keeps_it(self, api, services):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        changed = {**alarm, "alarm_actions": [TRUSTED], "name": "calm"}
        api("PUT", f"/v2/alarms/{alarm['alarm_id']}", changed, **ADMIN)
        assert services.alarms.find(alarm["alarm_id"]).trust_id == "trust-1"


HEALING = {
    "name": "members",
    "type": "loadbalancer_member_health",
    "loadbalancer_member_health_rule": {
        "pool_id": "p",
        "stack_id": "s",
        "autoscaling_group_id": "g",
    },
    "alarm_actions": ["trust+heat://"],
}


def trusts_of(engine):
    """The trusts of the notifications, by their ids."""
    with engine.connect() as connection:
        rows = connection.execute(select(NOTIFICATION.c.notification_id, NOTIFICATION.c.trust_id))
        return {row.notification_id: row.trust_id for row in rows}


class TestRefusedLater:
    """A trust that expired or was revoked is told on the alarm, and can be made anew."""

    def attempt(self, services, **outcome):
        due = services.outbox.due(2**62, 1)[0].notification_id
        services.outbox.settle([Outcome(due, Status.PENDING, "x", 1, **outcome)], 5)

    def test_it_is_told_on_the_alarm_until_there_is_a_new_one(self, api, services):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        path = f"/v2/alarms/{alarm['alarm_id']}"
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        assert "trust_error" not in api("GET", path).json
        self.attempt(services, trust_id="trust-1", trust_error="Keystone answered 404")
        shown = api("GET", path).json
        assert shown["trust_error"] == "Keystone answered 404"
        assert api("GET", "/v2/alarms").json[0]["trust_error"] == "Keystone answered 404"
        assert api("POST", "/v2/query/alarms", {}).json[0]["trust_error"] == shown["trust_error"]
        replaced = api("PUT", path, shown).json
        assert "trust_error" not in replaced
        assert services.alarms.find(alarm["alarm_id"]).trust_id == "trust-2"

    def test_what_was_not_delivered_uses_the_new_one(self, api, services, engine):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        alarm_id, now_us = alarm["alarm_id"], services.now_us()
        for _ in range(4):
            current = services.alarms.find(alarm_id)
            services.alarms.record(make_transition(current, revision=current.revision))
        ids = [one.notification_id for one in services.outbox.due(2**62, 9)]
        refused = {"trust_id": "trust-1", "trust_error": "Keystone answered 404"}
        statuses = (Status.PENDING, Status.DEAD, Status.DEAD, Status.DELIVERED)
        outcomes = [
            Outcome(one, status, "x", 1, **refused)
            for one, status in zip(ids, statuses, strict=True)
        ]
        services.outbox.settle(outcomes, 5)
        services.deliveries.drop(Chosen(ids=[ids[2]]), now_us)
        (read_before,) = services.outbox.due(2**62, 9)
        api("PUT", f"/v2/alarms/{alarm_id}", api("GET", f"/v2/alarms/{alarm_id}").json)
        assert trusts_of(engine) == {
            **dict.fromkeys(ids[:3], "trust-2"),
            ids[3]: "trust-1",
        }
        assert services.outbox.current(read_before).trust_id == "trust-2"
        assert services.retired_trusts.unused(services.now_us()) == ["trust-1"]

    @pytest.mark.parametrize(
        ("change", "who"),
        [
            ({"alarm_actions": ["trust+https://other.example/"]}, {"user": "bob"}),
            ({"user_id": "carol"}, ADMIN),
            ({"project_id": "p2"}, ADMIN),
        ],
    )
    def test_nobody_lends_rights_for_what_he_did_not_name(self, api, services, engine, change, who):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        self.attempt(services, trust_id="trust-1", trust_error="Keystone answered 404")
        changed = {**alarm, "alarm_actions": [TRUSTED], **change}
        assert api("PUT", f"/v2/alarms/{alarm['alarm_id']}", changed, **who).status_code == 200
        assert services.alarms.find(alarm["alarm_id"]).trust_id == "trust-2"
        assert list(trusts_of(engine).values()) == ["trust-1"]
        assert services.retired_trusts.unused(services.now_us()) == []  # it is still pending

    def test_nobody_lends_rights_for_another_stack(self, api, services, engine):
        """What `trust+heat` acts on is in the rule."""
        alarm = api("POST", "/v2/alarms", HEALING).json
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        rule = {**HEALING["loadbalancer_member_health_rule"], "stack_id": "other"}
        changed = {**HEALING, "loadbalancer_member_health_rule": rule}
        api("PUT", f"/v2/alarms/{alarm['alarm_id']}", changed, user="bob")
        assert services.alarms.find(alarm["alarm_id"]).trust_id == "trust-2"
        assert list(trusts_of(engine).values()) == ["trust-1"]

    def test_it_goes_when_keystone_takes_the_trust_again(self, api, services):
        alarm = api("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED])).json
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        self.attempt(services, trust_id="trust-1", trust_error="Keystone answered 404")
        self.attempt(services, trust_id="trust-1")
        assert "trust_error" not in api("GET", f"/v2/alarms/{alarm['alarm_id']}").json

    def test_the_worker_tells_it(self, services):
        class Refusing:
            def token(self, _trust_id):
                raise TrustRefused("Keystone answered 404")

        alarm = make_alarm(alarm_actions=(TRUSTED,), trust_id="t1")
        services.alarms.create(alarm, ALICE)
        services.alarms.record(make_transition(alarm, timestamp_us=services.now_us()))
        conf = configure()
        worker = Worker(services.outbox, {"trust+https": TrustTransport(conf, Refusing())}, conf)
        worker.start()
        try:
            deadline = time.monotonic() + 5
            while not (found := services.alarms.trust_faults([alarm])):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            worker.stop()
        assert "Keystone answered 404: it has expired" in found["t1"]
