# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.service.alarm_requests import ALARM, TRUSTED, fault, with_, with_rule
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
