# SPDX-License-Identifier: Apache-2.0
"""Targets that hang, targets that are away, a database that is locked: no notification is lost.

Samples go to a whole server over HTTP, its evaluator judges them, its notifier calls real sockets.
Only the identity of the requests is given, and in one test a clock that runs faster.
"""

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from oslo_config import cfg

from tests.service.alarm_support import make_alarm, make_transition, open_database
from tests.service.hooks import Answer, HookServer
from tests.service.identity import PROJECT
from tests.service.served import Deployment, wait_until
from thermostat.db import engine
from thermostat.db.alarms import AlarmRepository
from thermostat.db.history import Author
from thermostat.db.outbox import Outbox, Status
from thermostat.evaluate import parking
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports.http import HttpTransport
from thermostat.notify.worker import Worker

ALARMS = 20
QUICK = "backoff_base = 0.05\nbackoff_max = 0.3\nconnect_timeout = 0.3\nread_timeout = 2\n"


@pytest.fixture
def serve(tmp_path):
    """Start a server with these options of the notifier."""
    started = []

    def start(options=""):
        started.append(Deployment(tmp_path, options))
        return started[-1]

    yield start
    for deployment in started:
        deployment.stop()


def alarms(deployment, resource_id, actions, count=1, project=PROJECT):
    """Create alarms that one sample of this resource decides; give their ids."""
    rule = {
        "meter_name": "m",
        "period": 10,
        "threshold": 50.0,
        "comparison_operator": "gt",
        "query": [{"field": "resource_id", "value": resource_id}],
    }
    return [
        deployment.create(
            "threshold",
            rule,
            name=f"{resource_id} {number}",
            alarm_actions=actions,
            project_id=project,
        )
        for number in range(count)
    ]


def breach(deployment, resource_id, project=PROJECT):
    """Send a sample that is over the threshold, at the end of the newest step."""
    while time.time() % 10 > 5:  # a busy machine may be late, and the step is judged 15 s after it
        time.sleep(0.05)
    now_s = time.time() // 10 * 10
    sample = {
        "name": "m",
        "type": "gauge",
        "unit": "%",
        "volume": 99.0,
        "resource_id": resource_id,
        "project_id": project,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)),
    }
    deployment.call("POST", "/v2/samples", [sample])


def delivered(hooks):
    """Give how often each notification came, by its id."""
    return Counter(call.headers["webhook-id"] for call in hooks.calls)


def pending(deployment):
    return deployment.services.outbox.counts()[Status.PENDING]


# -- targets that hang ----------------------------------------------------------------------------


