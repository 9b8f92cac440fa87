# SPDX-License-Identifier: Apache-2.0
"""What the demonstration prints: steps with elapsed times, and a progress line while it waits."""

import sys
import time
from collections.abc import Callable
from typing import TextIO, TypeVar

T = TypeVar("T")
QUIET_S = 5.0
"""Where the output is no terminal, a wait is mentioned this often, in seconds."""
WIDTH = 110


class DemoError(Exception):
    """A step failed or took too long; the message says which and why."""


class Console:
    """Prints to one stream; a progress line is overwritten where the stream is a terminal."""

    def __init__(self, steps: int, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._steps = steps
        self._step = 0
        self._began = time.monotonic()
        self._transient = False
        self._quiet_until = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demonstration began."""
        return time.monotonic() - self._began

    def step(self, title: str) -> None:
        """Begin the next numbered step."""
        self._step += 1
        self._print("")
        self._print(f"{self._stamp()} {self._step}/{self._steps}  {title}")
        self._quiet_until = time.monotonic() + QUIET_S

    def say(self, text: str) -> None:
        """Print one thing that happened, with the time."""
        self._print(f"{self._stamp()}      {text}")
        self._quiet_until = time.monotonic() + QUIET_S

    def show(self, text: str) -> None:
        """Print a block as it is, indented."""
        for line in text.rstrip().splitlines():
            self._print(f"{'':17}{line}".rstrip())

    def progress(self, text: str) -> None:
        """Say what is being waited for; the next line takes its place on a terminal."""
        line = f"{self._stamp()}      … {text}"[:WIDTH]
        if self._out.isatty():
            self._out.write(f"\r\x1b[2K{line}")
            self._out.flush()
            self._transient = True
        elif time.monotonic() >= self._quiet_until:
            self._print(line)
            self._quiet_until = time.monotonic() + QUIET_S

    def wait(
        self,
        what: str,
        probe: Callable[[], T | None],
        *,
        timeout_s: float,
        every_s: float = 0.3,
        detail: Callable[[], str] = str,
    ) -> T:
        """Ask until the probe gives something; DemoError after the timeout, with `detail`."""
        began = time.monotonic()
        while True:
            found = probe()
            if found is not None:
                return found
            waited_s = time.monotonic() - began
            seen = detail()
            if waited_s > timeout_s:
                raise DemoError(f"{what}: not within {timeout_s:.0f} s. Last seen: {seen or '-'}")
            self.progress(f"{what} ({waited_s:.0f} s){': ' if seen else ''}{seen}")
            time.sleep(every_s)

    def _stamp(self) -> str:
        return f"[{self.elapsed_s:6.1f} s]"

    def _print(self, line: str) -> None:
        if self._transient:
            self._out.write("\r\x1b[2K")
            self._transient = False
        self._out.write(line + "\n")
        self._out.flush()
