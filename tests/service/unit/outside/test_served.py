# SPDX-License-Identifier: Apache-2.0
"""A whole server over HTTP whose outside stores are fakes, found as entry points are."""

import json
import threading
from importlib.metadata import EntryPoint

import pytest

from tests.service.identity import PROJECT
from tests.service.served import Deployment, wait_until
from thermostat.alarms.outside import OUTSIDE_TYPES
from thermostat.outside import loading
from thermostat.outside.base import Answer
from thermostat.outside.fake import FakeOutsideStore

GNOCCHI = {
    "metric": "cpu",
    "resource_id": "r1",
    "resource_type": "instance",
    "aggregation_method": "mean",
    "granularity": 1,
    "threshold": 50,
    "comparison_operator": "gt",
}
PROMETHEUS = {"query": "up", "granularity": 1, "threshold": 50, "comparison_operator": "gt"}
LIVE = {"meter_name": "m", "period": 10, "threshold": 50, "comparison_operator": "gt"}


STORES = {}
"""The stores of the test that runs; they outlive its servers."""


def prometheus(_conf):
    return STORES["prometheus"]


def gnocchi(_conf):
    return STORES["gnocchi"]


def unconfigured(_conf):
    return fake()


def fake(*types):
    store = FakeOutsideStore()
    store.types = frozenset(types)
    return store


@pytest.fixture
def deployment(tmp_path, monkeypatch):
    STORES["prometheus"] = fake("prometheus")
    STORES["gnocchi"] = fake(*(set(OUTSIDE_TYPES) - {"prometheus"}))
    found = [
        EntryPoint(name, f"{__name__}:{name}", loading.ENTRY_POINTS)
        for name in ("prometheus", "gnocchi", "unconfigured")
    ]
    monkeypatch.setattr(loading, "entry_points", lambda **_: found)
    one = Deployment(tmp_path)
    yield one
    one.stop()


def test_alarms_of_both_stores_are_judged_told_and_kept(deployment):
    assert {kind: id(store) for kind, store in deployment.services.outside.items()} == {
        kind: id(STORES["prometheus" if kind == "prometheus" else "gnocchi"])
        for kind in OUTSIDE_TYPES
    }
    STORES["prometheus"].value = 61.5
    hook = f"{deployment.hooks.url}/up"
    plain = deployment.create("prometheus", PROMETHEUS, alarm_actions=[hook])
    other = deployment.create("gnocchi_resources_threshold", GNOCCHI)
    expression = {
        "and": [
            {"type": "prometheus", **PROMETHEUS},
            {"not": {"type": "gnocchi_resources_threshold", **GNOCCHI}},
        ]
    }
    joined = deployment.create("composite", expression)
    combined = deployment.create("combination", {"alarm_ids": [plain, joined]})
    wait_until(lambda: deployment.state(combined) == "alarm")
    assert [deployment.state(one) for one in (plain, other, joined)] == ["alarm", "ok", "alarm"]
    wait_until(lambda: deployment.hooks.calls)
    told = json.loads(deployment.hooks.calls[0].body)
    assert (told["previous"], told["current"]) == ("insufficient data", "alarm")
    assert told["reason_data"]["most_recent"] == 61.5
    assert deployment.history(plain) == ["state transition", "creation"]
    asked = {one.project_id for polled, _ in STORES["prometheus"].polls for one in polled}
    assert asked == {PROJECT}
    assert deployment.metric("polls_total", "prometheus") >= 1
    assert deployment.metric("failures_total", "prometheus") == 0
    assert deployment.metric("seconds_count", "gnocchi") >= 1

    deployment.restart()
    polls = len(STORES["prometheus"].polls)
    wait_until(lambda: len(STORES["prometheus"].polls) > polls + 1)
    assert [deployment.state(one) for one in (plain, joined, combined)] == ["alarm"] * 3
    assert deployment.history(plain) == ["state transition", "creation"]
    assert deployment.history(joined) == ["state transition", "creation"]


def test_a_store_that_cannot_be_reached_costs_only_its_own(deployment):
    STORES["gnocchi"].unavailable = "cannot connect to gnocchi.example"
    lost = deployment.create("gnocchi_resources_threshold", GNOCCHI, state="ok")
    well = deployment.create("prometheus", PROMETHEUS)
    wait_until(lambda: deployment.state(lost) == "insufficient data")
    reason = deployment.call("GET", f"/v2/alarms/{lost}")["state_reason"]
    assert "cannot connect to gnocchi.example" in reason
    assert deployment.state(well) == "ok"
    STORES["prometheus"].value = 99.0
    wait_until(lambda: deployment.state(well) == "alarm")
    assert deployment.call("GET", "/healthcheck") is not None
    assert deployment.metric("failures_total", "gnocchi") >= 2
    assert deployment.metric("failures_total", "prometheus") == 0
    STORES["gnocchi"].unavailable = None
    wait_until(lambda: deployment.state(lost) == "ok")


def test_a_store_that_hangs_delays_neither_the_other_nor_live_alarms(deployment):
    hanging = threading.Event()
    answer = STORES["gnocchi"].answer
    STORES["gnocchi"].answer = lambda *asked: hanging.wait(30) and answer(*asked)
    try:
        lost = deployment.create("gnocchi_resources_threshold", GNOCCHI, state="ok")
        wait_until(lambda: STORES["gnocchi"].polls)
        STORES["prometheus"].value = 99.0
        well = deployment.create("prometheus", PROMETHEUS)
        live = deployment.create("threshold", LIVE)
        wait_until(lambda: deployment.state(well) == "alarm", 2)
        deployment.report(99.0)
        wait_until(lambda: deployment.state(live) == "alarm", 2)
        wait_until(lambda: deployment.state(lost) == "insufficient data")
        reason = deployment.call("GET", f"/v2/alarms/{lost}")["state_reason"]
        assert "gnocchi does not answer" in reason
    finally:
        hanging.set()


def test_a_rule_that_a_driver_stumbles_over_costs_only_its_own(deployment):
    def stumbling(question, _now_us):
        if question.rule.query == "bad":
            raise RuntimeError("a fault of ours")
        return Answer((99.0,))

    STORES["prometheus"].answer = stumbling
    well = [deployment.create("prometheus", {**PROMETHEUS, "query": f"q{n}"}) for n in range(3)]
    bad = deployment.create("prometheus", {**PROMETHEUS, "query": "bad"}, state="ok")
    wait_until(lambda: [deployment.state(one) for one in well] == ["alarm"] * 3)
    wait_until(lambda: deployment.state(bad) == "insufficient data")
    assert "a fault of the server" in deployment.call("GET", f"/v2/alarms/{bad}")["state_reason"]
