# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.service.hooks import Answer
from thermostat.db.outbox import Status
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.log import LogTransport

SECRET = "s3cret-signature"


def failing(times, status=500, **headers):
    """Answer so many requests with this status, then 200."""
    left = iter([Answer(status, headers)] * times)
    return lambda _call: next(left, Answer())


def wait_until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class TestDelivery:
    def test_body_and_headers_are_aodhs(self, notifier, hook):
        notifier.start()
        alarm = notifier.fire(f"{hook.url}/signal?Signature={SECRET}")
        assert notifier.wait()[Status.DELIVERED] == 1
        (call,) = hook.calls
        assert call.path == f"/signal?Signature={SECRET}"
        assert json.loads(call.body) == {
            "alarm_name": "busy",
            "alarm_id": alarm.alarm_id,
            "severity": "low",
            "previous": "insufficient data",
            "current": "alarm",
            "reason": "because",
            "reason_data": {"type": "threshold", "most_recent": 90.0},
        }
        assert call.headers["content-type"] == "application/json"
        assert call.headers["x-openstack-request-id"].startswith("req-")
        assert call.headers["webhook-id"] == notifier.rows()[0]["notification_id"]
        assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 5

    def test_comes_at_once_when_woken(self, notifier, hook):
        notifier.start(poll_interval=60.0)
        time.sleep(0.1)  # the worker sleeps
        begun = time.monotonic()
        notifier.fire(hook.url)
        wait_until(lambda: hook.calls)
        assert hook.calls[0].time_s - begun < 0.5

    def test_what_an_earlier_run_left(self, notifier, hook):
        notifier.fire(hook.url)
        notifier.start()
        assert notifier.wait()[Status.DELIVERED] == 1

    def test_stop_leaves_the_rest_pending(self, notifier, make_hook):
        slow = make_hook(lambda _call: Answer(delay_s=0.3))
        notifier.start(per_target_limit=1)
        for _ in range(3):
            notifier.fire(slow.url)
        wait_until(lambda: slow.calls)
        notifier.stop()
        counts = notifier.outbox.counts()
        assert counts[Status.DELIVERED] == len(slow.calls) == 1
        assert counts[Status.PENDING] == 2

    def test_the_database_may_fail_for_a_while(self, notifier, hook, monkeypatch, caplog):
        real, failures = notifier.outbox.settle, iter([OSError("disk full")])

        def settle(outcomes, now_us):
            for failure in failures if outcomes else ():
                raise failure
            real(outcomes, now_us)

        monkeypatch.setattr(notifier.outbox, "settle", settle)
        notifier.start()
        notifier.fire(hook.url)
        assert notifier.wait()[Status.DELIVERED] == 1
        assert "disk full" in caplog.text
        assert len(hook.calls) == 1


class TestRetries:
    def test_500_then_200_with_the_same_id(self, notifier, make_hook):
        hook = make_hook(failing(3))
        notifier.start()
        notifier.fire(hook.url)
        assert notifier.wait()[Status.DELIVERED] == 1
        assert len(hook.calls) == 4
        assert len({call.headers["webhook-id"] for call in hook.calls}) == 1
        assert len({call.headers["x-openstack-request-id"] for call in hook.calls}) == 1

    def test_down_then_up(self, notifier, hook):
        hook.stop()
        notifier.start()
        for _ in range(50):
            notifier.fire(hook.url)
        wait_until(lambda: any(row["attempts"] for row in notifier.rows()))
        assert {row["last_error"] for row in notifier.rows()} <= {None, "no connection"}
        hook.start()
        assert notifier.wait()[Status.DELIVERED] == 50
        assert len({call.headers["webhook-id"] for call in hook.calls}) == 50

    def test_retry_after_is_kept_to(self, notifier, make_hook):
        hook = make_hook(failing(1, 503, **{"Retry-After": "1"}))
        notifier.start()
        notifier.fire(hook.url)
        assert notifier.wait()[Status.DELIVERED] == 1
        first, second = hook.calls
        assert 1.0 <= second.time_s - first.time_s < 2.0

    def test_a_clock_that_is_set_back_delays_no_retry(self, notifier, make_hook):
        hook = make_hook(failing(2))
        notifier.clock_ahead_s = 3000.0
        notifier.start(backoff_base=2.0, backoff_max=2.0, deadline=3600)
        notifier.fire(hook.url)
        wait_until(lambda: notifier.rows()[0]["attempts"])
        notifier.clock_ahead_s = 0.0
        assert notifier.wait()[Status.DELIVERED] == 1

    def test_dead_after_the_deadline(self, notifier, make_hook, caplog):
        hook = make_hook(failing(1000))
        notifier.start(deadline=1)
        notifier.fire(hook.url)
        assert notifier.wait()[Status.DEAD] == 1
        (row,) = notifier.rows()
        assert row["last_error"] == "HTTP 500"
        assert row["attempts"] == len(hook.calls) > 1
        assert "given up: HTTP 500" in caplog.text

    def test_gone_means_gone(self, notifier, make_hook):
        hook = make_hook(failing(1, 410))
        notifier.start()
        notifier.fire(hook.url)
        assert notifier.wait()[Status.DEAD] == 1
        assert len(hook.calls) == 1

    def test_redirects_are_not_followed(self, notifier, hook, make_hook):
        elsewhere = make_hook(failing(1000, 302, Location=f"{hook.url}/elsewhere"))
        notifier.start(deadline=1)
        notifier.fire(elsewhere.url)
        assert notifier.wait()[Status.DEAD] == 1
        assert hook.calls == []
        assert "such redirects are not followed" in notifier.rows()[0]["last_error"]

    def test_a_broken_transport_loses_nothing(self, notifier, caplog):
        class Broken:
            calls = 0

            def send(self, _notification, _now_us):
                self.calls += 1
                if self.calls < 3:
                    raise KeyError("surprise")

        notifier.start({"http": Broken()})
        notifier.fire("http://x.example/")
        assert notifier.wait()[Status.DELIVERED] == 1
        assert "surprise" in caplog.text

    def test_a_scheme_without_a_transport(self, notifier):
        notifier.start(deadline=1)
        notifier.fire("gopher://x.example/")
        assert notifier.wait()[Status.DEAD] == 1
        assert "gopher" in notifier.rows()[0]["last_error"]


