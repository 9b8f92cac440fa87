# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the lab."""

from collections import deque
from pathlib import Path

TAIL_LINES = 30


class LabError(Exception):
    """The lab cannot do what was asked; the message says why and which log to read."""


def with_log(message: str, log: Path) -> LabError:
    """An error that carries the last lines of the log that explains it."""
    try:
        with log.open(errors="replace") as lines:
            tail = "".join(deque(lines, TAIL_LINES)).rstrip()
    except OSError:
        tail = ""
    shown = f"\n--- the end of {log}\n{tail}\n---" if tail else ""
    return LabError(f"{message}; its log is {log}{shown}")
