# SPDX-License-Identifier: Apache-2.0
"""What is checked of rules over outside stores when an alarm is created or edited."""

import json
from dataclasses import replace

import pytest

from tests.service.alarm_requests import fault
from thermostat.outside.base import InvalidOutsideRule
from thermostat.outside.fake import FakeOutsideStore

GROUP = {
    "metric": "cpu",
    "query": '{"=": {"server_group": "g"}}',
    "resource_type": "instance",
    "aggregation_method": "rate:mean",
    "threshold": 5.0,
}
GROUPS = "gnocchi_aggregation_by_resources_threshold"
PROMQL = {"query": "up", "threshold": 1.0}


@pytest.fixture
def store():
    return FakeOutsideStore()


@pytest.fixture
def services(services, store):
    return replace(services, outside=dict.fromkeys(store.types, store))


def document(kind, rule):
    return {"name": "n", "type": kind, f"{kind}_rule": rule}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("up{", "ends too early"),
        ("up[5m]", "gives a range vector"),
        ('up{a="b" or c="d"}', "has or where it cannot stand"),
    ],
)
def test_promql_must_be_promql(api, query, reason):
    answer = api("POST", "/v2/alarms", document("prometheus", PROMQL | {"query": query}))
    assert answer.status_code == 400
    where = "Invalid input for field/attribute prometheus_rule.query: "
    assert fault(answer).startswith(where + reason)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("{", "is no JSON"),
        ('"id"', 'has "id" where an object must be'),
        ('{"=": {"a": 1}, "!=": {"a": 2}}', "has 2 operators"),
        ('{"~": {"a": 1}}', 'unknown operator "~"'),
        ('{"=": {"a": 1, "b": 2}}', "one attribute"),
        ('{"=": {"a": [1]}}', "has [1] as a value"),
        ('{"in": {"a": 1}}', "a list of values"),
        ('{"and": []}', "no list of queries"),
        ('{"and": {"=": {"a": 1}}}', "no list of queries"),
        ('{"like": {"id": "x%"}}', "can compare id"),
        ('{"not": ' * 30 + "{}" + "}" * 30, "nested more than"),
    ],
)
def test_a_groups_query_must_be_gnocchis(api, query, reason):
    answer = api("POST", "/v2/alarms", document(GROUPS, GROUP | {"query": query}))
    assert answer.status_code == 400
    assert fault(answer).startswith(f"Invalid input for field/attribute {GROUPS}_rule.query: ")
    assert reason in fault(answer)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"=": {"id": "x"}},
        {"and": [{"≥": {"a": 1.5}}, {"not": {"in": {"b": [None, True, "x"]}}}]},
        {"or": [{"like": {"a": "x%"}}]},
    ],
)
def test_queries_that_gnocchi_takes(api, query):
    rule = GROUP | {"query": json.dumps(query)}
    answer = api("POST", "/v2/alarms", document(GROUPS, rule))
    assert answer.status_code == 201, answer.text
    # Unlike Aodh, what is shown is what was sent: the scope is added when it is asked.
    assert answer.json[f"{GROUPS}_rule"]["query"] == rule["query"]


def test_the_store_refuses(api, store):
    store.invalid = InvalidOutsideRule("granularity", "there is none")
    answer = api("POST", "/v2/alarms", document(GROUPS, GROUP))
    assert (answer.status_code, fault(answer)) == (
        400,
        f"Invalid input for field/attribute {GROUPS}_rule.granularity: there is none",
    )


def test_the_store_refuses_a_part_of_a_composite(api, store):
    store.invalid = InvalidOutsideRule("query", "is bad")
    part = {"type": "prometheus", **PROMQL}
    threshold = {"type": "threshold", "meter_name": "m", "threshold": 1}
    rule = {"or": [threshold, {"and": [threshold, {"not": part}]}]}
    answer = api("POST", "/v2/alarms", document("composite", rule))
    assert (answer.status_code, fault(answer)) == (
        400,
        "Invalid input for field/attribute composite_rule.or[1].and[1].not.query: is bad",
    )


def test_the_store_cannot_be_asked(api, store):
    created = api("POST", "/v2/alarms", document(GROUPS, GROUP)).json
    store.uncheckable = "it hangs"
    answer = api("POST", "/v2/alarms", document(GROUPS, GROUP))
    assert (answer.status_code, fault(answer)) == (
        503,
        f"{GROUPS}_rule cannot be checked now: it hangs",
    )
    # An alarm whose rule stays may be edited meanwhile.
    path = f"/v2/alarms/{created['alarm_id']}"
    assert api("PUT", path, created | {"name": "other"}).status_code == 200
    changed = created | {f"{GROUPS}_rule": GROUP | {"threshold": 6}}
    assert api("PUT", path, changed).status_code == 503
    assert api("GET", path).json["name"] == "other"


class TestWithoutAStore:
    @pytest.fixture
    def services(self, services):
        return replace(services, outside={})

    @pytest.mark.parametrize(("kind", "rule"), [(GROUPS, GROUP), ("prometheus", PROMQL)])
    def test_only_the_form_is_checked(self, api, kind, rule):
        assert api("POST", "/v2/alarms", document(kind, rule)).status_code == 201
        assert api("POST", "/v2/alarms", document(kind, rule | {"query": "{"})).status_code == 400
