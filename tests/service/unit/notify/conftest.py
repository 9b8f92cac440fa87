# SPDX-License-Identifier: Apache-2.0
import itertools
import time

import pytest
from oslo_config import cfg

from tests.service.alarm_support import make_alarm, make_transition, open_database
from tests.service.hooks import HookServer
from thermostat.db.alarms import AlarmRepository
from thermostat.db.history import Author
from thermostat.db.outbox import Outbox, Status
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports.http import HttpTransport
from thermostat.notify.worker import Worker

QUICK = {
    "workers": 20,
    "per_target_limit": 4,
    "connect_timeout": 1.0,
    "read_timeout": 1.0,
    "backoff_base": 0.05,
    "backoff_max": 0.2,
    "poll_interval": 0.05,
    "deadline": 60,
}


def configure(**options):
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTS, group=GROUP)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in {**QUICK, **options}.items():
        conf.set_override(name, value, group=GROUP)
    return conf


class Notifier:
    """An alarm database with a worker that may be started with any options."""

    def __init__(self, path):
        self.engine = open_database(path)
        self.alarms = AlarmRepository(self.engine)
        self.outbox = Outbox(self.engine)
        self.worker = None
        self.clock_ahead_s = 0.0
        self._names = itertools.count()

    def now_s(self):
        return time.time() + self.clock_ahead_s

    def start(self, transports=None, **options):
        conf = configure(**options)
        http = HttpTransport(conf)
        transports = transports or {"http": http, "https": http}
        self.worker = Worker(self.outbox, transports, conf, clock=self.now_s)
        self.worker.start()

    def stop(self):
        if self.worker:
            self.worker.stop()
            self.worker = None

    def fire(self, *actions, trust_id=None):
        """Record a transition now, whose notifications go to these URLs."""
        alarm = make_alarm(
            alarm_id=f"a{next(self._names)}", alarm_actions=actions, trust_id=trust_id
        )
        self.alarms.create(alarm, Author())
        now_us = int(self.now_s() * 1e6)
        assert self.alarms.record(make_transition(alarm, timestamp_us=now_us))
        if self.worker:
            self.worker.wake()
        return alarm

    def repeat(self, alarm, reason):
        """Record that the alarm, which was fired, calls its actions again."""
        now_us = int(self.now_s() * 1e6)
        alarm = self.alarms.find(alarm.alarm_id)
        assert self.alarms.record(make_transition(alarm, reason=reason, timestamp_us=now_us))
        if self.worker:
            self.worker.wake()

    def wait(self, timeout_s=10.0, *, pending=0):
        """Wait until no more than this many notifications are pending; give the counts."""
        deadline = time.monotonic() + timeout_s
        while (counts := self.outbox.counts())[Status.PENDING] > pending:
            assert time.monotonic() < deadline, f"still {counts}"
            time.sleep(0.01)
        return counts

    def rows(self):
        with self.engine.connect() as connection:
            return [
                row._mapping
                for row in connection.exec_driver_sql("SELECT * FROM notification").all()
            ]


@pytest.fixture
def notifier(tmp_path):
    notifier = Notifier(tmp_path / "db.sqlite")
    yield notifier
    notifier.stop()
    notifier.engine.dispose()


@pytest.fixture
def make_hook():
    servers = []

    def make(answer=None):
        servers.append(HookServer(answer).start())
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def hook(make_hook):
    return make_hook()
