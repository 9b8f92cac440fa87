# SPDX-License-Identifier: Apache-2.0
"""The filter language over HTTP, on both databases, beside a plain reading of what it means."""

import json
import operator
import re

import msgspec
import pytest
from falcon.testing import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service import postgresql
from tests.service.alarm_support import ALICE, NOW_US, make_alarm
from thermostat.alarms.model import Severity, State
from thermostat.api.alarm_form import encode
from thermostat.api.app import create_api
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.db.schema import upgrade

WORDS = ["", "a", "A", "ab", "b", "é", "z", "_", "%", "a'b", "10", "9", "\U0001f321"]
ALARMS = [
    make_alarm(
        alarm_id=f"{number:02}",
        name=WORDS[number % len(WORDS)],
        description=WORDS[number * 5 % len(WORDS)],
        enabled=number % 3 > 0,
        repeat_actions=number % 2 > 0,
        severity=list(Severity)[number % 3],
        state=list(State)[number * 7 % 3],
        state_reason="",
        timestamp_us=NOW_US + number // 4 * 1_000_000,
        evaluate_timestamp_us=None if number % 3 else NOW_US + number * 1_000_000,
        user_id=f"u{number % 2}",
    )
    for number in range(20)
]
SHOWN = [msgspec.json.decode(msgspec.json.encode(encode(alarm))) for alarm in ALARMS]
TEXTS = ["alarm_id", "name", "description", "severity", "state", "user", "type"]
FLAGS = ["enabled", "repeat_actions"]
INSTANTS = ["timestamp", "evaluate_timestamp"]
MEANING = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    "=<": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=>": operator.ge,
    "=~": lambda text, pattern: re.search(pattern, text) is not None,
    "in": lambda value, values: value in values,
}


def comparison(fields, values):
    simple = st.sampled_from([word for word in MEANING if word not in ("=~", "in")])
    return st.one_of(
        st.builds(lambda op, name, value: {op: {name: value}}, simple, fields, values),
        st.builds(
            lambda name, some: {"in": {name: some}},
            fields,
            st.lists(values, min_size=1, max_size=3),
        ),
    )


def of(values):
    return st.sampled_from(values)


NAMED = WORDS + [alarm["alarm_id"] for alarm in SHOWN] + list(State) + list(Severity) + ["u1"]
PATTERNS = ["", "a", "^a", "b$", "^.$", "[a-z]+", "a|é", "\\d", "^$", "(?i)A", "'"]
COMPARISONS = st.one_of(
    comparison(of(TEXTS), of(NAMED)),
    comparison(of(FLAGS), st.booleans()),
    comparison(of(INSTANTS), of([alarm["timestamp"] for alarm in SHOWN])),
    st.builds(lambda name, pattern: {"=~": {name: pattern}}, of(TEXTS), of(PATTERNS)),
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds(lambda part: {"not": part}, inner),
        st.builds(
            lambda word, parts: {word: parts},
            of(["and", "or", "OR"]),
            st.lists(inner, min_size=2, max_size=3),
        ),
    ),
    max_leaves=8,
)
ORDERS = st.lists(
    st.builds(lambda name, way: {name: way}, of(TEXTS + FLAGS + INSTANTS), of(["asc", "desc"])),
    max_size=3,
)


def reading(wanted, alarm):
    """True, false, or None: neither, since what is compared is missing."""
    ((word, operand),) = wanted.items()
    word = word.lower()
    if word == "not":
        inner = reading(operand, alarm)
        return None if inner is None else not inner
    if word in ("and", "or"):
        decisive = word == "or"
        results = [reading(part, alarm) for part in operand]
        if decisive in results:
            return decisive
        return None if None in results else not decisive
    ((name, value),) = operand.items()
    actual = alarm["user_id" if name == "user" else name]
    return None if actual is None else MEANING[word](actual, value)


def ordered(alarms, orderby):
    alarms = sorted(alarms, key=lambda alarm: alarm["alarm_id"], reverse=True)
    for key in reversed(orderby or [{"timestamp": "desc"}]):
        ((name, way),) = key.items()
        name = "user_id" if name == "user" else name

        def rank(alarm, name=name):
            value = alarm[name]
            if name == "severity":
                return list(Severity).index(value)
            return (value is not None, value if value is not None else "")

        alarms.sort(key=rank, reverse=way == "desc")
    return alarms


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A database of each kind with the alarms in it, by its name."""
    with postgresql.running() as server:
        sqlite = tmp_path_factory.mktemp("query") / "db.sqlite"
        urls = {"sqlite": f"sqlite:///{sqlite}", "postgresql": server.create_database()}
        found = {name: open_engine(url) for name, url in urls.items()}
        for engine in found.values():
            upgrade(engine)
            for alarm in ALARMS:
                AlarmRepository(engine).create(alarm, ALICE)
        yield found
        for engine in found.values():
            engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, engines):
    return engines[request.param]


@pytest.fixture
def client(services):
    return TestClient(create_api(services))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(wanted=FILTERS, orderby=ORDERS, limit=st.none() | st.integers(1, 5))
def test_search_is_what_it_reads_like(client, wanted, orderby, limit):
    body = {"filter": json.dumps(wanted), "orderby": json.dumps(orderby), "limit": limit}
    if not orderby:
        del body["orderby"]
    headers = {"X-User-Id": "u", "X-Roles": "reader", "X-Project-Id": "p1"}
    answer = client.simulate_post("/v2/query/alarms", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    expected = ordered([alarm for alarm in SHOWN if reading(wanted, alarm)], orderby)
    assert [one["alarm_id"] for one in answer.json] == [one["alarm_id"] for one in expected[:limit]]