@contextlib.contextmanager
def hanging(count):
    """Give URLs of targets that take connections and requests, and never answer."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        yield [f"http://127.0.0.1:{listener.getsockname()[1]}/" for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()  # what waits for an answer is cut off: nobody waits for its timeout


def test_seventy_targets_that_hang_delay_no_other(serve):
    deployment = serve()  # with the options as they are by default
    with hanging(70) as urls:
        alarms(deployment, "hanging", urls)
        alarms(deployment, "healthy", [f"{deployment.hooks.url}/{n}" for n in range(5)], ALARMS)
        breach(deployment, "hanging")
        wait_until(lambda: pending(deployment) == 70)
        time.sleep(0.3)  # they are being called
        begun = time.monotonic()
        breach(deployment, "healthy")
        wait_until(lambda: len(deployment.hooks.calls) >= 100)
        # by default an answer is waited for 30 s
        assert deployment.hooks.calls[99].time_s - begun < 20
        wait_until(lambda: pending(deployment) == 70)
        assert set(delivered(deployment.hooks).values()) == {1}


def test_of_a_project_half_of_the_room_may_hang(serve):
    """However many targets of it hang, those of another project are called at once."""
    deployment = serve("workers = 10\nslow_workers = 30\n")
    with hanging(60) as urls:
        alarms(deployment, "hanging", urls)
        healthy = [f"{deployment.hooks.url}/{n}" for n in range(5)]
        alarms(deployment, "healthy", healthy, ALARMS, project="p2")
        breach(deployment, "hanging")
        wait_until(lambda: under_way(deployment) == 20)
        begun = time.monotonic()
        breach(deployment, "healthy", project="p2")
        wait_until(lambda: len(deployment.hooks.calls) >= 100)
        assert deployment.hooks.calls[99].time_s - begun < 15.0  # of a busy machine; it takes one
        assert under_way(deployment) >= 20


def test_urls_that_hang_do_not_hold_up_the_others_of_their_host(serve):
    """One host and port, as of Heat: some URLs hang, those of other projects are called."""
    deployment = serve()  # with the options as they are by default
    hooks, over = deployment.hooks, threading.Event()

    def answer(call):
        if call.path.startswith("/hang"):
            over.wait(20)
        return Answer()

    hooks.answer = answer
    try:
        alarms(deployment, "hanging", [f"{hooks.url}/hang/{n}" for n in range(60)])
        alarms(deployment, "healthy", [f"{hooks.url}/ok/{n}" for n in range(10)], 2, project="p2")
        breach(deployment, "hanging")
        wait_until(lambda: under_way(deployment) == 20)  # of this project no more
        begun = time.monotonic()
        breach(deployment, "healthy", project="p2")
        wait_until(lambda: len(called(hooks, "/ok")) == 20)
        assert called(hooks, "/ok")[-1].time_s - begun < 15.0  # of a busy machine; it takes one
        assert len(called(hooks, "/hang")) == 20
    finally:
        over.set()


def under_way(deployment):
    """Give how many notifications are under way, as the metrics tell."""
    text = deployment.pool.request("GET", f"http://{deployment.server.address}/metrics").data
    (line,) = [
        line
        for line in text.decode().splitlines()
        if line.startswith("thermostat_notifications_under_way ")
    ]
    return float(line.split()[1])


def called(hooks, path):
    return [call for call in hooks.calls if call.path.startswith(path)]


# -- targets that are away ------------------------------------------------------------------------


FASTER = 200
AWAY_S = 600.0


def test_a_target_that_was_down_for_ten_minutes_gets_everything(tmp_path):
    """With the backoff and the deadline of the default options, on a clock that runs faster."""
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTS, group=GROUP)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("poll_interval", 0.02, group=GROUP)
    begun_s, hooks = time.time(), HookServer().start()
    hooks.stop()  # from now on its port refuses

    def clock():
        return begun_s + (time.time() - begun_s) * FASTER

    database = open_database(tmp_path / "alarms.sqlite")
    repository, outbox = AlarmRepository(database), Outbox(database)
    worker = Worker(outbox, {"http": HttpTransport(conf)}, conf, clock=clock)
    worker.start()
    try:
        for number in range(5):
            alarm = make_alarm(alarm_id=f"a{number}", alarm_actions=[hooks.url] * 10)
            repository.create(alarm, Author())
            now_us = int(clock() * 1e6)
            assert repository.record(make_transition(alarm, timestamp_us=now_us))
            worker.wake()
        wait_until(lambda: clock() > begun_s + AWAY_S)
        assert outbox.counts()[Status.PENDING] == 50
        hooks.start()
        # the longest wait between two attempts, and a machine that is busy
        wait_until(lambda: not outbox.counts()[Status.PENDING], 20)
        assert outbox.counts()[Status.DELIVERED] == 50
        assert len(delivered(hooks)) == 50
    finally:
        worker.stop()
        hooks.stop()
        database.dispose()


@contextlib.contextmanager
def refusing(_port):
    """Nobody listens there."""
    yield


@contextlib.contextmanager
def swallowing(port):
    """A network that lets nothing through: what is sent there is answered by nobody."""
    with contextlib.ExitStack() as stack:
        listener = socket.socket()
        stack.callback(listener.close)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for _ in range(4):  # Linux drops requests to connect that find the queue full
            one = socket.socket()
            stack.callback(one.close)
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        with socket.socket() as probe:
            probe.settimeout(0.2)
            with pytest.raises(TimeoutError):
                probe.connect(("127.0.0.1", port))
        yield


@contextlib.contextmanager
def cutting(port):
    """A network that breaks each connection after the request and before the answer."""
    listener = socket.create_server(("127.0.0.1", port), backlog=100)

    def serve():
        with contextlib.suppress(OSError):  # until it is closed
            while True:
                connection, _ = listener.accept()
                connection.recv(65536)
                reset = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("cut", [refusing, swallowing, cutting])
def test_the_network_cut_during_twenty_transitions(serve, cut):
    deployment = serve(QUICK)
    hooks = deployment.hooks
    alarm_ids = alarms(deployment, "r", [f"{hooks.url}/up"], ALARMS)
    hooks.stop()
    with cut(hooks.port):
        breach(deployment, "r")
        wait_until(lambda: pending(deployment) == ALARMS)
        wait_until(lambda: min(attempts(deployment)) > 0)
        assert pending(deployment) == ALARMS
        assert hooks.calls == []
    hooks.start()
    wait_until(lambda: not pending(deployment))
    assert len(delivered(hooks)) == ALARMS
    assert set(delivered(hooks).values()) == {1}
    assert all(deployment.state(alarm_id) == "alarm" for alarm_id in alarm_ids)


def attempts(deployment):
    """Give how many attempts at each notification have failed."""
    query = "select attempts from notification"
    database = open_database(deployment.directory / "db")
    with database.connect() as connection:
        counts = list(connection.exec_driver_sql(query).scalars())
    database.dispose()
    return counts


# -- the alarm database locked --------------------------------------------------------------------


LOCKING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("begin immediate")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("commit")
"""


