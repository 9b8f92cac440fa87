# SPDX-License-Identifier: Apache-2.0
"""Aodh's own programs, unchanged, in the environment that `make bench-venv` makes."""

import os
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench._processes import BenchError, free_port, running, settings, wait_for
from bench._processes import run as run_to_end
from tests.service import rabbitmq

VENV = Path(".bench/aodh")
PEERS = Path(__file__).parent / "peers"


class Aodh:
    """Aodh over a database and, where a benchmark needs it, a real RabbitMQ."""

    def __init__(
        self, stack: ExitStack, directory: Path, database: str, *, has_broker: bool = False
    ) -> None:
        """Make the database and the configuration. Raises BenchError."""
        if not (VENV / "bin/aodh-dbsync").exists():
            raise BenchError(f"Aodh is not installed in {VENV}: run make bench-venv")
        self._stack = stack
        self._directory = directory
        self._conf = directory / "aodh.conf"
        transport = "fake://"
        if has_broker:
            if not Path(rabbitmq.PROGRAM).exists():
                raise BenchError("rabbitmq-server is not installed: run make venv")
            transport = stack.enter_context(rabbitmq.running()).url
        self._sections: dict[str, Mapping[str, object]] = {
            "DEFAULT": {"transport_url": transport, "use_stderr": "true"},
            "database": {"connection": database},
            "api": {
                "auth_mode": "noauth",
                "user_alarm_quota": -1,
                "project_alarm_quota": -1,
            },
        }
        self.configure()
        dbsync = (VENV / "bin/aodh-dbsync", "--config-file", self._conf)
        run_to_end(directory / "dbsync.log", *dbsync)

    def configure(self, **sections: Mapping[str, object]) -> None:
        """Write the configuration with these sections, too."""
        self._sections |= sections
        self._conf.write_text(settings(**self._sections))

    def start(self, program: str) -> None:
        """Start aodh-evaluator or aodh-notifier, until the stack unwinds."""
        command = (VENV / "bin" / program, "--config-file", self._conf)
        self._stack.enter_context(running(self._directory / f"{program}.log", *command))

    def serve(self) -> str:
        """Start the API; give its URL."""
        port, log = free_port(), self._directory / "aodh-api.log"
        python, program = VENV / "bin/python", PEERS / "aodh_serve.py"
        command = (python, "-W", "ignore", program, self._conf, str(port))
        url = f"http://127.0.0.1:{port}"
        wait_for(url, self._stack.enter_context(running(log, *command)), log)
        return url

    def publish(self, urls: Iterable[str]) -> float:
        """Notify each URL as Aodh's evaluator does; give the monotonic time when that began."""
        done = subprocess.run(
            (VENV / "bin/python", "-W", "ignore", PEERS / "aodh_publish.py", self._conf),
            input="\n".join(urls),
            text=True,
            capture_output=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            check=False,
        )
        if done.returncode:
            raise BenchError(f"aodh_publish.py: {done.stderr[-500:]}")
        return float(done.stdout.split()[-2])
