# SPDX-License-Identifier: Apache-2.0
"""Waiting for what comes soon."""

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], object], timeout_s: float = 30.0) -> float:
    """Wait until this is so; give the seconds that it took."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < timeout_s, f"not within {timeout_s} s"
        time.sleep(0.005)
    return time.monotonic() - begun
