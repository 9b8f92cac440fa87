# SPDX-License-Identifier: Apache-2.0
"""The samples of one alarm's group, as far back as its window reaches. Pure: no I/O, no clock.

Time is event time. A window slides in steps of the tick, aligned to the epoch; at each step its
periods end at that instant and reach back from there, each left-open and right-closed. A step is
complete as soon as every live member of the group has reported up to it, and at the latest when the
allowed lag is over; a late sample counts in every later step whose periods still cover it.
"""

from collections.abc import Sequence

from thermostat.alarms.model import ThresholdRule
from thermostat.evaluate.decide import Datapoint, datapoint, window_length

US_PER_S = 1_000_000
SHORTEST_TICK_S = 10
TICKS_A_PERIOD = 60


def tick_s(period_s: int) -> int:
    """Give the step of a window in seconds: a sixtieth of the period, but 10 s to one period."""
    return min(period_s, max(SHORTEST_TICK_S, -(-period_s // TICKS_A_PERIOD)))


class Window:
    """The samples of one group, by member, and how far each member has reported."""

    def __init__(self, rule: ThresholdRule, allowed_lag_us: int) -> None:
        self._rule = rule
        self._period_us = rule.period * US_PER_S
        self._allowed_lag_us = allowed_lag_us
        self._samples: dict[int, dict[int, float]] = {}
        self._last_us: dict[int, int] = {}
        self._from_us = 0  # samples up to here are outside every step still to be judged
        self.tick_us = tick_s(rule.period) * US_PER_S
        self.length_us = self._period_us * window_length(rule)

    @property
    def newest_us(self) -> int | None:
        """The newest event time that any member reported; None without samples."""
        return max(self._last_us.values(), default=None)

    def floor(self, time_us: int) -> int:
        """Give the last step at or before this time."""
        return time_us - time_us % self.tick_us

    def add(self, series_id: int, timestamp_us: int, volume: float) -> bool:
        """Count a sample; False if it is too old for every step still to be judged.

        A sample that comes again, with the same member and time, replaces itself.
        """
        if timestamp_us <= self._from_us:
            return False
        self._samples.setdefault(series_id, {})[timestamp_us] = volume
        self._last_us[series_id] = max(timestamp_us, self._last_us.get(series_id, 0))
        return True

    def leave(self, series_id: int) -> None:
        """No longer wait for a member; what it reported while it was one still counts."""
        self._last_us.pop(series_id, None)

    def live_members(self, step_us: int) -> Sequence[int]:
        """Give the members that reported in the period before this step, or after it."""
        horizon_us = step_us - self._period_us - self._allowed_lag_us
        return [member for member, last_us in self._last_us.items() if last_us > horizon_us]

    def is_complete(self, step_us: int) -> bool:
        """Tell whether every live member has reported up to this step, and there is one."""
        members = self.live_members(step_us)
        return bool(members) and all(self._last_us[member] >= step_us for member in members)

    def datapoints(self, step_us: int) -> list[Datapoint]:
        """Give the datapoints of the periods that end at this step, oldest first."""
        length = window_length(self._rule)
        start_us = step_us - length * self._period_us
        buckets: list[list[tuple[int, float]]] = [[] for _ in range(length)]
        for member in self._samples.values():
            for time_us, volume in member.items():
                if start_us < time_us <= step_us:
                    buckets[(time_us - start_us - 1) // self._period_us].append((time_us, volume))
        return [
            datapoint(
                self._rule.statistic,
                start_us + index * self._period_us,
                start_us + (index + 1) * self._period_us,
                bucket,
            )
            for index, bucket in enumerate(buckets)
        ]

    def forget(self, next_step_us: int) -> None:
        """Drop what no step from this one on can reach."""
        self._from_us = max(self._from_us, next_step_us - self.length_us)
        for member in list(self._samples):
            kept = {t: v for t, v in self._samples[member].items() if t > self._from_us}
            if kept:
                self._samples[member] = kept
            else:
                del self._samples[member]
                if self._last_us.get(member, 0) <= self._from_us - self._allowed_lag_us:
                    self._last_us.pop(member, None)
