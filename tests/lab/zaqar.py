# SPDX-License-Identifier: Apache-2.0
"""Zaqar, for the tests that ask for it: its API, with a Redis of its own that keeps nothing."""

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import catalogue, settings, web
from tests.lab.errors import LabError, with_log
from tests.lab.layout import HOST, Layout, write_private
from tests.lab.processes import Processes

if TYPE_CHECKING:
    from openstack.connection import Connection

NAME = "zaqar"
SERVICE_TYPE = "messaging"
REDIS = "zaqar-redis"
PROCESSES = (NAME, REDIS)
REDIS_SERVER = Path("/usr/bin/redis-server")
REDIS_START_S = 30.0


def set_up(layout: Layout, processes: Processes) -> None:
    """Write its configuration."""
    del processes
    if not REDIS_SERVER.exists():
        raise LabError(f"no {REDIS_SERVER}: run `make lab-venv`")
    write_private(layout.etc / "zaqar.conf", settings.ini(settings.zaqar(layout)))


def start(layout: Layout, processes: Processes) -> None:
    """Start Redis and the API and return once both answer."""
    _start_redis(layout, processes)
    web.start(layout, processes, NAME)


def register(layout: Layout, admin: "Connection") -> None:
    """Put its user and its place in the catalogue into Keystone."""
    catalogue.add_service(layout, admin, NAME, SERVICE_TYPE)


def unregister(admin: "Connection") -> None:
    """Take it out of the catalogue."""
    catalogue.remove_service(admin, NAME)


def _start_redis(layout: Layout, processes: Processes) -> None:
    port = layout.port(REDIS)
    if processes.running(REDIS) is None:
        processes.stop([REDIS])
        web.require_free_ports(layout, [REDIS])
    # Debian's file, with a place for its data and a pid file of its own, is not read.
    options = {"bind": HOST, "port": port, "save": "", "dir": layout.state, "daemonize": "no"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    processes.start(REDIS, [REDIS_SERVER, *words])
    deadline = time.monotonic() + REDIS_START_S
    while not _pongs(port):
        processes.must_run(REDIS)
        if time.monotonic() > deadline:
            raise with_log(f"{REDIS}: no answer in {REDIS_START_S:.0f} s", processes.log(REDIS))
        time.sleep(0.05)


def _pongs(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
