# SPDX-License-Identifier: Apache-2.0
"""The rules that need other services: their fields, defaults and refusals."""

import pytest

from tests.service.alarm_requests import fault

COMMON = {"threshold": 5.0, "comparison_operator": "gt", "aggregation_method": "mean"}
RULES = {
    "gnocchi_resources_threshold": COMMON
    | {"metric": "cpu", "resource_id": "r1", "resource_type": "instance"},
    "gnocchi_aggregation_by_metrics_threshold": COMMON | {"metrics": ["m1", "m2"]},
    "gnocchi_aggregation_by_resources_threshold": COMMON
    | {"metric": "cpu", "query": '{"=": {"server_group": "g"}}', "resource_type": "instance"},
    "prometheus": {"query": "up", "threshold": 1.0},
    "event": {
        "event_type": "compute.instance.*",
        "query": [{"field": "traits.state", "value": "error"}],
    },
    "loadbalancer_member_health": {
        "pool_id": "p1",
        "stack_id": "s1",
        "autoscaling_group_id": "g1",
    },
}
GNOCCHI_DEFAULTS = {"evaluation_periods": 1, "granularity": 60}
PROMETHEUS_DEFAULTS = {**GNOCCHI_DEFAULTS, "comparison_operator": "eq", "for": 0}


def defaults(kind):
    if kind.startswith("gnocchi"):
        return GNOCCHI_DEFAULTS
    return PROMETHEUS_DEFAULTS if kind == "prometheus" else {}


def document(kind, rule):
    return {"name": "n", "type": kind, f"{kind}_rule": rule}


class TestEach:
    @pytest.mark.parametrize("kind", RULES)
    def test_comes_back_with_its_defaults(self, api, kind):
        created = api("POST", "/v2/alarms", document(kind, RULES[kind]))
        assert created.status_code == 201, created.text
        shown = api("GET", f"/v2/alarms/{created.json['alarm_id']}").json
        assert shown["type"] == kind
        if kind == "event":
            (term,) = shown["event_rule"].pop("query")
            assert term == {"field": "traits.state", "op": "eq", "value": "error", "type": ""}
            assert shown["event_rule"] == {"event_type": "compute.instance.*"}
        else:
            assert shown[f"{kind}_rule"] == defaults(kind) | RULES[kind]
        assert "_rule" not in str([key for key in shown if key != f"{kind}_rule"])

    @pytest.mark.parametrize("kind", RULES)
    def test_refuses_what_it_does_not_know(self, api, kind):
        answer = api("POST", "/v2/alarms", document(kind, {**RULES[kind], "wrong": 1}))
        assert answer.status_code == 400
        assert fault(answer).startswith(f"Invalid input for field/attribute {kind}_rule.wrong")

    @pytest.mark.parametrize(
        ("kind", "field"),
        [(kind, field) for kind, rule in RULES.items() for field in rule if kind != "event"],
    )
    def test_names_a_missing_field(self, api, kind, field):
        rule = {key: value for key, value in RULES[kind].items() if key != field}
        answer = api("POST", "/v2/alarms", document(kind, rule))
        if field == "comparison_operator":
            assert answer.status_code == 201
        else:
            assert answer.status_code == 400
            assert f"{kind}_rule.{field}: Mandatory field missing" in fault(answer)


class TestInComposites:
    def test_outside_rules_are_sub_rules(self, api):
        rule = {
            "or": [
                {"type": "prometheus", **RULES["prometheus"]},
                {
                    "and": [
                        {"type": kind, **rule}
                        for kind, rule in RULES.items()
                        if kind.startswith("gnocchi")
                    ]
                },
            ]
        }
        created = api("POST", "/v2/alarms", document("composite", rule))
        assert created.status_code == 201, created.text
        first, second = created.json["composite_rule"]["or"]
        assert first == {"type": "prometheus", **PROMETHEUS_DEFAULTS, **RULES["prometheus"]}
        assert [one["type"] for one in second["and"]] == [
            kind for kind in RULES if kind.startswith("gnocchi")
        ]

    @pytest.mark.parametrize("kind", ["event", "loadbalancer_member_health"])
    def test_others_are_not(self, api, kind):
        part = {"type": kind, **RULES[kind]}
        answer = api("POST", "/v2/alarms", document("composite", {"or": [part, part]}))
        assert answer.status_code == 400
        assert "composite_rule.or[0].type" in fault(answer)


class TestAggregationMethods:
    KIND = "gnocchi_aggregation_by_metrics_threshold"

    def create(self, api, method):
        rule = {**RULES[self.KIND], "aggregation_method": method}
        return api("POST", "/v2/alarms", document(self.KIND, rule))

    @pytest.mark.parametrize("method", ["mean", "last", "95pct", "rate:mean", "rate:99pct"])
    def test_gnocchi_has_it(self, api, method):
        assert self.create(api, method).status_code == 201

    @pytest.mark.parametrize(
        "method",
        ["magic", "avg", "pct", "0pct", "05pct", "100pct", "5.5pct", "rate:rate:mean", "*"],
    )
    def test_gnocchi_does_not_have_it(self, api, method):
        answer = self.create(api, method)
        assert answer.status_code == 400
        assert f"{self.KIND}_rule.aggregation_method: '{method}' is not one of mean" in fault(
            answer
        )
