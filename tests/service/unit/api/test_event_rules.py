# SPDX-License-Identifier: Apache-2.0
"""Event rules in requests: defaults, and refusals that name the field."""

import pytest

from tests.service.alarm_requests import fault

TERM = {"field": "traits.state", "op": "eq", "value": "error", "type": "string"}


def post(api, **rule):
    return api("POST", "/v2/alarms", {"name": "n", "type": "event", "event_rule": rule})


class TestTaken:
    @pytest.mark.parametrize("rule", [{}, {"query": []}, {"event_type": ""}, {"event_type": None}])
    def test_the_defaults_are_aodhs(self, api, rule):
        created = post(api, **rule)
        assert created.status_code == 201, created.text
        assert created.json["event_rule"] == {"event_type": "*", "query": []}

    @pytest.mark.parametrize(
        ("term", "shown"),
        [
            (TERM, TERM),
            (TERM | {"op": None}, TERM),
            (TERM | {"op": ""}, TERM),
            (TERM | {"type": ""}, TERM | {"type": ""}),
            (TERM | {"value": ""}, TERM | {"value": ""}),
            (
                TERM | {"field": "event_type", "op": "ne"},
                TERM | {"field": "event_type", "op": "ne"},
            ),
        ],
    )
    def test_conditions_come_back(self, api, term, shown):
        assert post(api, query=[term]).json["event_rule"]["query"] == [shown]

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("integer", "-5"),
            ("float", "0.5"),
            ("float", "5"),
            ("boolean", "true"),
            ("boolean", "Off"),
            ("datetime", "2026-11-25T03:00:00Z"),
            ("string", "5"),
            ("", "*"),
        ],
    )
    def test_every_type_is_known(self, api, kind, value):
        created = post(api, query=[TERM | {"type": kind, "value": value}])
        assert created.status_code == 201, created.text

    def test_what_heat_sends(self, api):
        """OS::Aodh::EventAlarm: every key of a condition, those not given as null."""
        created = post(api, event_type="compute.*", query=[TERM | {"op": None}])
        assert created.status_code == 201, created.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"field": None}, "query[0].field: Mandatory field missing"),
        ({"value": None}, "query[0].value: Mandatory field missing"),
        ({"field": ""}, "query[0].field"),
        ({"field": "a b"}, "query[0].field"),
        ({"field": "traits.a;b"}, "query[0].field"),
        ({"field": "x" * 256}, "query[0].field"),
        ({"field": 5}, "query[0].field"),
        ({"op": "like"}, "query[0].op"),
        ({"op": 5}, "query[0].op"),
        ({"type": "list"}, "query[0].type"),
        ({"type": 4}, "query[0].type"),
        ({"value": "x" * 256}, "query[0].value"),
        ({"value": ["x"]}, "query[0].value"),
        ({"value": "a\x00b"}, "query[0].value"),
        ({"value": "x", "type": "integer"}, "query[0].value: 'x' is not of type integer"),
        ({"value": "5.5", "type": "integer"}, "query[0].value"),
        ({"value": "nan", "type": "float"}, "query[0].value"),
        ({"value": "2", "type": "boolean"}, "query[0].value"),
        ({"value": "noon", "type": "datetime"}, "query[0].value"),
        ({"value": "", "type": "integer"}, "query[0].value"),
        ({"other": "x"}, "query[0].other: Unknown attribute"),
    ],
)
def test_a_bad_condition_is_refused_with_its_field(api, change, field):
    answer = post(api, query=[TERM | change])
    assert answer.status_code == 400
    assert fault(answer).startswith(f"Invalid input for field/attribute event_rule.{field}")


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"query": {}}, "query"),
        ({"query": "x"}, "query"),
        ({"query": [TERM, "x"]}, "query[1]"),
        ({"query": [TERM] * 101}, "query"),
        ({"event_type": 5}, "event_type"),
        ({"event_type": "x" * 256}, "event_type"),
        ({"event_type": "a\x00"}, "event_type"),
        ({"period": 5}, "period: Unknown attribute"),
    ],
)
def test_a_bad_rule_is_refused_with_its_field(api, rule, field):
    answer = post(api, **rule)
    assert answer.status_code == 400
    assert fault(answer).startswith(f"Invalid input for field/attribute event_rule.{field}")
