# SPDX-License-Identifier: Apache-2.0
"""The wall clock, as everything that takes a clock takes it."""

import time


def wall_clock_us() -> int:
    """Give the time in microseconds since the epoch, UTC."""
    return time.time_ns() // 1000
