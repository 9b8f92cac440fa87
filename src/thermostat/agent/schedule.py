# SPDX-License-Identifier: Apache-2.0
"""When to poll: at multiples of the interval since the epoch. Pure: time is an argument."""

from dataclasses import dataclass

LATE_SHARE = 0.5
"""A cycle that starts later than this share of the interval is stamped with the real time.

One that starts earlier bears the nominal time: on a busy host each period still gets its datapoint,
and the rates are exact, since they are made from the real monotonic clock.
"""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One poll of everything."""

    timestamp_us: int
    """The event time of all samples of the cycle."""
    missed: int
    """Cycles that were due before this one and will not be made up for."""


class Schedule:
    """Gives the cycles of one interval; at most one is due at any time."""

    def __init__(self, interval_s: int, now_us: int) -> None:
        self._interval_us = interval_s * 1_000_000
        self.due_us = self._after(now_us)
        """When the next cycle is due, in microseconds since the epoch."""

    def start(self, now_us: int) -> Cycle:
        """Give the cycle that is due and starts now, not before `due_us`.

        It bears the nominal time, so that all agents stamp alike, or the real one where it is late.
        """
        late_us = now_us - self.due_us
        missed = late_us // self._interval_us
        timestamp_us = now_us if late_us > LATE_SHARE * self._interval_us else self.due_us
        self.due_us = self._after(now_us)
        return Cycle(timestamp_us, missed)

    def notice_clock(self, now_us: int) -> None:
        """Plan anew where the clock was set back by more than an interval."""
        if self.due_us - now_us > 2 * self._interval_us:
            self.due_us = self._after(now_us)

    def _after(self, now_us: int) -> int:
        return (now_us // self._interval_us + 1) * self._interval_us
