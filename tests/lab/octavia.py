# SPDX-License-Identifier: Apache-2.0
"""Octavia, for the tests that ask for it: its API with its driver agent, and a provider of ours.

There are no load balancers behind it and no Neutron: the provider reports every object as ready,
and `report` says how it fares from then on, as a provider's health checks would.
"""

import json
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tests.lab import catalogue, postgres, settings, web
from tests.lab.errors import LabError
from tests.lab.layout import Layout, write_private
from tests.lab.processes import Processes

if TYPE_CHECKING:
    from openstack.connection import Connection

NAME = "octavia"
PROCESSES = (NAME,)
SERVICE_TYPE = "load-balancer"


def set_up(layout: Layout, processes: Processes) -> None:
    """Make its configuration, its tables and its provider's entry point."""
    if layout.choices.db != "postgres":
        raise LabError("octavia needs a lab with --db postgres")
    state = layout.octavia_dir
    state.mkdir(exist_ok=True, mode=0o700)
    write_private(layout.etc / "octavia.conf", settings.ini(settings.octavia(layout)))
    metadata = state / "lab_octavia-0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-octavia\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(
        "[octavia.api.drivers]\nlab = lab_octavia:LabProvider\n"
    )
    postgres.execute(layout, f"drop database if exists {NAME}")
    postgres.execute(layout, f"create database {NAME}")
    processes.run(
        "octavia-schema",
        [
            *(layout.venv / "bin" / "python", "-W", "ignore"),
            *(web.SERVICES / "octavia_schema.py", layout.database_url(NAME)),
        ],
    )


def start(layout: Layout, processes: Processes) -> None:
    """Start it and return once it answers."""
    web.start(layout, processes, NAME)


def register(layout: Layout, admin: "Connection") -> None:
    """Put its user and its place in the catalogue into Keystone."""
    catalogue.add_service(layout, admin, NAME, SERVICE_TYPE)


def unregister(admin: "Connection") -> None:
    """Take it out of the catalogue: Heat then has no OS::Octavia::* any more."""
    catalogue.remove_service(admin, NAME)


def report(layout: Layout, status: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
    """Tell the driver agent how objects fare: by kind, `id` with `operating_status`.

    For instance `{"members": [{"id": "…", "operating_status": "ERROR"}]}`.
    """
    text = json.dumps(status).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(layout.octavia_socket("status")))
        connection.sendall(b"%d\n" % len(text) + text)
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.read(int(stream.readline())))
    if answer["status_code"] != 200:
        raise LabError(f"octavia's driver agent refuses: {answer}")
