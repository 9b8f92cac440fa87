# SPDX-License-Identifier: Apache-2.0
"""Notifications to targets that answer at once, and to such beside many that hang; Aodh's beside.

Our notifier is the real worker over an SQLite database whose commits are on disk; Aodh's is
aodh-notifier over a RabbitMQ of its own, whose queue is in memory.
"""

import itertools
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import urllib3
from oslo_config import cfg

from bench import _targets
from bench._aodh import Aodh
from bench._processes import BenchError
from bench._targets import Targets
from thermostat.alarms.model import Alarm, Severity, State, Transition
from thermostat.alarms.rules import ThresholdRule
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.db.history import Author
from thermostat.db.outbox import Outbox
from thermostat.db.schema import upgrade
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports.http import HttpTransport
from thermostat.notify.worker import Worker

HOOKS = 10_000
HOOKS_OF_AODH = 1_000
TARGETS = 4
HANGING = 70
HEALTHY = 100
PATIENCE_S = 30.0
LIMIT_S = 120.0
ACTIONS = 100


def run() -> Iterable[dict[str, Any]]:
    """Yield how many arrive a second, and how soon a hundred arrive beside targets that hang."""
    logging.getLogger("thermostat.notify").setLevel(logging.CRITICAL)  # it warns of what hangs
    with _targets.serving(TARGETS, HANGING) as targets:
        try:
            their_rate, (their_s, theirs) = _aodh(targets)
        except BenchError as error:
            print(f"  {error}", file=sys.stderr)
            their_rate = theirs = None
        our_rate, our_s = _rate_of_ours(targets), _healthy_of_ours(targets)
        floor = _plain_posts(targets.urls[0])
    print(f"  urllib3 in a loop, nothing kept: {floor:.0f}/s", file=sys.stderr)
    figure: dict[str, Any] = {"name": "webhooks_per_s", "value": round(our_rate), "unit": "1/s"}
    if their_rate is not None:
        figure["peer"] = f"Aodh's notifier, {their_rate:.0f}/s"
        figure["ratio"] = round(our_rate / their_rate, 1)
    yield figure
    figure = {"name": "healthy_behind_hanging_s", "value": round(our_s, 2), "unit": "s"}
    if theirs is not None:
        when = f" in {their_s:.1f} s"
        figure["peer"] = f"Aodh's notifier, {theirs} of {HEALTHY}{when}"
        figure["ratio"] = round(their_s / our_s, 1)
    yield figure


# -- ours -----------------------------------------------------------------------------------------


class _Notifier:
    """The worker with its default options over a database of its own."""

    def __init__(self, directory: Path) -> None:
        conf = cfg.ConfigOpts()
        conf.register_opts(OPTS, group=GROUP)
        conf([], default_config_files=[], default_config_dirs=[])
        self._engine = open_engine(f"sqlite:///{directory}/alarms.sqlite")
        upgrade(self._engine)
        self._alarms = AlarmRepository(self._engine)
        self._numbers = itertools.count()
        self.worker = Worker(Outbox(self._engine), {"http": HttpTransport(conf)}, conf)

    def fire(self, urls: Sequence[str]) -> float:
        """Record transitions that have these actions; give the time when that began."""
        begun = time.monotonic()
        for first in range(0, len(urls), ACTIONS):
            now_us = int(time.time() * 1e6)
            alarm = Alarm(
                alarm_id=f"alarm-{next(self._numbers)}",
                name="busy",
                description="",
                enabled=True,
                severity=Severity.LOW,
                rule=ThresholdRule(meter_name="cpu_util", threshold=70.0),
                alarm_actions=tuple(urls[first : first + ACTIONS]),
                user_id="user",
                project_id="project",
                state_timestamp_us=now_us,
                timestamp_us=now_us,
            )
            self._alarms.create(alarm, Author())
            self._alarms.record(
                Transition(
                    alarm_id=alarm.alarm_id,
                    revision=alarm.revision,
                    previous=alarm.state,
                    state=State.ALARM,
                    reason="cpu_util is above 70",
                    reason_data={"type": "threshold", "most_recent": 90.0},
                    timestamp_us=now_us,
                )
            )
            self.worker.wake()
        return begun

    def stop(self) -> None:
        """End."""
        self.worker.stop()
        self._engine.dispose()


@contextmanager
def _notifier() -> Iterator[_Notifier]:
    with tempfile.TemporaryDirectory(prefix="thermostat-") as directory:
        notifier = _Notifier(Path(directory))
        try:
            yield notifier
        finally:
            notifier.stop()


def _rate_of_ours(targets: Targets) -> float:
    """Give notifications a second from the first call to the last; the outbox is full before."""
    with _notifier() as notifier:
        notifier.fire(_urls(targets, "/ours/", HOOKS))
        notifier.worker.start()
        times = targets.wait_for(HOOKS, "/ours/", LIMIT_S)
        return _rate(times, HOOKS)


def _healthy_of_ours(targets: Targets) -> float:
    """Give the seconds from the transition until all of its hundred notifications have come."""
    with _notifier() as notifier:
        notifier.worker.start()
        notifier.fire([f"{url}/" for url in targets.hanging])
        time.sleep(3.0)
        begun = notifier.fire(_urls(targets, "/healthy/", HEALTHY))
        times = targets.wait_for(HEALTHY, "/healthy/", PATIENCE_S)
        if len(times) < HEALTHY:
            raise BenchError(f"{len(times)} of {HEALTHY} after {PATIENCE_S} s")
        return max(times) - begun


# -- Aodh's ---------------------------------------------------------------------------------------


def _aodh(targets: Targets) -> tuple[float, tuple[float, int]]:
    """Give the same two of Aodh: the second one as seconds, and how many had come by then.

    What is measured first waits in the queue before its notifier starts, as ours does in the
    outbox.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        aodh = Aodh(stack, directory, f"sqlite:///{directory}/aodh.sqlite", has_broker=True)
        aodh.publish(_urls(targets, "/aodh/", HOOKS_OF_AODH))
        aodh.start("aodh-notifier")
        rate = _rate(targets.wait_for(HOOKS_OF_AODH, "/aodh/", LIMIT_S), HOOKS_OF_AODH)
        aodh.publish([f"{url}/" for url in targets.hanging])
        time.sleep(3.0)
        begun = aodh.publish(_urls(targets, "/aodhs-healthy/", HEALTHY))
        times = targets.wait_for(HEALTHY, "/aodhs-healthy/", PATIENCE_S)
        seconds = max(times) - begun if len(times) == HEALTHY else PATIENCE_S
        return rate, (seconds, len(times))


# -- what both share ------------------------------------------------------------------------------


def _urls(targets: Targets, path: str, count: int) -> list[str]:
    return [f"{targets.urls[number % TARGETS]}{path}{number}" for number in range(count)]


def _rate(times: Sequence[float], wanted: int) -> float:
    if len(times) < wanted:
        raise BenchError(f"{len(times)} of {wanted} notifications after {LIMIT_S} s")
    return (len(times) - 1) / (max(times) - min(times))


def _plain_posts(url: str) -> float:
    pool = urllib3.PoolManager()
    body = json.dumps({"alarm_name": "busy", "current": "alarm", "reason": "x" * 100}).encode()
    begun, count = time.perf_counter(), 500
    for number in range(count):
        pool.request("POST", f"{url}/plain/{number}", body=body)
    return count / (time.perf_counter() - begun)
