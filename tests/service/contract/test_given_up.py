# SPDX-License-Identifier: Apache-2.0
"""Notifications given up, sent again and signed anew, seen from outside: over HTTP and the CLI."""

import json
import threading
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.service.hooks import Answer, HookServer
from tests.service.identity import PROJECT
from tests.service.served import Deployment, wait_until
from thermostat.cmd import notify

OPTIONS = "backoff_base = 0.3\nbackoff_max = 0.3\n"


@pytest.fixture
def deployment(tmp_path):
    deployment = Deployment(tmp_path, OPTIONS)
    yield deployment
    deployment.stop()


@pytest.fixture
def hook():
    hook = HookServer().start()
    yield hook
    hook.stop()


@pytest.fixture
def command(deployment, capsys):
    def command(name, *arguments):
        notify.main([name, "--config-file", str(deployment.directory / "conf"), *arguments])
        return capsys.readouterr().out

    return command


def fire(deployment, url, count):
    """Put so many alarms into alarm that call this URL; give their ids."""
    meter = f"m{time.monotonic_ns()}"
    rule = {"meter_name": meter, "period": 10, "threshold": 50.0, "comparison_operator": "gt"}
    ids = [
        deployment.create("threshold", rule, alarm_actions=[url], name=f"n{number}")
        for number in range(count)
    ]

    def is_fired():
        deployment.call("POST", "/v2/samples", [_sample(meter)])  # of each step that begins
        return all(status(deployment, one) for one in ids)

    wait_until(is_fired, 30)
    return ids


def _sample(meter):
    return {
        "name": meter,
        "type": "gauge",
        "unit": "%",
        "volume": 99.0,
        "resource_id": "r",
        "project_id": PROJECT,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() // 10 * 10)),
    }


def status(deployment, alarm_id):
    """Give what became of an alarm's only notification, once it is there."""
    found = deployment.call("GET", f"/v2/alarms/{alarm_id}/notifications")
    return found[0] if found else None


def ids_in(call):
    return [one["notification_id"] for one in json.loads(call.body)["alarms"]]


def test_only_what_is_named_of_a_group_is_dropped(deployment, hook, command):
    hook.answer = lambda _call: Answer(503)
    alarms = fire(deployment, f"{hook.url}/?thermostat-group=1", 4)
    wait_until(lambda: all(status(deployment, one)["last_error"] for one in alarms))
    assert len({status(deployment, one)["attempts"] for one in alarms}) == 1
    listed = json.loads(command("list", "--format", "json"))
    assert [one["reason"] for one in listed] == ["HTTP 503"] * 4
    first, second, third, fourth = ids_in(hook.calls[-1])
    deployment.call("DELETE", f"/v2/notifications/{first}")
    of_second = deployment.call("GET", f"/v2/notifications/{second}")
    assert command("drop", "--alarm", of_second["alarm_id"]) == "1 dropped\n"
    wait_until(lambda: hook.calls[-1].headers["webhook-id"] == third)  # nothing else is under way
    hook.answer = lambda _call: Answer(200)
    wait_until(
        lambda: (
            sorted(status(deployment, one)["status"] for one in alarms)
            == ["delivered", "delivered", "dropped", "dropped"]
        )
    )
    assert hook.calls[-1].headers["webhook-id"] == third
    assert ids_in(hook.calls[-1]) == [third, fourth]


def test_what_was_dropped_of_an_open_group_can_be_sent(deployment, hook):
    alarms = fire(deployment, f"{hook.url}/?thermostat-group=3", 2)
    dropped = status(deployment, alarms[0])["notification_id"]
    deployment.call("DELETE", f"/v2/notifications/{dropped}")
    shown = deployment.call("POST", f"/v2/notifications/{dropped}/retry")
    assert shown["status"] == "pending"
    wait_until(lambda: status(deployment, alarms[0])["status"] == "delivered")
    wait_until(lambda: status(deployment, alarms[1])["status"] == "delivered")
    assert [ids_in(call) for call in hook.calls] == [
        [dropped],
        [status(deployment, alarms[1])["notification_id"]],
    ]


def test_a_new_secret_signs_at_once(deployment, hook):
    """What waits behind a slow answer too, though it was read before."""
    goes_on = threading.Event()
    hook.answer = lambda _call: Answer(200 if goes_on.wait(10) else 500)
    before = deployment.call("GET", "/v2/webhook-secret")["secret"]
    fire(deployment, f"{hook.url}/x", 12)
    wait_until(lambda: hook.calls)
    after = deployment.call("POST", "/v2/webhook-secret")["secret"]
    goes_on.set()
    wait_until(lambda: len(hook.calls) == 12)
    under_way, *later = hook.calls
    with pytest.raises(WebhookVerificationError):
        Webhook(after).verify(under_way.body, under_way.headers)
    for call in later:
        Webhook(before).verify(call.body, call.headers)
        Webhook(after).verify(call.body, call.headers)
