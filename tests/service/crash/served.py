# SPDX-License-Identifier: Apache-2.0
"""The real server in a process of its own, which can be killed and is soon started again.

Everything is thermostat-server's: HTTP by waitress, the embedded store, the alarm database, the
evaluator, the notifier. Two things are replaced. The token check: a middleware sets the identity
headers that keystonemiddleware would set for an administrator's token. And the clock by which
alarms are judged, which the test sets, so that hours pass in minutes.

Each server is forked from a process that has imported everything; its databases are opened after
the fork.
"""

import logging
import mmap
import multiprocessing
import struct
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from oslo_config import cfg

from tests.service.identity import identified
from thermostat import opts
from thermostat.db.engine import open_engine
from thermostat.db.outbox import Outbox
from thermostat.notify.loading import load_transports
from thermostat.notify.worker import Worker
from thermostat.server import Server

LOG = logging.getLogger(__name__)
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["pytest", __name__])
OPENED, STARTED = "opened", "started"


class SharedClock:
    """A clock that one process sets and others read: seconds since the epoch, in a mapped file."""

    _FORM = struct.Struct("d")

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(self._FORM.pack(0.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), self._FORM.size)

    def __call__(self) -> float:
        return float(self._FORM.unpack_from(self._memory)[0])

    def set(self, now_s: float) -> None:
        self._FORM.pack_into(self._memory, 0, now_s)


def serve(connection: Connection, configuration: Path, clock: Path | None, log: Path) -> None:
    """Run a server until it is killed; tell when its databases are open, and when it serves.

    Without a clock of the test's it goes by the wall clock.
    """
    conf = _prepared(configuration, log)
    try:
        server = Server(
            conf, application=identified, clock=SharedClock(clock) if clock else time.time
        )
        connection.send(OPENED)
        server.start()
        connection.send(STARTED)
    except Exception as error:
        LOG.exception("The server cannot start")
        connection.send(f"not able to start: {error!r}")
    threading.Event().wait()


def serve_notifier(connection: Connection, configuration: Path, log: Path) -> None:
    """Run a notifier alone until it is killed; tell when its database is open, and when it runs."""
    conf = _prepared(configuration, log)
    worker = Worker(Outbox(open_engine(conf.database.connection)), load_transports(conf), conf)
    connection.send(OPENED)
    worker.start()
    connection.send(STARTED)
    threading.Event().wait()


def _prepared(configuration: Path, log: Path) -> cfg.ConfigOpts:
    logging.basicConfig(
        filename=log, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], project="thermostat", default_config_files=[str(configuration)])
    return conf


class ServerProcess:
    """One life of a server after the other, over the same databases and on the same port."""

    def __init__(self, *arguments: Path | None, serve: Callable[..., None] = serve) -> None:
        """Give what the process runs, and its arguments but the first."""
        self._serve = serve
        self._arguments = arguments
        self._process: Any = None
        self._told: Connection | None = None
        self._heard: set[str] = set()

    def fork(self) -> None:
        """Begin a life; it is not waited for."""
        self._heard.clear()
        self._told, theirs = FORKING.Pipe(duplex=False)
        self._process = FORKING.Process(target=self._serve, args=(theirs, *self._arguments))
        self._process.start()
        theirs.close()

    def wait_for(self, news: str, timeout_s: float = 120.0) -> None:
        """Wait until the server is opened or started; AssertionError if it cannot be."""
        assert self._told is not None
        while news not in self._heard:
            assert self._told.poll(timeout_s), f"the server is not {news} after {timeout_s} s"
            heard = self._told.recv()
            assert heard in {OPENED, STARTED}, f"the server is {heard}"
            self._heard.add(heard)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.join()
        if self._told is not None:
            self._told.close()
