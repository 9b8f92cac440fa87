# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends: never a 5xx, and every refusal in Aodh's shape."""

import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=5,
)
RULE = {"meter_name": "cpu_util", "threshold": 70.0, "query": []}
ALARM = {
    "name": "busy",
    "type": "threshold",
    "description": "d",
    "enabled": True,
    "severity": "low",
    "state": "ok",
    "state_timestamp": "2026-01-01T00:00:00",
    "user_id": "alice",
    "project_id": "p1",
    "repeat_actions": False,
    "alarm_actions": ["http://x.example/"],
    "time_constraints": [{"name": "n", "start": "0 8 * * *", "duration": 60, "timezone": ""}],
    "threshold_rule": RULE,
}
rule_fields = st.sampled_from(
    [
        *RULE,
        "period",
        "statistic",
        "comparison_operator",
        "evaluation_periods",
        "datapoints_to_alarm",
        "treat_missing_data",
        "exclude_outliers",
        "clear_threshold",
        "min_reporting_ratio",
        "warm_up",
    ]
)
PLAIN = {field: value for field, value in ALARM.items() if field != "threshold_rule"}
LEAF = {"type": "threshold", **RULE}
expressions = st.recursive(
    anything
    | st.just(LEAF)
    | st.builds(lambda field, odd: {**LEAF, field: odd}, rule_fields, anything)
    | st.builds(lambda odd: {"type": "alarm", "alarm_id": odd}, anything),
    lambda inner: st.dictionaries(
        st.sampled_from(["and", "or", "not", "suppressor"]),
        inner | st.lists(inner, max_size=3),
        min_size=1,
        max_size=2,
    ),
    max_leaves=6,
)
combination_fields = st.sampled_from(["alarm_ids", "operator", "x"])
constraint_fields = st.sampled_from(["name", "start", "duration", "timezone", "description"])
often = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


terms = st.builds(
    lambda field, odd: {"field": "resource_id", "op": "eq", "value": "r", field: odd},
    st.sampled_from(["field", "op", "value", "type"]),
    anything,
)
odd_members = st.one_of(
    st.dictionaries(st.sampled_from([*ALARM, "other_rule", "x"]), anything, min_size=1, max_size=1),
    st.builds(lambda field, odd: {"threshold_rule": {**RULE, field: odd}}, rule_fields, anything),
    st.builds(lambda term: {"threshold_rule": {**RULE, "query": [term]}}, terms),
    st.builds(
        lambda field, odd: {"time_constraints": [{**ALARM["time_constraints"][0], field: odd}]},
        constraint_fields,
        anything,
    ),
    st.builds(
        lambda start, rest: {"ok_actions": [start + rest]},
        st.sampled_from(["http://", "trust+https://", "log:", "", "//"]),
        st.text(),
    ),
)
odd_rules = st.one_of(
    st.builds(lambda rule: {"type": "composite", "composite_rule": rule}, expressions),
    st.builds(
        lambda field, odd: {
            "type": "combination",
            "combination_rule": {"alarm_ids": ["a", "b"], field: odd},
        },
        combination_fields,
        anything,
    ),
)
documents = odd_members.map(lambda odd: {**ALARM, **odd}) | odd_rules.map(
    lambda odd: {**PLAIN, **odd}
)
"""Alarm objects with something odd in them."""


def check(answer):
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        message = answer.json["error_message"]
        assert message["faultcode"] == "Client"
        assert message["faultstring"]


def send(api, method, path, body):
    return api._client.simulate_request(
        method,
        path,
        body=body,
        headers={"X-Project-Id": "p1", "X-User-Id": "alice", "X-Roles": "member"},
    )


@pytest.fixture
def path(api):
    return f"/v2/alarms/{api('POST', '/v2/alarms', ALARM).json['alarm_id']}"


@often
@given(document=documents)
def test_alarm_objects(api, path, document):
    body = json.dumps(document)
    for method, where in (("POST", "/v2/alarms"), ("PUT", path)):
        answer = send(api, method, where, body)
        check(answer)
        if answer.status_code < 300:
            check(send(api, "PUT", path, json.dumps(answer.json)))


@often
@given(body=st.binary(max_size=50) | anything.map(lambda odd: json.dumps(odd).encode()))
def test_bodies(api, path, body):
    for method, where in (("POST", "/v2/alarms"), ("PUT", path), ("PUT", f"{path}/state")):
        check(send(api, method, where, body))


parameters = st.lists(
    st.tuples(
        st.sampled_from(["q.field", "q.op", "q.value", "sort", "limit", "marker"]),
        st.sampled_from(["name", "timestamp", "eq", "enabled", "state", "true", "1"])
        | st.text(max_size=10),
    ),
    max_size=6,
)


@often
@given(parameters=parameters)
def test_queries(api, path, parameters):
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters)
    for where in ("/v2/alarms", f"{path}/history"):
        check(api("GET", where, query_string=query))


@often
@given(field=st.sampled_from(["timestamp", "name", "enabled"]), value=st.text(max_size=40))
def test_filters(api, field, value):
    check(api("GET", "/v2/alarms", query_string=f"q.field={field}&q.value={quote(value)}"))


@often
@given(alarm_id=st.text(min_size=1, max_size=50))
def test_ids(api, alarm_id):
    for ending in ("", "/state", "/history"):
        check(api("GET", f"/v2/alarms/{quote(alarm_id, safe='')}{ending}"))
