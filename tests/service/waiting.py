# SPDX-License-Identifier: Apache-2.0
"""Waiting for what comes soon."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(is_so: Callable[[], object], timeout_s: float = 180.0) -> float:
    """Wait until this is so; give the seconds that it took."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < timeout_s, f"not within {timeout_s} s"
        time.sleep(0.005)
    return time.monotonic() - begun


def until(condition: Callable[[], Found], what: str, timeout_s: float = 180.0) -> Found:
    """Give the first true answer to a question that costs something, or fail with `what`."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s} s"
        time.sleep(0.3)
    return found
