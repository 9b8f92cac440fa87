# SPDX-License-Identifier: Apache-2.0
"""When a cron expression comes in a time zone whose clocks change.

As with Debian's cron, a time of day that the clocks jump over comes when they have jumped, and one
that they show twice comes the first time. But where the minute or the hour begins with `*`, each
time that the clocks show counts, and no other.

The expression is searched in the clocks' own time, which knows no changes, one stretch of time
with the same offset after the other. All times are microseconds: since the epoch, UTC, or, where
they are called wall times, what the clocks show, as if they showed UTC.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

US_PER_S = 1_000_000
MOST_YEARS = 50
"""How far a start is searched."""
_MINUTE_US = 60 * US_PER_S
_PROBE_US = 6 * 3600 * US_PER_S
"""Two changes of a zone's offset are further apart than this."""
_EPOCH = datetime(1970, 1, 1)


class _Stretch(NamedTuple):
    """A stretch of time, `begin_us` <= t < `end_us`, in which a zone's offset stays the same."""

    begin_us: int
    end_us: int
    offset_us: int
    before_us: int
    """The offset before it began; it may be the same."""

    def first_wall_us(self, *, fixed: bool) -> int:
        """Give the first wall time in it that counts."""
        offset_us = max(self.offset_us, self.before_us) if fixed else self.offset_us
        return self.begin_us + offset_us


def last_start_us(expression: str, zone: ZoneInfo, time_us: int) -> int | None:
    """Give the latest start at or before a time; None if there is none within fifty years."""
    fixed = _is_fixed(expression)
    search = _Search(expression)
    for stretch in _backwards(zone, time_us):
        wall_us = search.last_us(min(time_us, stretch.end_us - 1) + stretch.offset_us)
        if wall_us is None:
            return None
        if wall_us >= stretch.first_wall_us(fixed=fixed):
            return wall_us - stretch.offset_us
        if fixed and wall_us >= stretch.begin_us + stretch.before_us:
            return stretch.begin_us  # the clocks jumped over it
    return None


def next_start_us(expression: str, zone: ZoneInfo, time_us: int) -> int | None:
    """Give the earliest start after a time; None if there is none within fifty years."""
    fixed = _is_fixed(expression)
    search = _Search(expression)
    for stretch in _forwards(zone, time_us):
        first_us = stretch.first_wall_us(fixed=fixed)
        if fixed and stretch.begin_us > time_us:  # the clocks may jump over it
            wall_us = search.next_us(stretch.begin_us + stretch.before_us)
            if wall_us is not None and wall_us < first_us:
                return stretch.begin_us
        wall_us = search.next_us(max(time_us + 1 + stretch.offset_us, first_us))
        if wall_us is None:
            return None
        if wall_us < stretch.end_us + stretch.offset_us:
            return wall_us - stretch.offset_us
    return None


def _is_fixed(expression: str) -> bool:
    """Tell an expression that names times of day from one that comes all the time."""
    minute, *others = expression.split()
    if not others:
        return minute.lower() != "@hourly"
    return not minute.startswith("*") and not others[0].startswith("*")


class _Search:
    """Searches wall times that match an expression, and remembers the last answer."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._asked_us = 0
        self._found_us: int | None = None

    def last_us(self, wall_us: int) -> int | None:
        """Give the latest match at or before a wall time."""
        found_us = self._found_us
        if found_us is None or not found_us <= wall_us <= self._asked_us:
            minute_us = wall_us // _MINUTE_US * _MINUTE_US
            self._found_us = self._match_us(minute_us + _MINUTE_US, "get_prev")
            self._asked_us = wall_us
        return self._found_us

    def next_us(self, wall_us: int) -> int | None:
        """Give the earliest match at or after a wall time."""
        found_us = self._found_us
        if found_us is None or not self._asked_us <= wall_us <= found_us:
            minute_us = -(-wall_us // _MINUTE_US) * _MINUTE_US
            self._found_us = self._match_us(minute_us - _MINUTE_US, "get_next")
            self._asked_us = wall_us
        return self._found_us

    def _match_us(self, beside_us: int, direction: str) -> int | None:
        try:
            beside = _EPOCH + timedelta(microseconds=beside_us)
            found: datetime = getattr(croniter(self._expression, beside), direction)(datetime)
        except (CroniterBadDateError, OverflowError):
            return None
        return (found - _EPOCH) // timedelta(microseconds=1)


def _backwards(zone: ZoneInfo, time_us: int) -> Iterator[_Stretch]:
    """Give the stretches before a time, beginning with the one that holds it."""
    year = _year(time_us)
    for one in range(year, max(year - MOST_YEARS, 1), -1):
        for stretch in reversed(_stretches(zone, one)):
            if stretch.begin_us <= time_us:
                yield stretch


def _forwards(zone: ZoneInfo, time_us: int) -> Iterator[_Stretch]:
    """Give the stretches after a time, beginning with the one that holds it."""
    year = _year(time_us)
    for one in range(year, min(year + MOST_YEARS, 9998)):
        for stretch in _stretches(zone, one):
            if stretch.end_us > time_us:
                yield stretch


@lru_cache(maxsize=4096)
def _stretches(zone: ZoneInfo, year: int) -> tuple[_Stretch, ...]:
    """Give the stretches of a year, in UTC."""
    begin_us, end_us = _begin_us(year), _begin_us(year + 1)
    probes = [begin_us - US_PER_S, *range(begin_us, end_us, _PROBE_US), end_us - US_PER_S]
    changes = [
        _change_us(zone, one, other)
        for one, other in pairwise(probes)
        if _offset_us(zone, one) != _offset_us(zone, other)
    ]
    limits = sorted({begin_us, *changes, end_us})
    return tuple(
        _Stretch(one, other, _offset_us(zone, one), _offset_us(zone, one - US_PER_S))
        for one, other in pairwise(limits)
    )


def _change_us(zone: ZoneInfo, one_us: int, other_us: int) -> int:
    """Give the second at which the zone's offset changes between two times."""
    before_us = _offset_us(zone, one_us)
    while other_us - one_us > US_PER_S:
        middle_us = (one_us + other_us) // (2 * US_PER_S) * US_PER_S
        if _offset_us(zone, middle_us) == before_us:
            one_us = middle_us
        else:
            other_us = middle_us
    return other_us


def _offset_us(zone: ZoneInfo, time_us: int) -> int:
    offset = datetime.fromtimestamp(time_us // US_PER_S, zone).utcoffset()
    assert offset is not None  # noqa: S101 - a ZoneInfo has one
    return offset // timedelta(microseconds=1)


def _year(time_us: int) -> int:
    return datetime.fromtimestamp(time_us // US_PER_S, UTC).year


def _begin_us(year: int) -> int:
    return (datetime(year, 1, 1) - _EPOCH) // timedelta(microseconds=1)
