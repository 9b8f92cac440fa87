# SPDX-License-Identifier: Apache-2.0
"""kill -9 at 120 random instants during 2 000 notifications: each arrives, under one id.

A hundred kills hit a notifier alone, which starts within milliseconds and so is mostly killed at
work; twenty hit a whole server. Transitions are written to the alarm database all the while, as
evaluators and listeners do. Targets answer slowly, and with an error now and then. THERMOSTAT_SEED
says which instants.
"""

import random
import socket
import sqlite3
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.service.alarm_support import make_alarm, make_transition, open_database
from tests.service.crash.killer import OF_NOTIFYING, SEED, Killer
from tests.service.crash.served import STARTED, ServerProcess, serve, serve_notifier
from tests.service.hooks import Answer, Call, HookServer
from thermostat.db.alarms import AlarmRepository
from thermostat.db.history import Author

NOTIFICATIONS = 1_000
ACTIONS = 10
"""How many actions each transition has."""
TARGETS = 4
SLOWEST_S = 0.03
FAILING_SHARE = 0.05
DELIVERED_WITHIN_S = 180.0


class Notifying:
    """Something that notifies, killed and started over one database; targets that keep count."""

    def __init__(self, directory: Path, kills: int) -> None:
        self._chance = random.Random(f"notifications {SEED}")
        self._database = directory / "alarms.sqlite"
        self._engine = open_database(self._database)
        self._alarms = AlarmRepository(self._engine)
        self._fired = 0
        self.hooks = [HookServer(self._take).start() for _ in range(TARGETS)]
        self.log = directory / "log"
        configuration = directory / "server.conf"
        configuration.write_text(
            f"[api]\nport = {_free_port()}\n"
            f"[database]\nconnection = sqlite:///{self._database}\n"
            f"[store]\npath = {directory / 'samples'}\nmin_free_mb = 0\n"
            "[notifier]\nbackoff_base = 0.01\nbackoff_max = 0.1\npoll_interval = 0.05\n"
        )
        if kills >= 100:
            self.process = ServerProcess(configuration, self.log, serve=serve_notifier)
        else:
            self.process = ServerProcess(configuration, None, self.log, serve=serve)
        self.kills = kills
        self.killer = Killer(self.process, kills, SEED, OF_NOTIFYING)

    def run(self) -> None:
        """Fire while the process is killed, and then wait until everything is delivered."""
        self.process.fork()
        try:
            self.process.wait_for(STARTED)
            self.killer.start()
            while not self.killer.is_over:
                self._fire_up_to(NOTIFICATIONS * (self.killer.done + 1) // self.kills)
                time.sleep(0.01)
            self.killer.stop()
            self._fire_up_to(NOTIFICATIONS)
            deadline = time.monotonic() + DELIVERED_WITHIN_S
            while self.statuses() != {"delivered": NOTIFICATIONS} and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            self.process.kill()
            for hooks in self.hooks:
                hooks.stop()

    def _take(self, _call: Call) -> Answer:
        self.killer.told()
        status = 503 if self._chance.random() < FAILING_SHARE else 200
        return Answer(status, delay_s=self._chance.uniform(0, SLOWEST_S))

    def _fire_up_to(self, count: int) -> None:
        """Write transitions until there are so many notifications, rounded up to a whole one."""
        while self._fired < min(count, NOTIFICATIONS):
            numbers = range(self._fired, self._fired + ACTIONS)
            actions = tuple(f"{self.hooks[n % TARGETS].url}/{n}" for n in numbers)
            alarm = make_alarm(alarm_id=f"a{self._fired}", alarm_actions=actions)
            self._alarms.create(alarm, Author())
            now_us = int(time.time() * 1e6)
            assert self._alarms.record(make_transition(alarm, timestamp_us=now_us))
            self._fired += ACTIONS

    def statuses(self) -> dict[str, int]:
        """Give how many notifications the database has of each status."""
        return dict(self._query("select status, count(*) from notification group by status"))

    def ids(self) -> dict[str, str]:
        """Give the id of each notification by the path of its URL."""
        rows = self._query("select action, notification_id from notification")
        return {action.rpartition("/")[2]: id_ for action, id_ in rows}

    def calls(self) -> dict[str, list[Call]]:
        """Give the calls that came whole, by the path."""
        calls = defaultdict(list)
        for call in (call for hooks in self.hooks for call in hooks.calls):
            if len(call.body) == int(call.headers["content-length"]):  # or killed while sending
                calls[call.path.strip("/")].append(call)
        return calls

    def _query(self, sql: str) -> list[tuple[str, int]]:
        connection = sqlite3.connect(self._database, timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


@pytest.fixture(scope="module", params=[100, 20], ids=["notifier", "server"])
def killed(request, tmp_path_factory):
    """What is left of a run with this many kills."""
    notifying = Notifying(tmp_path_factory.mktemp("notifications"), request.param)
    notifying.run()
    return notifying


def test_it_was_killed_so_often_and_at_work(killed):
    assert killed.killer.done == killed.kills
    assert sum(killed.killer.kinds.values()) == killed.kills
    assert set(killed.killer.kinds) == set(OF_NOTIFYING)
    repeated = sum(len(calls) > 1 for calls in killed.calls().values())
    assert repeated > 10, "no delivery was under way when it was killed, and none failed"


def test_every_notification_arrives(killed):
    assert killed.statuses() == {"delivered": NOTIFICATIONS}, f"THERMOSTAT_SEED={SEED}"
    assert set(killed.calls()) == {str(number) for number in range(NOTIFICATIONS)}


def test_what_comes_twice_has_the_same_id_and_body(killed):
    ids = killed.ids()
    for path, calls in killed.calls().items():
        assert {call.headers["webhook-id"] for call in calls} == {ids[path]}
        assert len({call.body for call in calls}) == 1
    assert len(set(ids.values())) == NOTIFICATIONS


def test_nothing_else_went_wrong(killed):
    assert "Traceback" not in killed.log.read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
