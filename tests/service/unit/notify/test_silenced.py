# SPDX-License-Identifier: Apache-2.0
"""Silences over HTTP, with a whole server and a real receiver."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.service.alarm_requests import RULE
from tests.service.alarm_support import make_transition
from tests.service.served import Deployment
from tests.service.waiting import wait_until
from thermostat.alarms.model import State


@pytest.fixture
def server(tmp_path):
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.stop()


def in_s(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def silence(server, seconds, *, value="web"):
    wanted = {
        "matcher": [{"field": "name", "op": "regex", "value": value}],
        "until": in_s(seconds),
        "comment": "maintenance",
    }
    return f"/v2/silences/{server.call('POST', '/v2/silences', wanted)['silence_id']}"


def create(server, name, **changes):
    hooks = {
        f"{state}_actions": [f"{server.hooks.url}/{name}/{state}"] for state in ("alarm", "ok")
    }
    return server.create("threshold", RULE, **hooks, name=name, **changes)


def go(server, alarm_id, state):
    alarms = server.services.alarms
    now_us = server.services.now_us()
    assert alarms.record(make_transition(alarms.find(alarm_id), state, timestamp_us=now_us))
    server.server._notifier.wake()


def told(server):
    return sorted(call.path for call in server.hooks.calls)


def test_nothing_is_called_until_it_ends_and_then_the_state_once(server):
    web, other = create(server, "web"), create(server, "other")
    url = silence(server, 3600)
    for state in (State.ALARM, State.OK, State.ALARM):
        go(server, web, state)
    go(server, other, State.ALARM)
    wait_until(lambda: told(server) == ["/other/alarm"])
    server.restart()
    time.sleep(0.7)
    assert told(server) == ["/other/alarm"]
    events = server.call("GET", f"/v2/alarms/{web}/history")
    details = [json.loads(event["detail"]) for event in events]
    assert [detail["state"] for detail in details[:3]] == ["alarm", "ok", "alarm"]
    assert {detail["silenced_by"] for detail in details[:3]} == {url.rpartition("/")[2]}
    server.call("DELETE", url)
    wait_until(lambda: told(server) == ["/other/alarm", "/web/alarm"])
    body = json.loads(next(call.body for call in server.hooks.calls if "web" in call.path))
    assert (body["previous"], body["current"]) == ("insufficient data", "alarm")
    time.sleep(0.7)
    assert len(server.hooks.calls) == 2


def test_one_that_ends_by_itself(server):
    web = create(server, "web")
    silence(server, 1.0)
    go(server, web, State.ALARM)
    time.sleep(0.3)
    assert told(server) == []
    wait_until(lambda: told(server) == ["/web/alarm"])
    go(server, web, State.OK)
    wait_until(lambda: told(server) == ["/web/alarm", "/web/ok"])


def test_health_and_metrics(server):
    silence(server, 3600)
    assert server.call("GET", "/healthcheck")["status"] == "ok"
    text = server.pool.request("GET", f"http://{server.server.address}/metrics").data.decode()
    assert 'thermostat_silences{status="active"} 1.0' in text
    assert "thermostat_silence_ends_told_total 0.0" in text