class TestOrder:
    @pytest.mark.parametrize("failures", [0, 3])
    def test_of_one_alarm_to_one_url(self, notifier, make_hook, failures):
        """What follows waits until what failed before it has been taken."""
        hook = make_hook(failing(failures))
        alarm = notifier.fire(hook.url)
        for number in range(10):
            notifier.repeat(alarm, f"number {number}")
        notifier.start()
        for number in range(10, 20):
            notifier.repeat(alarm, f"number {number}")
        assert notifier.wait()[Status.DELIVERED] == 21
        told = [json.loads(call.body)["reason"] for call in hook.calls]
        assert told[failures:] == ["because", *(f"number {number}" for number in range(20))]
        assert set(told[:failures]) <= {"because"}

    def test_after_one_that_is_dead(self, notifier, make_hook):
        hook = make_hook(failing(1, 410))
        alarm = notifier.fire(hook.url)
        notifier.repeat(alarm, "again")
        notifier.start(poll_interval=30.0)
        counts = notifier.wait()
        assert (counts[Status.DEAD], counts[Status.DELIVERED]) == (1, 1)

    def test_another_url_of_the_alarm_does_not_wait(self, notifier, make_hook):
        bad, good = make_hook(failing(10_000)), make_hook()
        alarm = notifier.fire(bad.url, good.url)
        notifier.start()
        for _ in range(5):
            notifier.repeat(alarm, "again")
        notifier.wait(pending=6)
        assert len(good.calls) == 6
        assert len({call.headers["webhook-id"] for call in bad.calls}) == 1


class TestSeparation:
    @pytest.fixture
    def hanging(self):
        """URLs of 40 targets that accept connections and never answer."""
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(40)]
        yield [f"http://127.0.0.1:{listener.getsockname()[1]}/" for listener in listeners]
        for listener in listeners:
            listener.close()

    def test_a_target_is_not_flooded(self, notifier, make_hook):
        hook = make_hook(lambda _call: Answer(delay_s=0.05))
        notifier.start()
        notifier.fire(*[f"{hook.url}/{number}" for number in range(30)])
        assert notifier.wait()[Status.DELIVERED] == 30
        assert hook.most_at_once == 4

    def test_seventy_that_hang_delay_nobody(self, notifier, hook):
        """Not even the first time, when nobody knows that they hang."""
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(70)]
        try:
            notifier.start(workers=100, slow_workers=400, per_target_limit=10, read_timeout=30.0)
            for listener in listeners:
                notifier.fire(*[f"http://127.0.0.1:{listener.getsockname()[1]}/"] * 10)
            begun = time.monotonic()
            notifier.fire(*[f"{hook.url}/{number}" for number in range(100)])
            wait_until(lambda: len(hook.calls) == 100)
            assert time.monotonic() - begun < 2.0
            assert notifier.wait(pending=700)[Status.DELIVERED] == 100
        finally:
            for listener in listeners:
                listener.close()

    def test_many_more_that_hang_hold_the_room_for_a_second(self, notifier, hook, hanging):
        notifier.start(workers=20, slow_workers=80, read_timeout=30.0)
        notifier.fire(*hanging)
        begun = time.monotonic()
        notifier.fire(*[f"{hook.url}/{number}" for number in range(20)])
        wait_until(lambda: len(hook.calls) == 20)
        assert time.monotonic() - begun < 6.0  # three rounds of sixteen, each of a second

    def test_one_that_hangs_delays_nobody(self, notifier, hook, hanging):
        notifier.start(read_timeout=30.0)
        notifier.fire(*[hanging[0]] * 50)
        begun = time.monotonic()
        notifier.fire(*[f"{hook.url}/{number}" for number in range(20)])
        notifier.wait(pending=50)
        assert time.monotonic() - begun < 2.0
        assert len(hook.calls) == 20

    def test_many_that_hang_take_half_of_the_workers(self, notifier, hook, hanging):
        """Once they are known to hang, others get through although every retry hangs again."""
        notifier.start(read_timeout=1.0, backoff_max=0.05)
        notifier.fire(*hanging)
        wait_until(lambda: all(row["attempts"] for row in notifier.rows()))
        begun = time.monotonic()
        notifier.fire(*[f"{hook.url}/{number}" for number in range(20)])
        notifier.wait(pending=40)
        assert time.monotonic() - begun < 0.9  # less than one read timeout
        assert len(hook.calls) == 20


