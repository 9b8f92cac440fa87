# SPDX-License-Identifier: Apache-2.0
"""The lab as a whole: up, down, status, and what tests do with it."""

import fcntl
import http.client
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import catalogue, guest, libvirtd, postgres, schema, settings
from tests.lab.errors import LabError, with_log
from tests.lab.layout import DEFAULT_STATE_DIR, HOST, LISTENERS, Choices, Layout, write_private
from tests.lab.memory import pss_mib
from tests.lab.processes import Processes
from tests.lab.steps import Progress, Step, run

if TYPE_CHECKING:
    import libvirt
    from openstack.connection import Connection

SERVICES = Path(__file__).with_name("services")
HTTP_TIMEOUT_S = 120.0
# Processes and the listeners that each of them answers on.
WEB = {
    "keystone": ("keystone",),
    "placement": ("placement",),
    "glance": ("glance",),
    "neutron": ("neutron",),
    "heat": ("heat", "heat-cfn"),
    "nova": ("nova",),
}


@dataclass(frozen=True)
class Status:
    """One process of the lab: whether it answers, and its memory (PSS)."""

    name: str
    pid: int | None
    answers: bool
    memory_mib: int
    url: str


class Lab:
    """A cloud below one state directory; the directory tells which parts already run."""

    def __init__(
        self, state_dir: str | Path = DEFAULT_STATE_DIR, choices: Choices | None = None
    ) -> None:
        self.state_dir = Path(state_dir).absolute()
        self._wanted = choices
        self._processes = Processes(self.state_dir)

    # -- what tests and the demonstration read -------------------------------------------

    @cached_property
    def layout(self) -> Layout:
        """Paths, addresses and passwords; those that the state directory was made with."""
        existing = Layout.existing(self.state_dir)
        if existing is None:
            return Layout(self.state_dir, self._wanted or Choices())
        if self._wanted not in (None, existing.choices):
            raise LabError(
                f"{self.state_dir} was made with {existing.choices}, not {self._wanted}; "
                "use --wipe to make it anew"
            )
        return existing

    @property
    def info(self) -> dict[str, object]:
        """The content of lab.json: URLs, paths and names."""
        return self.layout.info()

    @property
    def libvirt_uri(self) -> str:
        """What libvirt's clients open."""
        return self.layout.libvirt_uri

    def cloud(self, name: str) -> "Connection":
        """A connection as `admin`, `demo`, `other` or `thermostat`."""
        import openstack
        from openstack.config import OpenStackConfig

        # Only our own file: environment variables and the user's clouds.yaml must not interfere.
        config = OpenStackConfig(
            config_files=[str(self.layout.clouds_file)], load_envvars=False
        ).get_one(cloud=name)
        return openstack.connection.Connection(config=config)

    def domain(self, server_id: str) -> "libvirt.virDomain":
        """The libvirt domain of a server."""
        import libvirt

        connection = libvirt.open(self.libvirt_uri)
        try:
            return connection.lookupByUUIDString(server_id)
        except libvirt.libvirtError as error:
            raise LabError(f"server {server_id} has no guest: {error}") from error

    def load(self, server_id: str, on: bool) -> float:  # noqa: FBT001  # reads well at its calls
        """Make a server's guest spin or idle; its share of a core once it does (0-1)."""
        return guest.set_load(self.domain(server_id), on=on)

    def cpu_share(self, server_id: str, seconds: float = 1.0) -> float:
        """The CPU time of a server's guest over the next seconds, as a share of one core."""
        return guest.cpu_share(self.domain(server_id), seconds)

    # -- up --------------------------------------------------------------------------------

    def up(self, progress: Progress = print) -> None:
        """Start what does not run, set up first if need be; seconds if all runs already."""
        if os.geteuid():
            raise LabError("the lab must be started by root: it starts a libvirtd of its own")
        with self._lock(progress):
            if self.is_up():
                progress(f"the lab in {self.state_dir} runs already")
                return
            if not self.layout.ready.exists():
                self._set_up(progress)
            else:
                self._start(progress)

    def is_up(self) -> bool:
        """Whether every part runs and answers."""
        return self.layout.ready.exists() and all(part.answers for part in self._parts())

    def _set_up(self, progress: Progress) -> None:
        """Begin from nothing: what an interrupted set-up left is removed."""
        self._stop_everything(progress)
        shutil.rmtree(self.state_dir, ignore_errors=True)
        self._require_free_ports()
        self.state_dir.mkdir(parents=True, mode=0o700)
        vars(self.layout).pop("passwords", None)
        settings.write_all(self.layout)
        write_private(self.layout.clouds_file, json.dumps(self.layout.clouds(), indent=2))
        write_private(self.layout.info_file, json.dumps(self.layout.info(), indent=2))
        progress(f"configuration written to {self.state_dir}")
        run(self._set_up_steps(), progress)
        self.layout.ready.touch()

    def _set_up_steps(self) -> list[Step]:
        layout, processes = self.layout, self._processes
        made = {
            "keystone tables": lambda: schema.keystone(layout, processes),
            "nova tables": lambda: schema.nova(layout, processes),
            "heat tables": lambda: schema.heat(layout, processes),
            "glance tables": lambda: schema.glance(layout, processes),
        }
        return [
            *self._database_steps(fresh=True),
            *(_said(name, f"{name} made", action, "databases") for name, action in made.items()),
            self._web("keystone", "keystone tables"),
            _said(
                "catalogue",
                "users, projects, roles and the service catalogue made",
                lambda: catalogue.fill(layout, self.cloud("admin")),
                "keystone",
            ),
            *self._service_steps(
                {
                    "placement": ("databases",),
                    "glance": ("glance tables",),
                    "heat": ("heat tables", "catalogue"),
                    "nova": ("nova tables", "catalogue", "placement", "glance"),
                }
            ),
            _said("image", "image and flavor made", self._seed, "glance", "nova"),
        ]

    def _start(self, progress: Progress) -> None:
        """Start what is set up but does not run."""
        run(
            [
                *self._database_steps(fresh=False),
                self._web("keystone", "databases"),
                *self._service_steps(
                    {
                        "placement": ("databases",),
                        "glance": ("databases",),
                        "heat": ("databases",),
                        "nova": ("keystone", "placement"),
                    }
                ),
            ],
            progress,
        )

    def _database_steps(self, *, fresh: bool) -> list[Step]:
        if self.layout.choices.db == "sqlite":
            return [Step("databases", lambda: None)]

        def start() -> None:
            postgres.start(self.layout, self._processes)
            if fresh:
                postgres.create_databases(self.layout)

        return [_said("databases", "postgres answers", start)]

    def _service_steps(self, after: dict[str, tuple[str, ...]]) -> list[Step]:
        steps = [self._web("neutron")]
        if self.layout.choices.virt != "fake":
            start = lambda: libvirtd.start(self.layout, self._processes)  # noqa: E731
            steps.append(_said("libvirtd", "libvirtd answers", start))
            after = {**after, "nova": (*after["nova"], "libvirtd")}
        return [*steps, *(self._web(name, *needs) for name, needs in after.items())]

    def _web(self, name: str, *after: str) -> Step:
        def start() -> None:
            self._start_web(name)
            self._await_http(name)

        return _said(name, f"{name} answers at {self.layout.url(name)}", start, *after)

    def _start_web(self, name: str) -> None:
        layout = self.layout
        python = layout.venv / "bin" / "python"
        address = {listener: f"{HOST}:{layout.port(listener)}" for listener in LISTENERS}
        wsgi = (python, SERVICES / "serve.py")
        etc = str(layout.etc)
        # Keystone's context middleware keeps a request's token in an object that all requests
        # share: with two threads one user's token leaks into another's request.
        commands: dict[str, tuple[tuple[str | Path, ...], dict[str, str]]] = {
            "keystone": (
                (*wsgi, "keystone.wsgi.api:application", address["keystone"], "1", "keystone"),
                {"OS_KEYSTONE_CONFIG_FILES": f"{etc}/keystone.conf"},
            ),
            "placement": (
                (*wsgi, "placement.wsgi.api:application", address["placement"], "4", "placement"),
                {"OS_PLACEMENT_CONFIG_DIR": etc},
            ),
            "glance": (
                (*wsgi, "glance.wsgi.api:application", address["glance"], "4", "glance-api"),
                {"OS_GLANCE_CONFIG_DIR": etc},
            ),
            "neutron": ((python, SERVICES / "neutron_stand_in.py", address["neutron"]), {}),
            "heat": (
                (
                    *(python, SERVICES / "heat_all_in_one.py", address["heat"], address["heat-cfn"]),
                    layout.etc / "heat.conf",
                ),
                {},
            ),
            "nova": ((python, SERVICES / "nova_all_in_one.py", address["nova"]), {"OS_NOVA_CONFIG_DIR": etc}),
        }
        command, env = commands[name]
        self._processes.start(name, command, env)

    def _await_http(self, name: str) -> None:
        deadline = time.monotonic() + HTTP_TIMEOUT_S
        for listener in WEB[name]:
            while not _answers(self.layout.port(listener)):
                self._processes.must_run(name)
                if time.monotonic() > deadline:
                    raise with_log(
                        f"{name}: no answer at {self.layout.url(listener)} in {HTTP_TIMEOUT_S:.0f} s",
                        self._processes.log(name),
                    )
                time.sleep(0.05)

    def _seed(self) -> None:
        admin = self.cloud("admin")
        admin.compute.create_flavor(name="tiny", ram=64, vcpus=1, disk=1)
        admin.image.create_image(
            name="tiny",
            data=guest.image(),
            disk_format="raw",
            container_format="bare",
            visibility="public",
        )

    def _require_free_ports(self) -> None:
        for name in LISTENERS:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, self.layout.port(name)))
                except OSError as error:
                    raise LabError(
                        f"port {self.layout.port(name)} for {name} is in use; "
                        "choose other ports with --port-base"
                    ) from error

    # -- restart, down, status ---------------------------------------------------------------

    def restart(self, name: str, progress: Progress = print) -> None:
        """Restart one process, for instance `heat` after its plugins were changed."""
        if name not in WEB:
            raise LabError(f"{name} cannot be restarted alone, only one of: {', '.join(WEB)}")
        with self._lock(progress):
            self._processes.stop([name])
            self._start_web(name)
            self._await_http(name)
            progress(f"{name} answers at {self.layout.url(name)}")

    def down(self, progress: Progress = print, *, wipe: bool = False) -> None:
        """End every process and every guest; `wipe` removes the state directory too."""
        if not self.state_dir.exists():
            progress(f"there is no lab in {self.state_dir}")
            return
        with self._lock(progress):
            self._stop_everything(progress)
            if wipe:
                shutil.rmtree(self.state_dir)
                vars(self).pop("layout", None)
                progress(f"{self.state_dir} removed")

    def _stop_everything(self, progress: Progress) -> None:
        names = self._processes.names()
        # Nova first, or it would note that its guests were stopped and not start them again.
        self._processes.stop([name for name in names if name != libvirtd.NAME])
        if (self.state_dir / "libvirt").exists():
            libvirtd.destroy_guests(self.state_dir)
        self._processes.stop(names)
        if names:
            progress("stopped: " + ", ".join(names))

    def status(self) -> list[Status]:
        """Every process, and the guests together."""
        if not self.layout.ready.exists():
            return []
        parts = self._parts()
        if self.layout.choices.virt != "fake":
            pids = libvirtd.guests(self.state_dir)
            parts.append(
                Status(
                    name=f"guests ({len(pids)})",
                    pid=None,
                    answers=True,
                    memory_mib=pss_mib(pids),
                    url="",
                )
            )
        return parts

    def _parts(self) -> list[Status]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self._part, self._part_names()))

    def _part_names(self) -> list[str]:
        names = list(WEB)
        if self.layout.choices.virt != "fake":
            names.insert(0, libvirtd.NAME)
        if self.layout.choices.db == "postgres":
            names.insert(0, postgres.NAME)
        return names

    def _part(self, name: str) -> Status:
        pid = self._processes.running(name)
        answers = pid is not None
        if answers and name == postgres.NAME:
            answers = postgres.answers(self.layout)
        elif answers and name == libvirtd.NAME:
            answers = libvirtd.answers(self.layout)
        elif answers:
            answers = all(_answers(self.layout.port(listener)) for listener in WEB[name])
        return Status(
            name=name,
            pid=pid,
            answers=answers,
            memory_mib=pss_mib(self._processes.members(name)),
            url=self.layout.url(name) if name in WEB else "",
        )

    @contextmanager
    def _lock(self, progress: Progress) -> Iterator[None]:
        """Only one process at a time starts or stops this lab."""
        path = self.state_dir.with_name(self.state_dir.name + ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("another process starts or stops this lab: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _said(name: str, sentence: str, action: object, *after: str) -> Step:
    def act() -> str:
        action()  # type: ignore[operator]
        return sentence

    return Step(name, act, after)


def _answers(port: int) -> bool:
    """Whether HTTP is answered there with anything but a server's error."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
