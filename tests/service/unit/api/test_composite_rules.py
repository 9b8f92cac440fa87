# SPDX-License-Identifier: Apache-2.0
"""Rules over rules and over other alarms: composite and combination."""

import pytest

from tests.service.alarm_requests import ALARM, RULE, fault

CPU = {"type": "threshold", **RULE}
MEMORY = {"type": "threshold", "meter_name": "memory.util", "threshold": 80}


def composite(rule, **changes):
    return {"name": "both", "type": "composite", "composite_rule": rule, **changes}


def combination(*alarm_ids, **rule):
    document = {"alarm_ids": list(alarm_ids), **rule}
    return {"name": "both", "type": "combination", "combination_rule": document}


def refused(api, body, method="POST", path="/v2/alarms"):
    answer = api(method, path, body)
    assert answer.status_code == 400, answer.text
    return fault(answer).removeprefix("Invalid input for field/attribute ")


def nested(depth):
    """Give a rule of this depth."""
    rule = CPU
    for _ in range(depth - 1):
        rule = {"not": rule}
    return rule


@pytest.fixture
def make(api):
    """Create an alarm and give its id."""

    def create(body=ALARM, **identity):
        answer = api("POST", "/v2/alarms", body, **identity)
        assert answer.status_code == 201, answer.text
        return answer.json["alarm_id"]

    return create


class TestComposite:
    def test_is_shown_as_it_was_sent(self, api, make):
        other, suppressor = make(), make()
        rule = {
            "or": [
                CPU,
                {"and": [MEMORY, {"not": {"type": "alarm", "alarm_id": other}}]},
            ],
            "suppressor": suppressor,
        }
        answer = api("POST", "/v2/alarms", composite(rule))
        assert answer.status_code == 201, answer.text
        assert answer.json["description"] == "composite alarm rule"
        shown = answer.json["composite_rule"]
        assert set(shown) == {"or", "suppressor"}
        first, second = shown["or"]
        assert first.items() >= CPU.items()
        assert second["and"][0].items() >= MEMORY.items()
        assert second["and"][1] == rule["or"][1]["and"][1]
        assert shown["suppressor"] == suppressor
        # With the defaults written out, it is the same to the letter.
        again = api("PUT", f"/v2/alarms/{answer.json['alarm_id']}", answer.json)
        assert again.json == answer.json

    def test_history_shows_the_same_form(self, api, make):
        alarm_id = make(composite({"or": [CPU, MEMORY]}))
        (event,) = api("GET", f"/v2/alarms/{alarm_id}/history").json
        assert '"rule":{"or":[{"type":"threshold","meter_name":"cpu_util"' in event["detail"]

    @pytest.mark.parametrize("rule", [CPU, {"not": CPU}, {"and": [CPU]}, {"or": [CPU]}])
    def test_any_part_may_stand_alone(self, api, rule):
        assert api("POST", "/v2/alarms", composite(rule)).status_code == 201

    def test_null_means_absent(self, api):
        rule = {"or": [CPU, {**MEMORY, "period": None}], "and": None, "suppressor": None}
        answer = api("POST", "/v2/alarms", composite(rule))
        assert set(answer.json["composite_rule"]) == {"or"}

    @pytest.mark.parametrize(
        ("rule", "said"),
        [
            ({}, "composite_rule.type: Mandatory field missing."),
            ({"or": []}, "composite_rule.or: must be a list of at least 1 rule"),
            ({"and": CPU}, "composite_rule.and: must be a list of at least 1 rule"),
            ({"or": [CPU, 7]}, "composite_rule.or[1]: must be an object"),
            ({"or": [CPU, {"not": [CPU]}]}, "composite_rule.or[1].not: must be an object"),
            ({"or": [CPU, RULE]}, "composite_rule.or[1].type: Mandatory field missing."),
            (
                {"or": [CPU, {"type": "event"}]},
                "composite_rule.or[1].type: 'event' is not one of threshold, alarm",
            ),
            ({"or": [CPU, CPU], "xor": []}, "composite_rule.xor: has no place beside 'or'"),
            ({"or": [CPU, CPU], "and": [CPU, CPU]}, "composite_rule.or: has no place beside 'and'"),
            (
                {"or": [CPU, {"and": [{**CPU, "threshold": "hot"}, CPU]}]},
                "composite_rule.or[1].and[0].threshold: ",
            ),
            (
                {"or": [CPU, {"and": [{**CPU, "treshold": 1}, CPU]}]},
                "composite_rule.or[1].and[0].treshold: Unknown attribute.",
            ),
            (
                {"or": [CPU, {**CPU, "query": [{"field": "x", "value": "y"}]}]},
                "composite_rule.or[1].query[0].field: ",
            ),
            ({"or": [CPU, {"type": "alarm"}]}, "composite_rule.or[1].alarm_id: Mandatory"),
            (
                {"or": [CPU, {"type": "alarm", "alarm_id": "a", "state": "ok"}]},
                "composite_rule.or[1].state: Unknown attribute.",
            ),
            ({"not": {**CPU, "suppressor": "a"}}, "composite_rule.not.suppressor: Unknown"),
            ({**CPU, "suppressor": 5}, "composite_rule.suppressor: "),
            ({"or": [CPU] * 101}, "composite_rule: has more than 100 sub-rules and references"),
        ],
    )
    def test_nonsense_is_refused_by_path(self, api, rule, said):
        assert refused(api, composite(rule)).startswith(said)

    def test_bounds(self, api):
        assert api("POST", "/v2/alarms", composite({"or": [CPU] * 100})).status_code == 201
        assert api("POST", "/v2/alarms", composite(nested(20))).status_code == 201
        said = refused(api, composite(nested(21)))
        assert said == f"composite_rule{'.not' * 20}: is nested more than 20 deep"
        assert "more than 20" in refused(api, composite(nested(400)))


