# SPDX-License-Identifier: Apache-2.0
"""Secrets of action URLs: their owner reads back what it wrote, others do not see them."""

import pytest

from tests.service.alarm_requests import ADMIN, TRUSTED, fault, with_
from thermostat.redaction import hidden

SIGNED = "https://heat.example/v1/signal/up?Timestamp=2026&AWSAccessKeyId=k3y&Signature=s1gnature"
OTHER = "https://heat.example/v1/signal/down?Signature=0ther"
SECRETS = ("k3y", "s1gnature", "0ther")
READER = {"roles": "reader", "user": "rita"}


@pytest.fixture
def made(api):
    definition = with_(alarm_actions=[SIGNED, TRUSTED], ok_actions=[OTHER])
    answer = api("POST", "/v2/alarms", definition)
    assert answer.status_code == 201, answer.text
    return answer.json


@pytest.fixture
def path(made):
    return f"/v2/alarms/{made['alarm_id']}"


def actions(document):
    return document["alarm_actions"], document["ok_actions"]


WHOLE = ([SIGNED, TRUSTED], [OTHER])
SEEN = ([hidden(SIGNED), TRUSTED], [hidden(OTHER)])


class TestReading:
    @pytest.mark.parametrize("who", [{}, {"user": "bob"}, {"roles": "admin", "user": "root"}])
    def test_who_may_change_an_alarm_of_its_project_sees_it_whole(self, api, made, path, who):
        assert actions(made) == WHOLE
        assert actions(api("GET", path, **who).json) == WHOLE
        assert actions(api("GET", "/v2/alarms", **who).json[0]) == WHOLE

    @pytest.mark.parametrize("who", [READER, ADMIN])
    def test_a_reader_and_another_project_s_administrator_do_not(self, api, path, who):
        asked = {"q.field": "all_projects", "q.value": "true"} if who is ADMIN else {}
        for answer in (api("GET", path, **who), api("GET", "/v2/alarms", params=asked, **who)):
            assert answer.status_code == 200
            document = answer.json if isinstance(answer.json, dict) else answer.json[0]
            assert actions(document) == SEEN

    @pytest.mark.parametrize("who", [{}, READER, ADMIN])
    def test_history_has_them_for_nobody(self, api, path, made, who):
        changed = {**made, "alarm_actions": [SIGNED.replace("s1gnature", "n3w")], "ok_actions": []}
        assert api("PUT", path, changed).status_code == 200
        told = api("GET", f"{path}/history", **who).text
        assert "Signature=***" in told
        assert "rule change" in told
        for secret in (*SECRETS, "n3w"):
            assert secret not in told

    def test_a_new_signature_is_a_change_in_the_history(self, api, path, made):
        changed = {**made, "alarm_actions": [SIGNED.replace("s1gnature", "n3w"), TRUSTED]}
        assert api("PUT", path, changed).status_code == 200
        newest = api("GET", f"{path}/history").json[0]
        assert newest["type"] == "rule change"
        assert "alarm_actions" in newest["detail"]


class TestWriting:
    def test_what_was_read_without_secrets_can_be_sent_back(self, api, path):
        """An administrator who renames the alarm must not break its URLs."""
        read = api("GET", path, **ADMIN).json
        answer = api("PUT", path, {**read, "name": "calm"}, **ADMIN)
        assert answer.status_code == 200
        assert actions(answer.json) == SEEN
        assert actions(api("GET", path).json) == WHOLE
        assert api("GET", path).json["name"] == "calm"

    def test_its_trust_is_kept_then(self, api, path, services):
        api("PUT", path, {**api("GET", path, **ADMIN).json, "name": "calm"}, **ADMIN)
        assert services.trusts.made == 1

    def test_in_another_order_and_for_another_state(self, api, path):
        read = api("GET", path, **ADMIN).json
        swapped = {**read, "alarm_actions": read["ok_actions"], "ok_actions": read["alarm_actions"]}
        assert api("PUT", path, swapped, **ADMIN).status_code == 200
        assert actions(api("GET", path).json) == ([OTHER], [SIGNED, TRUSTED])

    @pytest.mark.parametrize(
        "url", [hidden(SIGNED).replace("heat.example", "evil.example"), "https://x/?a=***"]
    )
    def test_a_secret_goes_nowhere_else(self, api, path, url):
        read = api("GET", path, **ADMIN).json
        answer = api("PUT", path, {**read, "alarm_actions": [url]}, **ADMIN)
        assert answer.status_code == 400
        assert "alarm_actions" in fault(answer)
        assert "send it whole" in fault(answer)
        assert actions(api("GET", path).json) == WHOLE

    def test_a_secret_does_not_move_to_another_project(self, api, path):
        """An administrator who moves an alarm would read it there, and so would its members."""
        read = api("GET", path, **ADMIN).json
        answer = api("PUT", path, {**read, "project_id": ADMIN["project"]}, **ADMIN)
        assert answer.status_code == 400
        assert "send it whole" in fault(answer)
        assert actions(api("GET", path).json) == WHOLE
        moved = {**read, "project_id": ADMIN["project"], "alarm_actions": [], "ok_actions": []}
        assert api("PUT", path, moved, **ADMIN).status_code == 200

    def test_a_new_alarm_needs_whole_urls(self, api, made):
        answer = api("POST", "/v2/alarms", with_(alarm_actions=[hidden(SIGNED)]))
        assert answer.status_code == 400
        assert "send it whole" in fault(answer)
        copy = api("POST", "/v2/alarms/preview", with_(ok_actions=[hidden(made["ok_actions"][0])]))
        assert copy.status_code == 400