@contextlib.contextmanager
def locked(path):
    """Have another process hold the database's write lock."""
    command = [sys.executable, "-c", LOCKING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"locked\n"
            yield
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.mark.parametrize("busy_timeout_ms", [engine.BUSY_TIMEOUT_MS, 50], ids=["waits", "gives up"])
def test_the_database_locked_during_twenty_transitions(serve, monkeypatch, caplog, busy_timeout_ms):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", busy_timeout_ms)
    deployment = serve(QUICK)
    alarm_ids = alarms(deployment, "r", [deployment.hooks.url], ALARMS)
    with locked(deployment.directory / "db"):
        breach(deployment, "r")
        if busy_timeout_ms < 1000:
            wait_until(lambda: "transitions are judged again" in caplog.text)
        else:
            time.sleep(2.0)
        assert deployment.hooks.calls == []
        assert {deployment.state(alarm_id) for alarm_id in alarm_ids} == {"insufficient data"}
    wait_until(lambda: len(deployment.hooks.calls) >= ALARMS)
    wait_until(lambda: not pending(deployment))
    assert len(delivered(deployment.hooks)) == ALARMS
    assert set(delivered(deployment.hooks).values()) == {1}
    for alarm_id in alarm_ids:
        assert deployment.state(alarm_id) == "alarm"
        assert deployment.history(alarm_id).count("state transition") == 1


@pytest.mark.parametrize("busy_timeout_ms", [engine.BUSY_TIMEOUT_MS, 50], ids=["waits", "gives up"])
def test_the_database_locked_during_twenty_deliveries(serve, monkeypatch, busy_timeout_ms):
    """What is delivered and cannot be noted is noted later, and not delivered again."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", busy_timeout_ms)
    deployment = serve(QUICK)
    called, is_locked = threading.Event(), threading.Event()

    def answer(_call):
        called.set()
        is_locked.wait(10)
        return Answer()

    deployment.hooks.answer = answer
    alarms(deployment, "r", [f"{deployment.hooks.url}/{number}" for number in range(ALARMS)])
    breach(deployment, "r")
    assert called.wait(10)
    with locked(deployment.directory / "db"):
        is_locked.set()
        wait_until(lambda: len(deployment.hooks.calls) == ALARMS)  # the others need not wait
        time.sleep(1.0)
        assert pending(deployment) == ALARMS
    wait_until(lambda: not pending(deployment))
    assert len(delivered(deployment.hooks)) == ALARMS
    assert set(delivered(deployment.hooks).values()) == {1}


# -- an alarm whose row the database refuses, and a database that refuses all ---------------------


TABLES = ("alarm", "alarm_history", "notification", "evaluator")


@contextlib.contextmanager
def refusing_writes(path, where):
    """Have triggers refuse these writes: by event, table and condition."""
    names = [f"refuse{number}" for number in range(len(where))]
    database = open_database(path)
    try:
        with database.begin() as connection:
            for name, (event, table, condition) in zip(names, where, strict=True):
                connection.exec_driver_sql(
                    f"create trigger {name} before {event} on {table} when {condition} "
                    "begin select raise(abort, 'refused'); end"
                )
        yield
        with database.begin() as connection:
            for name in names:
                connection.exec_driver_sql(f"drop trigger {name}")
    finally:
        database.dispose()


def health(deployment):
    answer = deployment.pool.request("GET", f"http://{deployment.server.address}/healthcheck")
    return answer.status


def judged_us(deployment):
    return deployment.services.alarms.judged_us()


def parked(deployment):
    text = deployment.pool.request("GET", f"http://{deployment.server.address}/metrics").data
    return b"thermostat_alarms_parked 1.0" in text.splitlines()


def test_an_alarm_whose_row_is_refused_costs_the_others_nothing(serve, monkeypatch, caplog):
    monkeypatch.setattr(parking, "FIRST_PAUSE_S", 0.2)
    deployment = serve(QUICK)
    hooks = deployment.hooks
    (bad,) = alarms(deployment, "r", [f"{hooks.url}/bad"])
    good = alarms(deployment, "r", [f"{hooks.url}/good"], ALARMS)
    row = [("update", "alarm", f"old.alarm_id = '{bad}'")]
    with refusing_writes(deployment.directory / "db", row):
        breach(deployment, "r")
        step_us = int(time.time() // 10 * 10 * 1e6)
        wait_until(lambda: all(deployment.state(alarm_id) == "alarm" for alarm_id in good))
        wait_until(lambda: parked(deployment))
        wait_until(lambda: (judged_us(deployment) or 0) >= step_us)
        wait_until(lambda: caplog.text.count("transitions are written one by one") >= 3)
        assert health(deployment) == 200
        assert caplog.text.count(f"Alarm {bad}: refused") == 1
        assert deployment.state(bad) == "insufficient data"
    wait_until(lambda: deployment.state(bad) == "alarm")
    wait_until(lambda: len(hooks.calls) == 1 + ALARMS)
    assert set(delivered(hooks).values()) == {1}
    assert not parked(deployment)


def test_a_database_that_refuses_everything_is_told(serve, monkeypatch):
    monkeypatch.setattr(parking, "FIRST_PAUSE_S", 0.2)
    deployment = serve(QUICK)
    alarm_ids = alarms(deployment, "r", [deployment.hooks.url], 2)
    wait_until(lambda: health(deployment) == 200)
    everything = [(event, table, "true") for event in ("insert", "update") for table in TABLES]
    with refusing_writes(deployment.directory / "db", everything):
        breach(deployment, "r")
        step_us = int(time.time() // 10 * 10 * 1e6)
        wait_until(lambda: health(deployment) == 503)
        time.sleep(1.0)
        assert health(deployment) == 503
        assert (judged_us(deployment) or 0) < step_us
    wait_until(lambda: len(deployment.hooks.calls) == 2)
    wait_until(lambda: health(deployment) == 200)
    wait_until(lambda: judged_us(deployment) >= step_us)
    assert set(delivered(deployment.hooks).values()) == {1}
    for alarm_id in alarm_ids:
        assert deployment.history(alarm_id).count("state transition") == 1