class TestCombination:
    def test_is_shown_as_it_was_sent(self, api, make):
        one, other = make(), make()
        answer = api("POST", "/v2/alarms", combination(one, other))
        assert answer.json["combination_rule"] == {"alarm_ids": [one, other], "operator": "and"}
        either = api("POST", "/v2/alarms", combination(one, other, operator="or"))
        assert either.json["combination_rule"]["operator"] == "or"

    @pytest.mark.parametrize(
        ("rule", "said"),
        [
            ({"alarm_ids": ["a"]}, "combination_rule.alarm_ids: "),
            ({"alarm_ids": ["a", "b", "a"]}, "combination_rule.alarm_ids[2]: a is there already"),
            ({"alarm_ids": "ab"}, "combination_rule.alarm_ids: "),
            ({"alarm_ids": ["a", 1]}, "combination_rule.alarm_ids[1]: "),
            ({"alarm_ids": ["a", "\0"]}, "combination_rule.alarm_ids[1]: "),
            ({"alarm_ids": ["a", "b"], "operator": "xor"}, "combination_rule.operator: "),
            ({"alarm_ids": ["a", "b"], "not": True}, "combination_rule.not: Unknown attribute."),
            ({}, "combination_rule.alarm_ids: Mandatory field missing."),
            ({"alarm_ids": [str(n) for n in range(101)]}, "combination_rule.alarm_ids: "),
        ],
    )
    def test_nonsense_is_refused_by_path(self, api, rule, said):
        body = {"name": "n", "type": "combination", "combination_rule": rule}
        assert refused(api, body).startswith(said)


class TestReferences:
    def test_to_what_is_not_there_or_not_ours(self, api, make):
        ours, foreign = make(), make(project="p2")
        for alarm_id in (foreign, "nowhere"):
            expected = f"there is no alarm {alarm_id} in the alarm's project"
            assert (
                refused(api, combination(ours, alarm_id))
                == f"combination_rule.alarm_ids[1]: {expected}"
            )
            reference = {"type": "alarm", "alarm_id": alarm_id}
            assert (
                refused(api, composite({"or": [CPU, {"not": reference}]}))
                == f"composite_rule.or[1].not.alarm_id: {expected}"
            )
            assert (
                refused(api, composite({**CPU, "suppressor": alarm_id}))
                == f"composite_rule.suppressor: {expected}"
            )

    def test_an_administrator_refers_within_the_alarms_project(self, api, make):
        own = make(project="p-admin", roles="admin")
        theirs = [make(project="p2"), make(project="p2")]
        admin = {"project": "p-admin", "roles": "admin"}
        body = {**combination(*theirs), "project_id": "p2", "user_id": "bob"}
        assert api("POST", "/v2/alarms", body, **admin).status_code == 201
        body = {**combination(own, theirs[0]), "project_id": "p2", "user_id": "bob"}
        assert api("POST", "/v2/alarms", body, **admin).status_code == 400

    def test_to_itself(self, api, make):
        alarm_id = make(composite(CPU))
        body = composite({**CPU, "suppressor": alarm_id})
        assert (
            refused(api, body, "PUT", f"/v2/alarms/{alarm_id}")
            == "composite_rule.suppressor: an alarm cannot refer to itself"
        )

    def test_in_a_cycle(self, api, make, services):
        first, other = make({**ALARM, "name": "first"}), make()
        second = make({**combination(first, other), "name": "second"})
        third = make(composite({**CPU, "suppressor": second}, name="third"))
        services.alarm_changed.clear()
        body = composite({"or": [CPU, {"type": "alarm", "alarm_id": third}]}, name="first")
        assert refused(api, body, "PUT", f"/v2/alarms/{first}") == (
            f"composite_rule.or[1].alarm_id: closes a cycle: 'first' ({first}) → "
            f"'third' ({third}) → 'second' ({second}) → 'first' ({first})"
        )
        assert api("GET", f"/v2/alarms/{first}").json["type"] == "threshold"
        assert services.alarm_changed == []

    def test_to_a_deleted_one_does_not_hinder_edits(self, api, make):
        one, other = make(), make()
        alarm_id = make(combination(one, other))
        assert api("DELETE", f"/v2/alarms/{one}").status_code == 204
        path = f"/v2/alarms/{alarm_id}"
        body = {**api("GET", path).json, "enabled": False}
        assert api("PUT", path, body).status_code == 200
        said = refused(api, {**body, **combination(one, other, operator="or")}, "PUT", path)
        assert said.startswith("combination_rule.alarm_ids[0]: there is no alarm")

    def test_a_refused_one_leaves_no_trust(self, api, services):
        body = composite({**CPU, "suppressor": "x"}, alarm_actions=["trust+https://h.example/"])
        refused(api, body)
        assert services.trusts.made == 1
        assert services.trusts.alive == {}
