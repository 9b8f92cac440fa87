# SPDX-License-Identifier: Apache-2.0
"""Turns: how much of the server's time one project may take at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import falcon


class Turns:
    """Lets each project do a few things of one kind at the same time."""

    def __init__(self, each: int, wait_s: float) -> None:
        """Let each project do so many; more wait so many seconds before they are refused."""
        self._each = each
        self._wait_s = wait_s
        self._running: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def of(self, project_id: str, what: str) -> Iterator[None]:
        """Do one of these things in the block, or raise the 503 that says what is too much."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._running[project_id] < self._each, self._wait_s
            ):
                # Without Retry-After: aodhclient makes a TypeError of a 503 that has one.
                raise falcon.HTTPServiceUnavailable(
                    description=f"Your project does too many {what} at once; try again."
                )
            self._running[project_id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._running[project_id] -= 1
                if not self._running[project_id]:
                    del self._running[project_id]
                self._changed.notify_all()
