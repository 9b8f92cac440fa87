# SPDX-License-Identifier: Apache-2.0
"""Parts that tests in the lab put together: servers of Nova, our agent, our server."""

import configparser
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BIN = Path(sys.executable).parent
START_TIMEOUT_S = 180.0


def own_user(lab) -> dict[str, str]:
    """Give the options with which our services log in."""
    return {
        "auth_type": "password",
        "auth_url": lab.layout.auth_url,
        "username": "thermostat",
        "password": lab.layout.passwords["thermostat"],
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }


def write_config(path: Path, sections: dict[str, dict[str, object]]) -> None:
    """Write a configuration file that only its owner can read."""
    config = configparser.ConfigParser(interpolation=None)
    config.read_dict(sections)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        config.write(file)


class Servers:
    """Boots servers in the demo project and removes them."""

    def __init__(self, lab, group: str) -> None:
        cloud = lab.cloud("demo")
        self._compute = cloud.compute
        self._image = cloud.image.find_image("tiny").id
        self._flavor = self._compute.find_flavor("tiny").id
        self._group = group
        self.project_id = cloud.current_project_id
        self._booted: list[str] = []

    def boot(self, name: str) -> str:
        server = self._compute.create_server(
            name=name,
            image_id=self._image,
            flavor_id=self._flavor,
            networks="none",
            metadata={
                "metering.server_group": self._group,
                "metering.tier.name": "web",
                "private": "x",
            },
        )
        self._booted.append(server.id)
        self._compute.wait_for_server(server, wait=180, interval=0.5)
        return server.id

    def delete(self, server_id: str) -> None:
        self._booted.remove(server_id)
        self._compute.delete_server(server_id)

    def delete_all(self) -> None:
        for server_id in list(self._booted):
            self.delete(server_id)


@contextmanager
def running_agent(
    lab, url: str, directory: Path, interval_s: int = 2
) -> Iterator[subprocess.Popen]:
    """Run the agent against the lab's libvirt; it must end in order and without a traceback."""
    config, log = directory / "agent.conf", directory / "agent.log"
    write_config(
        config,
        {
            "agent": {
                "interval": interval_s,
                "host": lab.info["compute_host"],
                "libvirt_uri": lab.libvirt_uri,
                "spool_dir": f"{directory}/spool",
            },
            "service_auth": own_user(lab),
            "metering": {"endpoint_override": url},
        },
    )
    command = [BIN / "thermostat-agent", "--config-file", config]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as agent:
        try:
            yield agent
        finally:
            agent.terminate()
            agent.wait(30)
            print(log.read_text())  # shown where the test fails
    assert agent.returncode == 0
    assert "Traceback" not in log.read_text()


class ServerProcess:
    """One thermostat-server with databases of its own, which can be killed and started again."""

    def __init__(self, lab, directory: Path, **settings: dict[str, object]) -> None:
        """Write its configuration; `settings` has options, by section, beside those of always."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "server.log"
        self._config = directory / "server.conf"
        self._process: subprocess.Popen | None = None
        sections: dict[str, dict[str, object]] = {
            "api": {"host": "127.0.0.1", "port": port},
            "database": {"connection": f"sqlite:///{directory}/alarms.sqlite"},
            "store": {"path": f"{directory}/samples"},
            "keystone_authtoken": {
                **own_user(lab),
                "www_authenticate_uri": lab.layout.auth_url,
            },
            "service_auth": {**own_user(lab)},
        }
        for section, options in settings.items():
            sections.setdefault(section, {}).update(options)
        write_config(self._config, sections)

    def start(self) -> None:
        """Start it and return when it is healthy."""
        subprocess.run([BIN / "thermostat-dbsync", "--config-file", self._config], check=True)
        with self.log.open("a") as output:
            self._process = subprocess.Popen(
                [BIN / "thermostat-server", "--config-file", self._config],
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.url):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"no answer in {START_TIMEOUT_S} s"
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it in order; it must end with status 0."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            assert self._process.wait(30) == 0, self.log.read_text()


def answers(url: str) -> bool:
    """Tell whether a server is healthy at this URL."""
    try:
        with urllib.request.urlopen(f"{url}/healthcheck", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
