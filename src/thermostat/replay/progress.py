# SPDX-License-Identifier: Apache-2.0
"""How far a long piece of work has come, on one line of a terminal."""

import sys
import time

SECONDS_BETWEEN = 0.2


class Progress:
    """Says how far the work is, if standard error is a terminal; else it says nothing."""

    def __init__(self) -> None:
        self._wanted = sys.stderr.isatty()
        self._next_s = time.monotonic() + SECONDS_BETWEEN
        self._shown = False

    def lines(self, count: int) -> None:
        """Say how many lines have been read."""
        self._say(f"{count} lines read")

    def share(self, done: float) -> None:
        """Say which share, from 0 to 1, of the time has been replayed."""
        self._say(f"replayed {done:.0%}")

    def clear(self) -> None:
        """Take away the line, for other output."""
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _say(self, text: str) -> None:
        if self._wanted and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + SECONDS_BETWEEN
            self._shown = True
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
