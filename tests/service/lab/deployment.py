# SPDX-License-Identifier: Apache-2.0
"""The server and the Heat plugin in the lab's cloud, for tests that need both.

What a deployment has already put there (the demonstration's, say) is used as it is; what a test
run adds is taken away at its end, but for the plugin, which stays in Heat.
"""

import configparser
import contextlib
import filecmp
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.lab import Lab

ROOT = Path(__file__).parents[3]
PLUGINS = ROOT / "heat_plugins"
BIN = Path(sys.executable).parent
SERVICE_TYPES = ("alarming", "metering")
START_TIMEOUT_S = 60.0


def install_plugin(lab: Lab) -> None:
    """Put our resource types into the lab's Heat, if they are not there as they are now."""
    heat = lab.info["heat"]
    assert isinstance(heat, dict)
    target = Path(heat["plugin_dir"])
    stock = Path(heat["environment_dir"]) / "default.yaml"
    lines = stock.read_text().splitlines(keepends=True)
    kept = [line for line in lines if "OS::Metering::Alarm" not in line]
    if kept == lines and _same(PLUGINS, target):
        return
    stock.write_text("".join(kept))
    shutil.copytree(
        PLUGINS, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    lab.restart("heat", progress=lambda _: None)


@contextlib.contextmanager
def running_server(lab: Lab, directory: Path) -> Iterator[str]:
    """Give the URL of the server in the catalogue, which is started if none answers there."""
    admin = lab.cloud("admin")
    url = admin.session.get_endpoint(service_type="alarming", interface="public")
    if url and _answers(url):
        yield url
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with _process(lab, directory, port), _registered(admin, lab, url):
        yield url


@contextlib.contextmanager
def _process(lab: Lab, directory: Path, port: int) -> Iterator[None]:
    config = directory / "server.conf"
    _write_config(lab, directory, port, config)
    subprocess.run([BIN / "thermostat-dbsync", "--config-file", config], check=True)
    log = directory / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [BIN / "thermostat-server", "--config-file", config], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(f"http://127.0.0.1:{port}"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"no answer in {START_TIMEOUT_S} s: {log}"
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(30)


def _write_config(lab: Lab, directory: Path, port: int, path: Path) -> None:
    own_user = {
        "auth_type": "password",
        "auth_url": lab.info["auth_url"],
        "username": "thermostat",
        "password": lab.layout.passwords["thermostat"],
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    config = configparser.ConfigParser(interpolation=None)
    config.read_dict(
        {
            "api": {"host": "127.0.0.1", "port": port},
            "database": {"connection": f"sqlite:///{directory}/alarms.sqlite"},
            "store": {"path": f"{directory}/samples"},
            "keystone_authtoken": {**own_user, "www_authenticate_uri": lab.info["auth_url"]},
            "service_auth": own_user,
        }
    )
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        config.write(file)


@contextlib.contextmanager
def _registered(admin: object, lab: Lab, url: str) -> Iterator[None]:
    """Let the catalogue name this URL; what it named before is put back."""
    identity = admin.identity  # type: ignore[attr-defined]
    with contextlib.ExitStack() as undo:
        for kind in SERVICE_TYPES:
            service = next(iter(identity.services(type=kind)), None)
            if service is None:
                service = identity.create_service(name=f"test-{kind}", type=kind)
                undo.callback(identity.delete_service, service)
            for interface in ("public", "internal"):
                found = list(identity.endpoints(service_id=service.id, interface=interface))
                if found:
                    (endpoint,) = found
                    undo.callback(identity.update_endpoint, endpoint.id, url=endpoint.url)
                    identity.update_endpoint(endpoint.id, url=url)
                else:
                    endpoint = identity.create_endpoint(
                        service_id=service.id,
                        interface=interface,
                        url=url,
                        region_id=lab.info["region"],
                    )
                    undo.callback(identity.delete_endpoint, endpoint)
        yield


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthcheck", timeout=10) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _same(source: Path, target: Path) -> bool:
    files = [path.relative_to(source) for path in source.rglob("*.py")]
    _, different, missing = filecmp.cmpfiles(source, target, map(str, files), shallow=False)
    return not different and not missing
