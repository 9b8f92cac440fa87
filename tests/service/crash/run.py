# SPDX-License-Identifier: Apache-2.0
"""A run of the scenario: a server, its senders, a receiver of web hooks, and what they left."""

import json
import socket
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.service.alarm_support import open_database
from tests.service.crash.killer import HOUSEKEEPING_S, Killer
from tests.service.crash.scenario import ALARMS, LAG_S, SENDERS, Scenario
from tests.service.crash.senders import Senders
from tests.service.crash.served import STARTED, ServerProcess, SharedClock
from tests.service.hooks import Answer, Call, HookServer
from thermostat.store.embedded import EmbeddedStore

QUIET_ROUNDS = 3
"""Rounds before the alarms are made: a group's first members have all come by then."""
SETTLED_S = 2.5
"""Longer than the evaluator and the notifier go without looking at what is due."""
SETTLED_WITHIN_S = 180.0


@dataclass
class Outcome:
    """What a run left behind."""

    rounds: int
    transitions: dict[str, list[dict[str, Any]]]
    """The details of each alarm's transitions in order, by the alarm's name; ids are names."""
    stored: Counter[tuple[str, str, int, float]]
    """How often each sample is stored, by meter, resource, event time and volume."""
    notifications: dict[str, list[dict[str, Any]]]
    """The bodies that came under each webhook-id."""
    undelivered: int
    log: str


