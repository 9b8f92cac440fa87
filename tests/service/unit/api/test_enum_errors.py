# SPDX-License-Identifier: Apache-2.0
"""A word that is none of those allowed: the error says which they are."""

import pytest

from tests.service.alarm_requests import fault, with_, with_rule

PROMETHEUS = {"query": "up", "threshold": 1}


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        (with_(severity="CRITICAL"), "severity", "low, moderate, critical"),
        (with_(state="fine"), "state", "ok, alarm, insufficient data"),
        (
            with_rule(comparison_operator="above"),
            "threshold_rule.comparison_operator",
            "lt, le, eq, ne, ge, gt",
        ),
        (with_rule(treat_missing_data="x"), "threshold_rule.treat_missing_data", "missing, ignore"),
        (
            {"name": "a", "type": "combination", "combination_rule": {"operator": "xor"}},
            "combination_rule.operator",
            "and, or",
        ),
        (
            {
                "name": "a",
                "type": "prometheus",
                "prometheus_rule": {**PROMETHEUS, "comparison_operator": ">"},
            },
            "prometheus_rule.comparison_operator",
            "lt, le, eq, ne, ge, gt",
        ),
        (
            {
                "name": "a",
                "type": "event",
                "event_rule": {"query": [{"field": "x", "op": "like", "value": "y"}]},
            },
            "event_rule.query[0].op",
            "lt, le, eq, ne, ge, gt",
        ),
        (with_rule(query=[{"field": "resource_id", "op": "~", "value": "y"}]), "query[0].op", "eq"),
    ],
)
def test_of_an_alarm(api, body, field, allowed):
    answer = api("POST", "/v2/alarms", body)
    assert answer.status_code == 400
    assert field in fault(answer)
    assert allowed in fault(answer)


def test_of_a_quota(api):
    quotas = [{"resource": "servers", "limit": 1}]
    body = {"project_id": "p1", "quotas": quotas}
    answer = api("POST", "/v2/quotas", body, roles="admin")
    assert fault(answer).endswith("Invalid enum value 'servers': it is none of alarms")
