# SPDX-License-Identifier: Apache-2.0
"""Processes that a benchmark starts beside itself: each with a log, and ended by its id."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STOP_S = 10.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class BenchError(RuntimeError):
    """A program that a benchmark needs did not do its work; the message ends with its log."""


@contextmanager
def running(
    log: Path, *command: str | Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for signal_ in (15, 9):
        try:
            os.killpg(process.pid, signal_)  # its group has the id of the process that leads it
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def run(log: Path, *command: str | Path, timeout_s: float = 300.0) -> str:
    """Run a program to its end and give what it printed. Raises BenchError."""
    with log.open("wb") as errors:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=errors, timeout=timeout_s, check=False
        )
    if done.returncode:
        raise BenchError(f"{Path(command[0]).name}: status {done.returncode}: {tail(log)}")
    return done.stdout.decode()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float = 60) -> None:
    """Wait until a server answers 200. Raises BenchError."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise BenchError(f"{url} does not answer: {tail(log)}")


def tail(log: Path, lines: int = 5) -> str:
    """Give the end of a log."""
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    """Give the processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def wait_until_idle(pid: int, timeout_s: float = 120.0) -> None:
    """Wait until a process has done what it begins with: until it takes a tenth of a core at most.

    Raises BenchError if it does not come to rest.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        before_s = cpu_s(pid)
        time.sleep(1.0)
        if cpu_s(pid) - before_s < 0.1:
            return
    raise BenchError(f"process {pid} does not come to rest in {timeout_s:.0f} s")


def resident_bytes(pid: int | str = "self") -> int:
    """Give the resident set of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def first_existing(*candidates: str | Path) -> Path | None:
    """Give the first of these paths that exists."""
    return next((Path(one) for one in candidates if Path(one).exists()), None)


def settings(**sections: Mapping[str, object] | Sequence[str]) -> str:
    """Give an INI file's text: option = value, by section."""
    lines: list[str] = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        pairs = options.items() if isinstance(options, Mapping) else ()
        lines += [f"{name} = {value}" for name, value in pairs]
    return "\n".join(lines) + "\n"
