# SPDX-License-Identifier: Apache-2.0
"""The lab as a whole: up, down, status, and what tests do with it."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab import extras, guest, libvirtd, plan, postgres, settings, web
from tests.lab.errors import LabError
from tests.lab.layout import DEFAULT_STATE_DIR, LISTENERS, Choices, Layout, write_private
from tests.lab.memory import pss_mib
from tests.lab.processes import Processes
from tests.lab.steps import Progress, run

if TYPE_CHECKING:
    import libvirt
    from openstack.connection import Connection


@dataclass(frozen=True)
class Status:
    """One process of the lab: whether it answers, and its memory (PSS, MiB)."""

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

    # -- what tests and the demonstration read -------------------------------------------------

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
    def info(self) -> dict[str, Any]:
        """The content of lab.json: URLs, paths and names."""
        return self.layout.info()

    @property
    def libvirt_uri(self) -> str:
        """What libvirt's clients open."""
        return self.layout.libvirt_uri

    def cloud(self, name: str) -> "Connection":
        """A connection as `admin`, `demo`, `other` or `thermostat`."""
        from openstack.config import OpenStackConfig
        from openstack.connection import Connection

        # Only our own file: environment variables and the user's clouds.yaml must not interfere.
        config = OpenStackConfig(
            config_files=[str(self.layout.clouds_file)], load_envvars=False
        ).get_one(cloud=name)
        return Connection(config=config)

    def domain(self, server_id: str) -> "libvirt.virDomain":
        """The libvirt domain of a server."""
        import libvirt

        connection = libvirt.open(self.libvirt_uri)
        try:
            return connection.lookupByUUIDString(server_id)
        except libvirt.libvirtError as error:
            raise LabError(f"server {server_id} has no guest: {error}") from error

    def load(self, server_id: str, on: bool) -> float:
        """Make a server's guest spin or idle; its share of a core once it does (0-1)."""
        return guest.set_load(self.domain(server_id), on=on)

    def cpu_share(self, server_id: str, seconds: float = 1.0) -> float:
        """The CPU time of a server's guest over the next seconds, as a share of one core."""
        return guest.cpu_share(self.domain(server_id), seconds)

    # -- up ------------------------------------------------------------------------------------

    def up(self, progress: Progress = print) -> None:
        """Start what does not run, set up first if need be; a second if all runs already."""
        if os.geteuid():
            raise LabError("the lab must be started by root: it starts a libvirtd of its own")
        with self._lock(progress):
            if self.is_up():
                progress(f"the lab in {self.state_dir} runs already")
            elif self.layout.ready.exists():
                run(plan.start(self.layout, self._processes), progress)
                for name in extras.added(self.layout):
                    self._start_extra(name, progress)
            else:
                self._set_up(progress)

    def is_up(self) -> bool:
        """Whether every part runs and answers."""
        return self.layout.ready.exists() and all(part.answers for part in self._parts())

    def is_begun(self) -> bool:
        """Whether any process of the lab runs."""
        return any(self._processes.running(name) for name in self._processes.names())

    def _set_up(self, progress: Progress) -> None:
        """Begin from nothing: what an interrupted set-up left is removed."""
        layout = self.layout
        self._stop_everything(progress)
        shutil.rmtree(self.state_dir, ignore_errors=True)
        web.require_free_ports(layout)
        self.state_dir.mkdir(parents=True, mode=0o700)
        vars(layout).pop("passwords", None)
        settings.write_all(layout)
        write_private(layout.clouds_file, json.dumps(layout.clouds(), indent=2))
        write_private(layout.info_file, json.dumps(layout.info(), indent=2))
        progress(f"configuration written to {self.state_dir}")
        run(plan.set_up(layout, self._processes, lambda: self.cloud("admin")), progress)
        layout.ready.touch()

    # -- services that tests add ---------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether one of EXTRAS was added to this lab."""
        return name in extras.added(self.layout)

    def add(self, name: str, progress: Progress = print) -> None:
        """Add one of EXTRAS to the running lab; it stays, through `down` and `up`, until removed.

        What was set up once is kept: adding it again only starts it.
        """
        extra = self._extra(name)
        with self._lock(progress):
            if not self.layout.ready.exists():
                raise LabError(f"there is no lab in {self.state_dir}")
            is_made = self.layout.extras / f"{name}.made"
            self.layout.extras.mkdir(exist_ok=True, mode=0o700)
            if not is_made.exists():
                extra.set_up(self.layout, self._processes)
                is_made.touch()
                progress(f"{name} set up")
            (self.layout.extras / name).touch()
            self._start_extra(name, progress)
            extra.register(self.layout, self.cloud("admin"))

    def remove(self, name: str, progress: Progress = print) -> None:
        """Stop one of EXTRAS and take it out of the catalogue."""
        extra = self._extra(name)
        with self._lock(progress):
            if self.layout.ready.exists() and self.has(name):
                extra.unregister(self.cloud("admin"))
                self._processes.stop(extra.PROCESSES)
                (self.layout.extras / name).unlink()
                progress(f"{name} removed")

    def _start_extra(self, name: str, progress: Progress) -> None:
        extras.EXTRAS[name].start(self.layout, self._processes)
        progress(f"{name} answers at {self.layout.url(name)}")

    def _extra(self, name: str) -> extras.Extra:
        if name not in extras.EXTRAS:
            raise LabError(f"{name} cannot be added, only one of: {', '.join(extras.EXTRAS)}")
        return extras.EXTRAS[name]

    # -- restart, down, status -----------------------------------------------------------------

    def restart(self, name: str, progress: Progress = print) -> None:
        """Restart one process, for instance `heat` after its plugins were changed."""
        if name not in web.PROCESSES:
            known = ", ".join(web.PROCESSES)
            raise LabError(f"{name} cannot be restarted alone, only one of: {known}")
        with self._lock(progress):
            if not self.layout.ready.exists():
                raise LabError(f"there is no lab in {self.state_dir}")
            self._processes.stop([name])
            web.start(self.layout, self._processes, name)
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
        libvirtd.destroy_guests(self.state_dir)
        self._processes.stop([name for name in names if name == libvirtd.NAME])
        if names:
            progress("stopped: " + ", ".join(names))

    def status(self) -> list[Status]:
        """Every process, and the guests together; empty if the lab was never set up."""
        if not self.layout.ready.exists():
            return []
        guests = libvirtd.guests(self.state_dir)
        name = f"guests ({len(guests)})"
        together = Status(name, pid=None, answers=True, memory_mib=pss_mib(guests), url="")
        return [*self._parts(), together]

    def _parts(self) -> list[Status]:
        names = plan.process_names(self.layout)
        names += extras.added(self.layout)
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            return list(pool.map(self._part, names))

    def _part(self, name: str) -> Status:
        pid = self._processes.running(name)
        return Status(
            name=name,
            pid=pid,
            answers=pid is not None and self._answers(name),
            memory_mib=pss_mib(self._processes.members(name)),
            url=self.layout.url(name) if name in LISTENERS else "",
        )

    def _answers(self, name: str) -> bool:
        if name == postgres.NAME:
            return postgres.answers(self.layout)
        if name == libvirtd.NAME:
            return libvirtd.answers(self.layout)
        return web.answers(self.layout, name)

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
