# SPDX-License-Identifier: Apache-2.0
"""`POST /v2/alarms/preview`: what an alarm would have done; nothing is created or called."""

import dataclasses
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.alarm_requests import ADMIN, HOOK, TRUSTED, fault, with_, with_rule
from tests.service.unit.api.conftest import Api
from tests.service.unit.api.test_bad_inputs import anything, check, documents, often
from tests.service.unit.api.test_other_rules import RULES
from thermostat.api import preview as preview_api
from thermostat.api.app import create_api
from thermostat.replay import preview as previews
from thermostat.samples.model import Sample, SampleType

S = 1_000_000
NOW_S = 1_750_000_080  # a whole minute: 2025-06-15T15:08:00
PATH = "/v2/alarms/preview"


@pytest.fixture
def services(services):
    return dataclasses.replace(services, clock=lambda: NOW_S, retention_hours=48)


def feed(services, values, *, resource="vm-1", meter="cpu_util", project="p1", every_s=60, **rest):
    """Let a resource have reported these values, the last one now; None: it did not."""
    begin_s = NOW_S - every_s * (len(values) - 1)
    services.ingest.accept(
        [
            Sample(
                name=meter,
                type=SampleType.GAUGE,
                unit="%",
                volume=value,
                resource_id=resource,
                project_id=project,
                timestamp_us=(begin_s + index * every_s) * S,
                **rest,
            )
            for index, value in enumerate(values)
            if value is not None
        ]
    )


def changes(answer):
    assert answer.status_code == 200, answer.text
    return [
        (one["timestamp"][11:], one["previous"], one["state"]) for one in answer.json["transitions"]
    ]


def test_tells_the_transitions_of_the_last_hours(api, services):
    feed(services, [50] * 20 + [90] * 5 + [50] * 5)
    answer = api("POST", PATH, {**with_rule(evaluation_periods=2), "hours": 0.4})
    assert changes(answer) == [
        ("14:44:00", "insufficient data", "ok"),
        ("15:00:00", "ok", "alarm"),
        ("15:05:00", "alarm", "ok"),
    ]
    found = answer.json
    assert found["state"] == "ok"
    assert found["series"] == 1
    assert found["samples"] >= 25
    assert (found["evaluated_from"], found["evaluated_until"]) == (
        "2025-06-15T14:44:00",
        "2025-06-15T15:08:00",
    )
    deciding = found["transitions"][1]
    assert "2 samples outside threshold, most recent: 90" in deciding["reason"]
    assert deciding["reason_data"]["type"] == "threshold"


def test_creates_and_calls_nothing(api, services):
    feed(services, [90] * 30)
    answer = api("POST", PATH, with_(alarm_actions=[HOOK, TRUSTED]))
    assert answer.json["state"] == "alarm"
    assert api("GET", "/v2/alarms").json == []
    assert services.trusts.made == 0
    assert services.alarm_changed == []
    assert not any(services.outbox.counts().values())


def test_samples_of_other_projects_do_not_count(api, services):
    feed(services, [90] * 30, project="p2")
    answer = api("POST", PATH, with_())
    assert (changes(answer), answer.json["series"]) == ([], 0)


def test_the_future_is_not_seen_from_the_start(api, services):
    feed(services, [50] * 30 + [90] * 30)
    body = {**with_(), "start": "2025-06-15T14:20:00", "end": "2025-06-15T14:30:00"}
    answer = api("POST", PATH, body)
    assert answer.json["state"] == "ok"
    assert [state for _, _, state in changes(answer)] == ["ok"]


def test_begins_in_the_state_that_the_definition_has(api, services):
    feed(services, [90] * 30)
    assert changes(api("POST", PATH, {**with_(state="alarm"), "hours": 0.2})) == []