class Run:
    """One server over databases of its own, with its senders and its receiver."""

    def __init__(self, directory: Path, input_: Scenario) -> None:
        directory.mkdir()
        port = _free_port()
        self._input = input_
        self._directory = directory
        self._database = directory / "alarms.sqlite"
        self._clock = SharedClock(directory / "clock")
        self._url = f"http://127.0.0.1:{port}"
        self._hooks = HookServer(self._take)
        self._killer: Killer | None = None
        self._played = 0
        (directory / "server.conf").write_text(
            f"[api]\nport = {port}\n"
            f"[database]\nconnection = sqlite:///{self._database}\n"
            f"[store]\npath = {directory / 'samples'}\nmin_free_mb = 0\n"
            f"housekeeping_interval = {HOUSEKEEPING_S}\n"
            f"[evaluator]\nallowed_lag = {LAG_S}\n"
            "[notifier]\nbackoff_base = 0.01\npoll_interval = 0.2\nper_target_limit = 20\n"
        )
        open_database(self._database).dispose()
        self._server = ServerProcess(
            directory / "server.conf", directory / "clock", directory / "server.log"
        )
        self._senders = Senders(self._url, directory / "spool", SENDERS)

    def undisturbed(self, rounds: int) -> Outcome:
        """Send so many rounds."""
        return self._play(lambda: self._play_until(lambda: self._played >= rounds))

    def killed(self, kills: int, seed: int, say: Callable[[str], None]) -> Outcome:
        """Send as many rounds as it takes to kill the server so often."""
        return self._play(lambda: self._play_killed(Killer(self._server, kills, seed), say))

    def _play(self, play: Callable[[], None]) -> Outcome:
        self._hooks.start()
        self._clock.set(self._input.now_s(0))
        self._server.fork()
        try:
            self._server.wait_for(STARTED)
            self._play_until(lambda: self._played >= QUIET_ROUNDS)
            self._create_alarms()
            self._settle()  # from here on it is certain which step of each alarm is judged next
            play()
            self._clock.set(self._input.now_s(self._played) + 2 * LAG_S)
            self._settle()
        finally:
            self._senders.stop()
            self._server.kill()
            self._hooks.stop()
        return self._outcome()

    def _play_until(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            self._clock.set(self._input.now_s(self._played))
            for batches in self._input.phases(self._played):
                self._senders.send(batches)
            self._played += 1

    def _play_killed(self, killer: Killer, say: Callable[[str], None]) -> None:
        began, said = time.monotonic(), 0

        def is_done() -> bool:
            nonlocal said
            if killer.done // 20 > said or killer.is_over:
                said = killer.done // 20
                say(
                    f"{killer.done} kills, {self._played} rounds, "
                    f"{self._senders.acknowledged} batches acknowledged, "
                    f"{len(self._hooks.calls)} web hooks, {time.monotonic() - began:.0f} s"
                )
            return killer.is_over

        self._killer = killer
        self._senders.on_acknowledged = killer.acknowledged
        killer.start()
        try:
            self._play_until(is_done)
        finally:
            killer.stop()
        say(f"killed {dict(killer.kinds)}")

    def _take(self, _call: Call) -> Answer:
        if self._killer is not None:
            self._killer.told()
        return Answer()

    def _create_alarms(self) -> None:
        pool = urllib3.PoolManager()
        ids: dict[str, str] = {}
        for name, form in ALARMS.items():
            hook = f"{self._hooks.url}/{name.replace(' ', '-')}"
            body = json.dumps(
                {
                    "name": name,
                    "alarm_actions": [f"{hook}/alarm"],
                    "ok_actions": [f"{hook}/ok"],
                    "insufficient_data_actions": [f"{hook}/insufficient"],
                    **form,
                }
            )
            for other, alarm_id in ids.items():
                body = body.replace(f'"@{other}"', f'"{alarm_id}"')
            answer = pool.request(
                "POST",
                f"{self._url}/v2/alarms",
                body=body,
                headers={"Content-Type": "application/json"},
            )
            assert answer.status == 201, answer.data
            ids[name] = answer.json()["alarm_id"]

    def _settle(self) -> None:
        """Wait until nothing more is judged or told."""
        seen, since = None, time.monotonic()
        deadline = since + SETTLED_WITHIN_S
        while time.monotonic() - since < SETTLED_S:
            ((history, pending),) = self._query(
                "select (select count(*) from alarm_history),"
                " (select count(*) from notification where status = 'pending')"
            )
            if history != seen or pending:
                seen, since = history, time.monotonic()
            assert time.monotonic() < deadline, f"not settled: {history}, {pending} pending"
            time.sleep(0.05)

    # -- what is left ---------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        ((undelivered,),) = self._query(
            "select count(*) from notification where status != 'delivered'"
        )
        return Outcome(
            self._played,
            self._transitions(),
            self._stored(),
            self._notifications(),
            undelivered,
            (self._directory / "server.log").read_text(),
        )

    def _transitions(self) -> dict[str, list[dict[str, Any]]]:
        names = dict(self._query("select alarm_id, name from alarm"))
        transitions = defaultdict(list)
        for alarm_id, detail in self._query(
            "select alarm_id, detail from alarm_history"
            " where type = 'state transition' order by position"
        ):
            transitions[names[alarm_id]].append(json.loads(_named(detail, names)))
        return transitions

    def _notifications(self) -> dict[str, list[dict[str, Any]]]:
        names = dict(self._query("select alarm_id, name from alarm"))
        notifications = defaultdict(list)
        for call in self._hooks.calls:
            if len(call.body) == int(call.headers["content-length"]):  # or killed while sending
                body = json.loads(_named(call.body.decode(), names))
                notifications[call.headers["webhook-id"]].append(body)
        return notifications

    def _stored(self) -> Counter[tuple[str, str, int, float]]:
        store = EmbeddedStore(self._directory / "samples", min_free_mb=0)
        try:
            ids = range(1, store.series_count + 1)
            keys = {number: store.get_series(number).key for number in ids}
            batch = store.scan(list(ids), 0, int(time.time() * 1e6))
        finally:
            store.close()
        columns = (batch.series_id, batch.timestamp_us, batch.volume)
        return Counter(
            (keys[number].meter, keys[number].resource_id, timestamp_us, volume)
            for number, timestamp_us, volume in zip(
                *(column.tolist() for column in columns), strict=True
            )
        )

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._database, timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


def _named(text: str, names: dict[str, str]) -> str:
    """Put names in the place of ids, which differ from run to run."""
    for alarm_id, name in names.items():
        text = text.replace(alarm_id, name)
    return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
