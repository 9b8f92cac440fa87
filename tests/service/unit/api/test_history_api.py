# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.service.alarm_requests import ADMIN, fault, with_
from tests.service.alarm_support import ALICE, make_alarm, make_transition
from thermostat.alarms.model import State

SECOND_US = 1_000_000


@pytest.fixture
def url(services):
    """An alarm whose state was set by hand at second 10, 20, 30 of the epoch."""
    services.alarms.create(make_alarm(timestamp_us=0, state_timestamp_us=0), ALICE)
    for number, state in enumerate([State.OK, State.ALARM, State.OK], start=1):
        services.alarms.set_state("a1", state, ALICE, number * 10 * SECOND_US)
    return "/v2/alarms/a1/history"


def seconds(api, url, query):
    answer = api("GET", url, query_string=query)
    assert answer.status_code == 200, answer.text
    return [int(event["timestamp"][-2:]) for event in answer.json]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [30, 20, 10, 0]),
        ("q.field=timestamp&q.op=gt&q.value=1970-01-01T00:00:10", [30, 20]),
        ("q.field=timestamp&q.op=ge&q.value=1970-01-01T00:00:10", [30, 20, 10]),
        ("q.field=timestamp&q.op=lt&q.value=1970-01-01T00:00:10", [0]),
        ("q.field=timestamp&q.op=le&q.value=1970-01-01T00:00:10Z", [10, 0]),
        ("q.field=timestamp&q.op=eq&q.value=1970-01-01T00:00:10", [10]),
        (
            "q.field=timestamp&q.op=gt&q.value=1970-01-01T00:00:10"
            "&q.field=timestamp&q.op=lt&q.value=1970-01-01T00:00:30",
            [20],
        ),
        (
            "q.field=timestamp&q.op=gt&q.value=1970-01-01T00:01:10"
            "&q.field=search_offset&q.op=eq&q.value=1",
            [30, 20],
        ),
        ("q.field=type&q.op=eq&q.value=creation", [0]),
        ("q.field=user&q.op=eq&q.value=alice&limit=1", [30]),
        ("q.field=project&q.op=eq&q.value=p1&limit=1", [30]),
        ("q.field=type&q.value=deletion&q.field=type&q.value=creation", [0]),
        ("sort=alarm_id:asc&sort=timestamp:asc", [0, 10, 20, 30]),
        ("q.field=on_behalf_of&q.op=eq&q.value=p1&sort=timestamp:asc&limit=2", [0, 10]),
    ],
)
def test_query(api, url, query, found):
    assert seconds(api, url, query) == found


def test_pages(api, url):
    events = api("GET", url).json
    assert seconds(api, url, f"limit=2&marker={events[1]['event_id']}") == [10, 0]
    assert seconds(api, url, f"sort=project_id:desc&marker={events[2]['event_id']}") == [0]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("q.field=timestamp&q.op=ne&q.value=1970-01-01", "ne"),
        ("q.field=timestamp&q.op=gt&q.value=noon", "timestamp"),
        ("q.field=search_offset&q.op=eq&q.value=1", "without timestamp"),
        (
            "q.field=timestamp&q.op=gt&q.value=1970-01-01&q.field=search_offset&q.op=eq&q.value=-1",
            "search_offset",
        ),
        (
            "q.field=timestamp&q.op=gt&q.value=1970-01-01&q.field=search_offset&q.op=gt&q.value=1",
            "search_offset",
        ),
        ("q.field=detail&q.op=eq&q.value=x", "detail"),
        ("q.field=type&q.op=gt&q.value=creation", "eq"),
        ("q.field=type&q.op=eq&q.value=colour", "colour"),
        ("sort=detail", "detail"),
        ("marker=nothing", "nothing"),
        ("limit=0", "limit"),
    ],
)
def test_bad_query_names_what_is_wrong(api, url, query, word):
    answer = api("GET", url, query_string=query)
    assert answer.status_code == 400
    assert word in fault(answer)


def test_missing_authors_are_sorted_before_all_others(api, services, url):
    alarm = services.alarms.find("a1")
    event_of_evaluator = {"user_id": None, "project_id": None}
    services.alarms.record(make_transition(alarm, State.ALARM))
    events = api("GET", url, query_string="sort=user_id").json
    assert {name: events[0][name] for name in event_of_evaluator} == event_of_evaluator
    rest = api("GET", url, query_string=f"sort=user_id&marker={events[0]['event_id']}").json
    assert rest == events[1:]


OWN = "q.field=project&q.value=p1"


def test_another_project_is_not_the_owners_to_ask_for(api, url):
    query = "q.field=on_behalf_of&q.op=eq&q.value=p2"
    assert api("GET", url, query_string=query).status_code == 400
    assert api("GET", url, query_string=query, **ADMIN).json == []


@pytest.mark.parametrize("field", ["project", "project_id"])
def test_what_another_project_did_is_not_the_owners_to_ask_for(api, url, field):
    for query in (f"q.field={field}&q.value=p2", f"q.field={field}&q.value=p2&{OWN}"):
        answer = api("GET", url, query_string=query)
        assert (answer.status_code, fault(answer)) == (401, "Not Authorized to access project p2")
    assert api("GET", url, query_string=f"q.field={field}&q.value=p2", **ADMIN).json == []


def test_alarm_list_pages_by_every_key(api):
    for name in "abc":
        api("POST", "/v2/alarms", with_(name=name, enabled=name != "b"))
    for key in ("enabled", "severity", "repeat_actions", "state", "timestamp", "name"):
        every = api("GET", "/v2/alarms", query_string=f"sort={key}").json
        marker = every[0]["alarm_id"]
        rest = api("GET", "/v2/alarms", query_string=f"sort={key}&marker={marker}").json
        assert rest == every[1:], key