@pytest.mark.parametrize(
    ("span", "field", "reason"),
    [
        ({"hours": 0}, "hours", "> 0"),
        ({"hours": "many"}, "hours", "float"),
        ({"hours": 169}, "hours", "at most 168"),
        ({"hours": 49}, "hours", "kept for 48 hours"),
        ({"start": "yesterday"}, "start", "ISO 8601"),
        ({"start": "2025-06-15T16:00:00"}, "start", "before the end"),
        ({"start": "2025-06-12T16:00:00"}, "start", "kept for 48 hours"),
        ({"end": "2025-06-15T15:09:00"}, "end", "future"),
        ({"start": "2025-06-15T14:00:00", "hours": 1}, "hours", "together"),
    ],
)
def test_a_span_that_makes_no_sense_is_refused(api, span, field, reason):
    answer = api("POST", PATH, {**with_(), **span})
    assert answer.status_code == 400
    assert fault(answer).startswith(f"Invalid input for field/attribute {field}: ")
    assert reason in fault(answer)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        with_(name=""),
        with_(colour="red"),
        with_(alarm_actions=["gopher://x"]),
        with_(alarm_actions=["log://"]),
        with_(project_id="p2"),
        with_rule(threshold="high"),
        with_rule(datapoints_to_alarm=3),
        with_(time_constraints=[{"name": "n", "start": "x", "duration": 1}]),
        {"name": "n", "type": "combination", "combination_rule": {"alarm_ids": ["a1", "a2"]}},
    ],
)
def test_refuses_what_creation_refuses_with_the_same_words(api, body):
    created, previewed = api("POST", "/v2/alarms", body), api("POST", PATH, body)
    assert previewed.status_code == created.status_code >= 400
    assert fault(previewed) == fault(created)


@often
@given(document=documents)
def test_whatever_is_asked_is_judged_or_refused_as_at_creation(api, services, document):
    feed(services, [50, 90, 50])
    created, previewed = api("POST", "/v2/alarms", document), api("POST", PATH, document)
    if created.status_code == 201:
        assert previewed.status_code == 200, previewed.text
    else:
        assert (previewed.status_code, previewed.text) == (created.status_code, created.text)


@often
@given(span=st.dictionaries(st.sampled_from(["hours", "start", "end"]), anything, min_size=1))
def test_whatever_span_is_asked_for_is_judged_or_refused(api, span):
    check(api("POST", PATH, {**with_(), **span}))


@pytest.mark.parametrize("period", [86_400, 31_536_000])
def test_a_window_longer_than_the_retention_reads_what_is_kept(api, services, period):
    feed(services, [90] * 30)
    found = api("POST", PATH, with_rule(period=period, evaluation_periods=100)).json
    assert (found["samples"], found["series"], found["state"]) == (30, 1, "insufficient data")


def test_takes_the_rights_that_creation_takes(api):
    answer = api("POST", PATH, with_(), roles="reader")
    assert answer.status_code == 403
    assert "telemetry:preview_alarm" in fault(answer)


def test_an_administrator_may_ask_for_another_project(api, services):
    feed(services, [90] * 30)
    answer = api("POST", PATH, with_(project_id="p1"), **ADMIN)
    assert answer.json["state"] == "alarm"


def test_too_many_samples_are_refused(api, services, monkeypatch):
    monkeypatch.setattr(previews, "MOST_SAMPLES", 20)
    feed(services, [90] * 30)
    answer = api("POST", PATH, with_())
    assert answer.status_code == 400
    assert "more than 20 samples: ask for a shorter span of time, or narrow the query" in fault(
        answer
    )


def test_too_many_steps_are_refused(api):
    answer = api("POST", PATH, {**with_rule(period=1), "hours": 47})
    assert answer.status_code == 400
    assert "169200 steps of 1 s" in fault(answer)


def test_too_long_a_preview_is_given_up(api, services, monkeypatch):
    monkeypatch.setattr(previews, "MOST_SECONDS", -1.0)
    feed(services, [90] * 30)
    answer = api("POST", PATH, with_())
    assert answer.status_code == 400
    assert "it takes more than" in fault(answer)


class SlowStore:
    """A store whose scans wait until they are let go."""

    def __init__(self, store):
        self._store = store
        self.scanning = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __getattr__(self, name):
        return getattr(self._store, name)

    def scan(self, *span):
        self.scanning.release()
        assert self.go_on.wait(20)
        return self._store.scan(*span)


def test_a_third_preview_at_once_is_asked_to_come_again(services):
    store = SlowStore(services.store)
    api = Api(create_api(dataclasses.replace(services, store=store)))
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(api("POST", PATH, with_())))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        assert store.scanning.acquire(timeout=20)
    try:
        refused = api("POST", PATH, with_())
    finally:
        store.go_on.set()
        for thread in threads:
            thread.join()
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "2 previews" in fault(refused)
    assert [one.status_code for one in answers] == [200, 200]
    assert api("POST", PATH, with_()).status_code == 200


def refer(*alarm_ids, **changes):
    parts = [{"type": "alarm", "alarm_id": alarm_id} for alarm_id in alarm_ids]
    return {"name": "both", "type": "composite", "composite_rule": {"and": parts}, **changes}


