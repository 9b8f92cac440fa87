# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the server while a real guest is loaded: nothing is lost, the alarm fires once."""

import json
import time

import pytest

from tests.service.hooks import HookServer
from tests.service.lab.parts import ServerProcess, Servers, running_agent

pytestmark = pytest.mark.lab

GROUP = "crash-test"
INTERVAL_S = 2
BUSY = 15.0
"""Percent of its vCPU: an idle guest takes one, and a busy one what the machine has left."""
QUERY = [{"field": "metadata.user_metadata.server_group", "op": "eq", "value": GROUP}]


@pytest.fixture
def guest(lab):
    servers = Servers(lab, GROUP)
    yield servers.boot("crash-1")
    servers.delete_all()


@pytest.fixture
def server(lab, tmp_path):
    server = ServerProcess(lab, tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hooks():
    hooks = HookServer().start()
    yield hooks
    hooks.stop()


class Tenant:
    """The demo user before one server."""

    def __init__(self, lab, url):
        self._session = lab.cloud("demo").session
        self._url = url

    def ask(self, method, path, **more):
        answer = self._session.request(f"{self._url}{path}", method, raise_exc=False, **more)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def create_alarm(self, hook):
        rule = {
            "meter_name": "cpu_util",
            "query": QUERY,
            "period": 10,
            "comparison_operator": "gt",
            "threshold": BUSY,
        }
        body = {"name": "busy", "type": "threshold", "threshold_rule": rule}
        return self.ask("POST", "/v2/alarms", json={**body, "alarm_actions": [hook]})["alarm_id"]

    def statistics(self, period_s):
        (field,) = QUERY
        query = {"q.field": field["field"], "q.value": field["value"], "period": period_s}
        return self.ask("GET", "/v2/meters/cpu_util/statistics", params=query)

    def wait_for_state(self, alarm_id, state, timeout_s=180):
        deadline = time.monotonic() + timeout_s
        while self.ask("GET", f"/v2/alarms/{alarm_id}/state") != state:
            assert time.monotonic() < deadline, f"no {state!r}: {self.statistics(10)[-5:]}"
            time.sleep(0.3)


def test_killed_while_loaded(lab, server, guest, hooks, tmp_path):
    tenant = Tenant(lab, server.url)
    with running_agent(lab, server.url, tmp_path, INTERVAL_S):
        alarm_id = tenant.create_alarm(f"{hooks.url}/hook?signature=secret")
        tenant.wait_for_state(alarm_id, "ok")

        lab.load(guest, on=True)
        try:
            time.sleep(3 * INTERVAL_S)
            before = tenant.statistics(INTERVAL_S)
            server.kill()
            time.sleep(2 * INTERVAL_S)
            server.start()
            tenant.wait_for_state(alarm_id, "alarm")
            server.kill()
            server.start()
            time.sleep(12)
        finally:
            lab.load(guest, on=False)
        after = tenant.statistics(INTERVAL_S)

    acknowledged = {row["period_end"]: row["avg"] for row in before}
    found = {row["period_end"]: row["avg"] for row in after}
    assert acknowledged.items() <= found.items(), "what was answered once has changed or is lost"
    assert {row["count"] for row in after} == {1}, "a sample was stored twice"
    ends = sorted(found)
    missing = (_seconds(ends[-1]) - _seconds(ends[0])) / INTERVAL_S + 1 - len(ends)
    unanswered = (tmp_path / "agent.log").read_text().count("Pollster libvirt: ")
    assert missing <= 2 * unanswered, "a gap where libvirt, on a busy machine, did answer"

    history = tenant.ask("GET", f"/v2/alarms/{alarm_id}/history")
    details = [json.loads(e["detail"]) for e in history if e["type"] == "state transition"]
    assert [detail["state"] for detail in details].count("alarm") == 1
    (fired,) = [detail for detail in details if detail["state"] == "alarm"]

    bodies = {call.headers["webhook-id"]: json.loads(call.body) for call in hooks.calls}
    (body,) = bodies.values()  # at least once, and always under the same id
    assert (body["previous"], body["current"]) == ("ok", "alarm")
    assert body["alarm_id"] == alarm_id
    assert body["reason"] == fired["transition_reason"]
    assert "Transition to alarm due to 1 samples outside threshold" in body["reason"]
    assert body["reason_data"]["most_recent"] > BUSY
    (datapoint,) = body["reason_data"]["datapoints"]
    assert datapoint["value"] == body["reason_data"]["most_recent"]
    assert "signature=secret" not in server.log.read_text()


def _seconds(iso):
    return time.mktime(time.strptime(iso[:19], "%Y-%m-%dT%H:%M:%S"))
