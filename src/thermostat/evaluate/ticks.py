# SPDX-License-Identifier: Apache-2.0
"""How event time is divided: periods into ticks, windows into periods. Pure: no I/O, no clock.

A window slides in steps of one tick, aligned to the epoch. Periods are left-open and right-closed,
so a sample at the very end of a tick belongs to it: a rate that was measured between two polls
belongs to the period that those polls enclose.
"""

from functools import lru_cache

from thermostat.alarms.rules import ThresholdRule

US_PER_S = 1_000_000
SHORTEST_TICK_S = 10
TICKS_A_PERIOD = 60
"""How many ticks a period has at the most."""
SILENT_INTERVALS = 1.5
"""A member that has been silent for longer than this many of its intervals is no longer live."""


@lru_cache(maxsize=4096)
def tick_s(period_s: int) -> int:
    """Give the step of a window in seconds: the shortest that divides the period evenly.

    It is at least 10 s and a sixtieth of the period, and at most the period.
    """
    shortest = min(period_s, max(SHORTEST_TICK_S, -(-period_s // TICKS_A_PERIOD)))
    most = period_s // shortest
    return period_s // next(ticks for ticks in range(most, 0, -1) if period_s % ticks == 0)


def window_length(rule: ThresholdRule) -> int:
    """Give how many datapoints a window has: N, or 2 N where outliers are to be excluded."""
    return rule.evaluation_periods * (2 if rule.exclude_outliers else 1)


def window_us(rule: ThresholdRule) -> int:
    """Give the span of a window in microseconds."""
    return window_length(rule) * rule.period * US_PER_S
