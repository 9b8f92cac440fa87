# SPDX-License-Identifier: Apache-2.0
"""The samples of one alarm's group, as far back as its window reaches. Pure: no I/O, no clock.

Time is event time. A window slides in steps of the tick, aligned to the epoch; at each step its
periods end at that instant and reach back from there, each left-open and right-closed. A step is
complete as soon as every live member of the group has reported up to it, and at the latest when the
allowed lag is over; a late sample counts in every later step whose periods still cover it.

A member is live while it has been silent for no longer than one and a half of its own interval. So
the members that a group loses when it shrinks are waited for once, and not at every step.
"""

from dataclasses import dataclass

from thermostat.alarms.model import ThresholdRule
from thermostat.evaluate.decide import Datapoint, datapoint, window_length

US_PER_S = 1_000_000
SHORTEST_TICK_S = 10
TICKS_A_PERIOD = 60
SILENT_INTERVALS = 1.5
"""A member that has been silent for longer than this many of its intervals is no longer live."""


def tick_s(period_s: int) -> int:
    """Give the step of a window in seconds: a sixtieth of the period, but 10 s to one period."""
    return min(period_s, max(SHORTEST_TICK_S, -(-period_s // TICKS_A_PERIOD)))


@dataclass(slots=True)
class _Member:
    """How far one member has reported, and how often it does."""

    last_us: int
    interval_us: int

    def report(self, timestamp_us: int) -> None:
        if timestamp_us > self.last_us:
            self.interval_us = timestamp_us - self.last_us
            self.last_us = timestamp_us

    def is_live(self, step_us: int) -> bool:
        return self.last_us >= step_us - SILENT_INTERVALS * self.interval_us


class Window:
    """The samples of one group, by member, and how far each member has reported."""

    def __init__(self, rule: ThresholdRule) -> None:
        self._rule = rule
        self._period_us = rule.period * US_PER_S
        self._samples: dict[int, dict[int, float]] = {}
        self._members: dict[int, _Member] = {}
        self._from_us = 0  # samples up to here are outside every step still to be judged
        self.tick_us = tick_s(rule.period) * US_PER_S
        self.length_us = self._period_us * window_length(rule)

    @property
    def newest_us(self) -> int | None:
        """The newest event time that any member reported; None without members."""
        return max((member.last_us for member in self._members.values()), default=None)

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
        member = self._members.get(series_id)
        if member is None:
            self._members[series_id] = _Member(timestamp_us, self.tick_us)
        else:
            member.report(timestamp_us)
        return True

    def leave(self, series_id: int) -> None:
        """No longer wait for a member; what it reported while it was one still counts."""
        self._members.pop(series_id, None)

    def is_complete(self, step_us: int, now_us: int) -> bool:
        """Tell whether every live member has reported up to this step, and there is one.

        Who is live is asked of the newest step that anyone has reported up to, but of none in the
        future: a member whose clock is ahead must not make the others look silent.
        """
        newest_us = max(step_us, self.floor(min(self.newest_us or 0, now_us)))
        live = [member for member in self._members.values() if member.is_live(newest_us)]
        return bool(live) and all(member.last_us >= step_us for member in live)

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
                self._members.pop(member, None)
