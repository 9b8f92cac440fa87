# SPDX-License-Identifier: Apache-2.0
"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(condition: Callable[[], Found], what: str, timeout_s: float = 90.0) -> Found:
    """Give the condition's first true answer; fail with `what` if it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s} s"
        time.sleep(0.3)
    return found
