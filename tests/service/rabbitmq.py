# SPDX-License-Identifier: Apache-2.0
"""A private RabbitMQ for tests: Debian's package, on free ports of 127.0.0.1.

Nothing of the system's own RabbitMQ is touched: node name, ports, port mapper, cookie, data and
logs are this one's, and what was started is ended by its process id.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
USER, PASSWORD = "cloud", "s3cret-of-the-broker"
SLOWEST_S = 120.0
SETTINGS = """\
listeners.tcp.default = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 1MB
log.console = true
log.console.level = info
log.file = false
"""
# One scheduler is enough, and none of them spins while it waits; nodes are heard on loopback only.
ERLANG = (
    "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
)


class RabbitMQ:
    """A broker that can be started, ended and started again with what it has kept."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port, self._node_port, self._mapper_port = _free_ports(3)
        self._mapper: subprocess.Popen[bytes] | None = None
        self._broker: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The transport URL for oslo.messaging."""
        return f"rabbit://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"

    def start(self) -> "RabbitMQ":
        settings = SETTINGS.format(port=self.port, user=USER, password=PASSWORD)
        (self._directory / "rabbitmq.conf").write_text(settings)
        (self._directory / "plugins").write_text("[].\n")
        if self._mapper is None:
            command = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
            self._mapper = subprocess.Popen(command)
        log = self._directory / "log"
        with log.open("wb") as output:
            self._broker = subprocess.Popen(
                [PROGRAM],
                cwd=self._directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the program is a script that waits for the broker
            )
        deadline = time.monotonic() + SLOWEST_S
        while "Server startup complete" not in log.read_text(errors="replace"):
            assert self._broker.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """End the broker at once, as a power failure would."""
        if self._broker is not None:
            os.killpg(self._broker.pid, signal.SIGKILL)
            self._broker.wait()
            self._broker = None

    def stop(self) -> None:
        """End everything that was started."""
        self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._mapper = None

    def _environment(self) -> dict[str, str]:
        own = self._directory
        return {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(own),  # where Erlang keeps the cookie
            "RABBITMQ_NODENAME": f"thermostat-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(own / "data"),
            "RABBITMQ_LOG_BASE": str(own / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(own / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(own / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(own / "none"),
            "RABBITMQ_PID_FILE": str(own / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
        }


@contextmanager
def running() -> Iterator[RabbitMQ]:
    """Give a broker in a temporary directory, ended and removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="thermostat-rabbitmq-"))
    broker = RabbitMQ(directory)
    try:
        yield broker.start()
    finally:
        broker.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
