# SPDX-License-Identifier: Apache-2.0
"""The lab's processes: each in a session of its own, known by pid, start time and boot."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError, with_log

STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Stat:
    """Three fields of /proc/PID/stat; `start` in clock ticks since boot."""

    pid: int
    state: str
    session: int
    start: int


def boot_id() -> str:
    """Linux's random name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stat(pid: int) -> Stat | None:
    """The process's status; None if there is none or it only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    return Stat(pid=pid, state=fields[0], session=int(fields[3]), start=int(fields[19]))


def all_processes() -> Iterator[Stat]:
    """Every live process of this machine."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (found := stat(int(entry))):
            yield found


class Processes:
    """Starts, finds and ends processes by the records kept in `<state>/pid`.

    A record outlives its process after a kill or a reboot, and the kernel may give the number to
    another one: so a process counts as ours only if its start time and the boot agree too.
    """

    def __init__(self, state: Path) -> None:
        self._pid_dir = state / "pid"
        self._log_dir = state / "log"
        self._children: dict[str, int] = {}  # pids; until they are reaped they stay zombies

    def log(self, name: str) -> Path:
        """The log that the process `name` writes."""
        return self._log_dir / f"{name}.log"

    def start(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> None:
        """Start `command` in a session of its own, unless `name` already runs."""
        if self.running(name) is not None:
            return
        self.stop([name])  # what its former leader left in its session
        self._pid_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children[name] = pid = _spawn(command, {**os.environ, **(env or {})}, self.log(name))
        started = stat(pid)
        if started is None:
            raise with_log(f"{name} ended at once", self.log(name))
        record = {"pid": pid, "start": started.start, "boot": boot_id()}
        (self._pid_dir / name).write_text(json.dumps(record))

    def run(
        self, log_name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> None:
        """Run a command to its end; its output goes to a log. Raises LabError if it fails."""
        with self.log(log_name).open("ab") as log:
            done = subprocess.run(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                env={**os.environ, **(env or {})},
            )
        if done.returncode:
            raise with_log(f"{log_name} failed ({done.returncode})", self.log(log_name))

    def names(self) -> list[str]:
        """All processes that have a record, whether they still run or not."""
        return sorted(path.name for path in self._pid_dir.glob("*"))

    def running(self, name: str) -> int | None:
        """The pid of the process `name` if it is alive and is the one that was started."""
        self._reap(name, os.WNOHANG)
        record = self._record(name)
        if record is None:
            return None
        found = stat(record["pid"])
        return record["pid"] if found and found.start == record["start"] else None

    def members(self, name: str) -> list[int]:
        """The pids of the process `name` and of all that runs in its session."""
        record = self._record(name)
        if record is None:
            return []
        leader = stat(record["pid"])
        if leader is not None and leader.start != record["start"]:
            return []  # the number belongs to another process now
        return [
            process.pid
            for process in all_processes()
            if process.session == record["pid"] and process.start >= record["start"]
        ]

    def stop(self, names: Iterable[str], timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End these processes and their sessions: SIGTERM to the leader, then SIGKILL to all."""
        names = list(names)
        for name in names:
            if (pid := self.running(name)) is not None:
                _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        for name in names:
            while self.members(name) and time.monotonic() < deadline:
                time.sleep(0.05)
                self.running(name)
            for pid in self.members(name):
                _signal(pid, signal.SIGKILL)
            self._reap(name, 0)
            while self.members(name):
                time.sleep(0.01)
            (self._pid_dir / name).unlink(missing_ok=True)

    def must_run(self, name: str) -> None:
        """Raise LabError, with the end of its log, if the process `name` has ended."""
        if self.running(name) is None:
            raise with_log(f"{name} has ended", self.log(name))

    def _reap(self, name: str, options: int) -> None:
        """Let the kernel forget a child that has ended."""
        if (pid := self._children.get(name)) is not None and os.waitpid(pid, options)[0]:
            del self._children[name]

    def _record(self, name: str) -> dict[str, int] | None:
        try:
            record = json.loads((self._pid_dir / name).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return record if record["boot"] == boot_id() else None


def _spawn(command: Sequence[str | Path], env: Mapping[str, str], log: Path) -> int:
    """The pid of a new process in a session of its own that outlives us."""
    words = [str(word) for word in command]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawnp(
        words[0],
        words,
        {**env, "PYTHONUNBUFFERED": "1"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise LabError(f"may not end process {pid}: run as root") from error
