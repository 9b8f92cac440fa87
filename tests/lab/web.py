# SPDX-License-Identifier: Apache-2.0
"""The processes that serve HTTP: how each is started, and whether it answers."""

import http.client
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from tests.lab.errors import LabError, with_log
from tests.lab.layout import HOST, LISTENERS, Layout
from tests.lab.processes import Processes

SERVICES = Path(__file__).with_name("services")
TIMEOUT_S = 180.0
RELEASE_S = 5.0
# Each process with the listeners that it opens, the last of them when it is ready.
PROCESSES = {
    "keystone": ("keystone",),
    "placement": ("placement",),
    "glance": ("glance",),
    "neutron": ("neutron",),
    "heat": ("heat", "heat-cfn"),
    "nova": ("nova",),
}
# What tests may add.
EXTRA_PROCESSES = {"octavia": ("octavia",), "zaqar": ("zaqar",)}
_LISTENERS = PROCESSES | EXTRA_PROCESSES
# Projects whose WSGI module is served as it is: module, threads, environment.
# Keystone's context middleware keeps a request's token in an object that all requests share:
# with two threads one user's token leaks into another's request.
MODULES = {
    "keystone": ("keystone.wsgi.api:application", 1, "OS_KEYSTONE_CONFIG_DIR"),
    "placement": ("placement.wsgi.api:application", 4, "OS_PLACEMENT_CONFIG_DIR"),
    "glance": ("glance.wsgi.api:application", 4, "OS_GLANCE_CONFIG_DIR"),
}


def start(layout: Layout, processes: Processes, name: str) -> None:
    """Start one of the processes and return once it answers."""
    if processes.running(name) is None:
        processes.stop([name])  # what its former leader left behind
        require_free_ports(layout, _LISTENERS[name])
    command, env = _command(layout, name)
    processes.start(name, command, env)
    deadline = time.monotonic() + TIMEOUT_S
    while not answers(layout, name):
        processes.must_run(name)
        if time.monotonic() > deadline:
            message = f"{name}: no answer at {layout.url(name)} in {TIMEOUT_S:.0f} s"
            raise with_log(message, processes.log(name))
        time.sleep(0.05)


def _command(layout: Layout, name: str) -> tuple[list[str | Path], dict[str, str]]:
    """The command of a process and what it needs in its environment."""
    python = layout.venv / "bin" / "python"
    addresses = [f"{HOST}:{layout.port(listener)}" for listener in _LISTENERS[name]]
    if name in MODULES:
        module, threads, variable = MODULES[name]
        program = "glance-api" if name == "glance" else name
        serve = SERVICES / "serve.py"
        env = {variable: str(layout.etc)}
        return [python, serve, module, *addresses, str(threads), program], env
    if name == "heat":
        script = SERVICES / "heat_all_in_one.py"
        return [python, script, *addresses, layout.etc / "heat.conf"], {}
    if name == "octavia":
        script = SERVICES / "octavia_all_in_one.py"
        provider = os.pathsep.join((str(SERVICES / "octavia_provider"), str(layout.octavia_dir)))
        return [python, script, *addresses, layout.etc / "octavia.conf"], {"PYTHONPATH": provider}
    if name == "zaqar":
        return [python, SERVICES / "zaqar_api.py", *addresses, layout.etc / "zaqar.conf"], {}
    if name == "nova":
        env = {"OS_NOVA_CONFIG_DIR": str(layout.etc)}
        return [python, SERVICES / "nova_all_in_one.py", *addresses], env
    return [python, SERVICES / "neutron_stand_in.py", *addresses], {}


def answers(layout: Layout, name: str) -> bool:
    """Whether a process answers on all its listeners with anything but a server's error."""
    return all(_get(layout.port(listener)) for listener in _LISTENERS[name])


def _get(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def require_free_ports(layout: Layout, listeners: Iterable[str] = LISTENERS) -> None:
    """Raise LabError if another program listens where the lab wants to.

    A process of ours that has just ended may hold its socket for a moment: its first thread can be
    gone while the others still end.
    """
    deadline = time.monotonic() + RELEASE_S
    for name in listeners:
        while not _is_free(layout.port(name)):
            if time.monotonic() > deadline:
                raise LabError(f"port {layout.port(name)} for {name} is in use; choose --port-base")
            time.sleep(0.05)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
