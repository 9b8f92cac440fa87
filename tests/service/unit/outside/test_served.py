# SPDX-License-Identifier: Apache-2.0
"""A whole server over HTTP whose outside stores are fakes, found as entry points are."""

import json
import threading
import time
from importlib.metadata import EntryPoint

import pytest
import urllib3
from oslo_config import cfg

from tests.service.alarm_support import open_database
from tests.service.hooks import HookServer
from tests.service.identity import PROJECT, identified
from thermostat import opts
from thermostat.alarms.outside import OUTSIDE_TYPES
from thermostat.outside import loading
from thermostat.outside.base import Answer
from thermostat.outside.fake import FakeOutsideStore
from thermostat.server import Server

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


class Deployment:
    """A server, what it calls, and its stores."""

    def __init__(self, directory):
        self.directory = directory
        open_database(directory / "db").dispose()
        self.hooks = HookServer().start()
        self.pool = urllib3.PoolManager(retries=False, timeout=10, headers={"Connection": "close"})
        self.server = None
        self.start()

    def start(self):
        conf = cfg.ConfigOpts()
        opts.register(conf)
        configuration = self.directory / "conf"
        configuration.write_text(
            "[api]\nport = 0\n"
            f"[database]\nconnection = sqlite:///{self.directory / 'db'}\n"
            f"[store]\npath = {self.directory / 'samples'}\nmin_free_mb = 0\n"
            "[outside]\nshortest_interval = 1\ntimeout = 0.5\n"
            "[notifier]\npoll_interval = 0.1\n"
        )
        conf([], project="thermostat", default_config_files=[str(configuration)])
        self.server = Server(conf, application=self.application)
        self.server.start()

    def application(self, services, conf):
        self.services = services
        return identified(services, conf)

    def restart(self):
        self.end()
        self.start()

    def stop(self):
        self.end()
        self.hooks.stop()

    def end(self):
        time.sleep(0.2)  # waitress is not stopped while it closes a connection
        self.server.stop()

    def call(self, method, path, body=None):
        answer = self.pool.request(
            method,
            f"http://{self.server.address}{path}",
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json", "Connection": "close"},
        )
        assert answer.status < 300, answer.data
        return json.loads(answer.data) if answer.data else None

    def create(self, kind, rule, **changes):
        document = {"name": kind, "type": kind, f"{kind}_rule": rule, **changes}
        return self.call("POST", "/v2/alarms", document)["alarm_id"]

    def state(self, alarm_id):
        return self.call("GET", f"/v2/alarms/{alarm_id}")["state"]

    def report(self, volume):
        """A member reports at the end of the newest step."""
        now_s = time.time() // 10 * 10
        sample = {
            "name": "m",
            "type": "gauge",
            "unit": "%",
            "volume": volume,
            "resource_id": "r",
            "project_id": PROJECT,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)),
        }
        self.call("POST", "/v2/samples", [sample])

    def history(self, alarm_id):
        return [one["type"] for one in self.call("GET", f"/v2/alarms/{alarm_id}/history")]

    def metric(self, name, store):
        text = self.pool.request("GET", f"http://{self.server.address}/metrics").data.decode()
        begin = f'thermostat_outside_{name}{{store="{store}"}} '
        (found,) = [line for line in text.splitlines() if line.startswith(begin)]
        return float(found.removeprefix(begin))


def wait_until(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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
