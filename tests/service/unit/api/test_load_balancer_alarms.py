# SPDX-License-Identifier: Apache-2.0
"""Alarms on members' health in the API: their rule, and actions that have Heat replace members."""

import pytest

from tests.service.alarm_requests import ALARM, fault

RULE = {
    "pool_id": "0dd7d1b6-4ab1-4bd6-9d0c-5a5d3e2c7f11",
    "stack_id": "6c1d1f3e-2f0a-4c1b-8f2d-0f4b5a6c7d88",
    "autoscaling_group_id": "arn:openstack:heat::p1:stacks/web-group-x/1f2e3d4c",
}
HEALING = {
    "name": "health",
    "type": "loadbalancer_member_health",
    "loadbalancer_member_health_rule": RULE,
    "alarm_actions": ["trust+heat://"],
}


def with_rule(**changes):
    return {**HEALING, "loadbalancer_member_health_rule": {**RULE, **changes}}


class TestRule:
    @pytest.mark.parametrize("field", RULE)
    @pytest.mark.parametrize("value", ["", "x" * 256, "a\nb", "a\x00b", ["x"], {}])
    def test_what_is_no_id(self, api, field, value):
        answer = api("POST", "/v2/alarms", with_rule(**{field: value}))
        assert answer.status_code == 400
        assert f"loadbalancer_member_health_rule.{field}: " in fault(answer)

    def test_ids_in_any_form_that_heat_gives(self, api):
        answer = api("POST", "/v2/alarms", HEALING)
        assert answer.status_code == 201, answer.text
        assert answer.json["loadbalancer_member_health_rule"] == RULE
        assert answer.json["alarm_actions"] == ["trust+heat:"]  # as Aodh shows it


class TestHealing:
    def test_needs_no_host_and_makes_a_trust(self, api, services):
        answer = api("POST", "/v2/alarms", HEALING)
        assert services.trusts.alive == {"trust-1": "alice"}
        assert services.alarms.find(answer.json["alarm_id"]).trust_id == "trust-1"

    @pytest.mark.parametrize("action", ["trust+https://", "https://", "trust+heat://u:p@heat/"])
    def test_others_need_one_and_none_has_a_user(self, api, action):
        answer = api("POST", "/v2/alarms", {**HEALING, "alarm_actions": [action]})
        assert answer.status_code == 400
        assert "alarm_actions: a URL has" in fault(answer)

    def test_is_taken_from_any_alarm_as_aodh_does(self, api):
        answer = api("POST", "/v2/alarms", {**ALARM, "alarm_actions": ["trust+heat://"]})
        assert answer.status_code == 201

    @pytest.mark.parametrize("field", ["stack_id", "autoscaling_group_id"])
    def test_whoever_names_another_stack_lends_the_rights(self, api, services, field):
        """Else bob could have any stack of alice's updated in her name."""
        alarm = api("POST", "/v2/alarms", HEALING).json
        changed = {**alarm, **with_rule(**{field: "other"})}
        api("PUT", f"/v2/alarms/{alarm['alarm_id']}", changed, user="bob")
        assert services.trusts.alive["trust-2"] == "bob"
        assert services.alarms.find(alarm["alarm_id"]).trust_id == "trust-2"
        assert services.retired_trusts.unused(services.now_us()) == ["trust-1"]

    def test_another_name_or_pool_keeps_the_trust(self, api, services):
        alarm = api("POST", "/v2/alarms", HEALING).json
        changed = {**alarm, **with_rule(pool_id="other"), "name": "calm"}
        api("PUT", f"/v2/alarms/{alarm['alarm_id']}", changed, user="bob")
        assert services.alarms.find(alarm["alarm_id"]).trust_id == "trust-1"