@pytest.fixture
def named(api):
    """The ids of two alarms: cpu_util above 70, and memory.util above 80."""
    memory = {"meter_name": "memory.util", "threshold": 80, "comparison_operator": "gt"}
    made = [
        api("POST", "/v2/alarms", body)
        for body in (with_(), with_(name="full", threshold_rule=memory))
    ]
    return [answer.json["alarm_id"] for answer in made]


def test_alarms_that_a_rule_names_are_judged_anew(api, services, named):
    api("PUT", f"/v2/alarms/{named[1]}/state", "alarm")  # what it is now is of no importance
    feed(services, [90] * 20 + [50] * 10)
    feed(services, [50] * 10 + [90] * 20, meter="memory.util")
    answer = api("POST", PATH, {**refer(*named), "hours": 0.4})
    assert changes(answer) == [
        ("14:44:00", "insufficient data", "ok"),
        ("14:49:00", "ok", "alarm"),
        ("14:59:00", "alarm", "ok"),
    ]
    assert answer.json["series"] == 2


def test_a_disabled_alarm_counts_as_insufficient_data(api, services, named):
    document = api("GET", f"/v2/alarms/{named[1]}").json
    assert api("PUT", f"/v2/alarms/{named[1]}", {**document, "enabled": False}).status_code == 200
    feed(services, [90] * 30)
    feed(services, [90] * 30, meter="memory.util")
    answer = api("POST", PATH, refer(*named))
    assert (changes(answer), answer.json["state"]) == ([], "insufficient data")
    assert answer.json["series"] == 1


PROMETHEUS = {"type": "prometheus", "query": "up", "threshold": 1}
NEEDS_OTHER_DATA = "cannot be judged over recorded samples: it needs other data"


@pytest.mark.parametrize("kind", RULES)
def test_what_samples_cannot_decide_is_refused_by_its_name(api, kind):
    answer = api("POST", PATH, {"name": "n", "type": kind, f"{kind}_rule": RULES[kind]})
    assert answer.status_code == 400
    assert fault(answer) == (
        f"Invalid input for field/attribute {kind}_rule: a {kind} rule {NEEDS_OTHER_DATA}"
    )


def test_a_part_that_samples_cannot_decide_is_refused_by_its_name(api, named):
    parts = [{"type": "alarm", "alarm_id": named[0]}, {"not": PROMETHEUS}]
    body = {"name": "n", "type": "composite", "composite_rule": {"or": parts}}
    answer = api("POST", PATH, body)
    assert answer.status_code == 400
    assert fault(answer) == (
        "Invalid input for field/attribute composite_rule.or[1].not: "
        f"a prometheus rule {NEEDS_OTHER_DATA}"
    )


def test_dependence_on_what_samples_cannot_decide_is_refused(api, named):
    rule = {key: value for key, value in PROMETHEUS.items() if key != "type"}
    made = api("POST", "/v2/alarms", {"name": "n", "type": "prometheus", "prometheus_rule": rule})
    other = made.json["alarm_id"]
    answer = api("POST", PATH, refer(named[0], other))
    assert answer.status_code == 400
    assert fault(answer) == (
        f"The preview is not possible: it depends on alarm {other}, and a prometheus rule "
        f"{NEEDS_OTHER_DATA}"
    )


def test_a_foreign_alarm_is_refused_as_at_creation(api, named):
    for path in ("/v2/alarms", PATH):
        answer = api("POST", path, refer(*named), project="p2")
        assert answer.status_code == 400
        assert "composite_rule.and[0].alarm_id: there is no alarm" in fault(answer)


def test_a_suppressor_withholds_no_transition(api, services, named):
    feed(services, [50] * 20 + [90] * 10)
    feed(services, [90] * 30, meter="memory.util")
    rule = {"not": {"not": {"type": "alarm", "alarm_id": named[0]}}, "suppressor": named[1]}
    answer = api("POST", PATH, refer(composite_rule=rule, alarm_actions=[HOOK]))
    assert [state for _, _, state in changes(answer)] == ["ok", "alarm"]
    assert [one["suppressed"] for one in answer.json["transitions"]] == [False, True]


def test_dependence_on_too_many_alarms_is_refused(api, named, monkeypatch):
    monkeypatch.setattr(preview_api, "MOST_NAMED", 1)
    answer = api("POST", PATH, refer(*named))
    assert answer.status_code == 400
    assert "depends on more than 1 alarms" in fault(answer)