class TestSecrets:
    def test_queries_are_in_no_log_and_no_error(self, notifier, make_hook, caplog):
        caplog.set_level(logging.DEBUG)
        good, bad, gone = make_hook(), make_hook(failing(1000)), make_hook(failing(1, 410))
        with socket.create_server(("127.0.0.1", 0)) as hanging:
            down = socket.create_server(("127.0.0.1", 0))
            ports = hanging.getsockname()[1], down.getsockname()[1]
            down.close()
            notifier.start(deadline=1, read_timeout=0.2)
            notifier.fire(
                *(
                    f"{url}/path?Signature={SECRET}"
                    for url in (
                        good.url,
                        bad.url,
                        gone.url,
                        good.url.replace("http:", "https:"),
                        f"http://127.0.0.1:{ports[0]}",
                        f"http://127.0.0.1:{ports[1]}",
                        "http://no-such-host.invalid",
                        f"http://{'x' * 70}.example",
                    )
                )
            )
            counts = notifier.wait()
        assert (counts[Status.DELIVERED], counts[Status.DEAD]) == (1, 7)
        assert SECRET not in caplog.text
        assert good.url in caplog.text
        assert "/path" not in caplog.text, "the path of a hook may be a secret too"
        assert not any(SECRET in (row["last_error"] or "") for row in notifier.rows())

    def test_a_transport_that_breaks_tells_no_secrets(self, notifier, hook, caplog):
        def broken(notification, _now_us):
            raise RuntimeError(f"cannot call {notification.action}")

        notifier.start(deadline=1)
        for transport in notifier.worker._transports.values():
            transport.send = broken
        notifier.fire(f"{hook.url}/path?Signature={SECRET}")
        assert notifier.wait()[Status.DEAD] == 1
        assert "RuntimeError: cannot call" in caplog.text
        assert SECRET not in caplog.text
        assert not any(SECRET in (row["last_error"] or "") for row in notifier.rows())

    def test_delivery_is_logged_with_ids(self, notifier, hook, caplog):
        caplog.set_level(logging.INFO)
        notifier.start()
        alarm = notifier.fire(f"{hook.url}/x")
        notifier.wait()
        (row,) = notifier.rows()
        wait_until(lambda: "delivered" in caplog.text)
        (line,) = [one for one in caplog.messages if "delivered" in one]
        assert alarm.alarm_id in line
        assert row["notification_id"] in line


WORKER = """
import sys, time
from tests.service.unit.notify.conftest import configure
from thermostat.db.engine import open_engine
from thermostat.db.outbox import Outbox
from thermostat.notify.transports.http import HttpTransport
from thermostat.notify.worker import Worker
conf = configure(read_timeout=30.0)
http = HttpTransport(conf)
Worker(Outbox(open_engine("sqlite:///" + sys.argv[1])), {"http": http}, conf).start()
time.sleep(60)
"""


def test_kill_in_mid_delivery_loses_nothing(notifier, make_hook, tmp_path):
    slow = make_hook(lambda _call: Answer(delay_s=30.0))
    quick = make_hook()
    notifier.fire(*[slow.url] * 4, *[quick.url] * 10)
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path / "db.sqlite")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        wait_until(lambda: slow.calls and len(quick.calls) == 10, 20.0)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert notifier.outbox.counts()[Status.PENDING] >= 4
    slow.answer = lambda _call: Answer()
    notifier.start()
    assert notifier.wait()[Status.DELIVERED] == 14
    for server, wanted in ((slow, 4), (quick, 10)):
        assert len({call.headers["webhook-id"] for call in server.calls}) == wanted


def test_log_transport(notifier, caplog):
    caplog.set_level(logging.INFO)
    notifier.start({"log": LogTransport(None)})
    alarm = notifier.fire("log://")
    assert notifier.wait()[Status.DELIVERED] == 1
    assert f"Alarm {alarm.alarm_id}: {{" in caplog.text


def test_a_failure_says_why():
    failure = DeliveryFailed("HTTP 503", retry_after_s=3.0)
    assert (str(failure), failure.retry_after_s, failure.final) == ("HTTP 503", 3.0, False)
