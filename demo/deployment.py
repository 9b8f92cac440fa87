# SPDX-License-Identifier: Apache-2.0
"""Deploying Thermostat onto this machine with the collection's own playbook, beside the lab."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from demo.console import Console, DemoError
from tests.lab import Lab

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
COLLECTIONS = ROOT / ".build"
SERVER_PORT = 18042
TIMEOUT_S = 360.0
"""What `make collection` or one playbook may take; the first deployment installs packages."""
POLL_INTERVAL_S = 10
"""The agent's default, and what the upstream chain that we compare with was tuned to."""


class Deployment:
    """The server, the agent and the Heat plugin, under one directory."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self.directory = directory
        self.inventory = directory / "inventory.json"
        self.log = directory / "ansible.log"
        self.prefix = directory / "root"

    @property
    def server_url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{SERVER_PORT}"

    @property
    def server_log(self) -> Path:
        """The server's log."""
        return self.prefix / "var/log/thermostat/thermostat-server.log"

    def control(self, service: str) -> Path:
        """Give the script that starts and stops `server` or `agent`."""
        return self.prefix / "opt/thermostat" / service / "bin" / f"thermostat-{service}-service"

    def deploy(self, console: Console) -> str:
        """Build the collection, run the site playbook, and give its recap in a few words."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_private(self.inventory, json.dumps(self._inventory(), indent=1))
        self._run(console, ["make", "--no-print-directory", "-s", "collection", f"BIN={BIN}"])
        found = re.search(r"ok=\d+\s+changed=\d+", self.play(console, "thermostat.openstack.site"))
        return " ".join(found.group().split()) if found else "done"

    def play(
        self, console: Console, playbook: str, variables: Mapping[str, object] | None = None
    ) -> str:
        """Run a playbook and give what it prints."""
        command = [str(BIN / "ansible-playbook"), "-i", str(self.inventory), playbook]
        if variables:
            command += ["-e", json.dumps(variables)]
        return self._run(console, command)

    def first_delivery(self, alarm_id: str, since: float) -> float | None:
        """Give when the server's log first tells of a delivery for an alarm after this time."""
        line = re.compile(rf"^(\S+ \S+) .*Alarm {alarm_id}: notification .* delivered")
        for text in self.server_log.read_text().splitlines():
            found = line.match(text)
            if found:
                when = datetime.fromisoformat(found.group(1)).timestamp()
                if when >= since:
                    return when
        return None

    def stop(self) -> None:
        """Stop the server and the agent, if they were deployed."""
        for service in ("agent", "server"):
            script = self.control(service)
            if script.exists():
                subprocess.run([script, "stop"], check=False, stdout=subprocess.DEVNULL)

    def _run(self, console: Console, command: Sequence[str]) -> str:
        """Run a command with its output in the log and its newest task as progress."""
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_FORCE_HANDLERS": "True",  # what was copied before a failure must take effect
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_NOCOWS": "1",
            "ANSIBLE_PIPELINING": "1",
            "OS_CLIENT_CONFIG_FILE": str(self._lab.info["clouds_file"]),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        began = time.monotonic()
        lines: list[str] = []
        with (
            open(self.log, "a") as log,
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            ) as process,
            _bounded(process),
        ):
            for line in process.stdout or ():
                log.write(line)
                lines.append(line)
                task = re.match(r"(?:TASK|RUNNING HANDLER) \[(.*?)\]", line)
                if task:
                    name = task.group(1).removeprefix("thermostat.openstack.")
                    console.progress(f"{name} ({time.monotonic() - began:.0f} s)")
            process.wait()
        if process.returncode == -signal.SIGKILL:
            raise DemoError(f"{Path(command[0]).name} took over {TIMEOUT_S:.0f} s: {self.log}")
        if process.returncode:
            tail = "".join(lines[-15:])
            raise DemoError(f"{Path(command[0]).name} failed; all of it is in {self.log}\n{tail}")
        return "".join(lines)

    def _inventory(self) -> dict[str, object]:
        """Give the inventory: this machine is the controller, the compute host and Heat's."""
        lab = self._lab.info
        here = {"localhost": {}}
        return {
            "all": {
                "hosts": {
                    "localhost": {
                        "ansible_connection": "local",
                        "ansible_python_interpreter": sys.executable,
                    }
                },
                "children": {
                    "thermostat_server": {"hosts": here},
                    "thermostat_agent": {"hosts": here},
                    "thermostat_heat": {"hosts": here},
                },
                "vars": {
                    "thermostat_prefix": str(self.prefix),
                    "thermostat_become": False,
                    "thermostat_service_manager": "process",
                    "thermostat_auth_url": lab["auth_url"],
                    "thermostat_service_password": self._lab.layout.passwords["thermostat"],
                    "thermostat_server_host": "127.0.0.1",
                    "thermostat_server_port": SERVER_PORT,
                    "thermostat_server_url": self.server_url,
                    "thermostat_server_register": True,
                    "thermostat_server_register_cloud": "admin",
                    "thermostat_agent_interval": POLL_INTERVAL_S,
                    "thermostat_agent_host": lab["compute_host"],
                    "thermostat_agent_libvirt_uri": lab["libvirt_uri"],
                    "thermostat_heat_plugins_become": False,
                    "thermostat_heat_plugins_dir": lab["heat"]["plugin_dir"],
                    "thermostat_heat_plugins_environment_dir": lab["heat"]["environment_dir"],
                    "thermostat_heat_plugins_restart_command": [
                        *("env", "-C", lab["heat"]["restart_in"]),
                        *lab["heat"]["restart"],
                    ],
                },
            }
        }


@contextmanager
def _bounded(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process and all of its session when it takes too long, or when we are interrupted."""

    def end() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(TIMEOUT_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException:
        end()
        raise
    finally:
        timer.cancel()


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
