# SPDX-License-Identifier: Apache-2.0
"""Time constraints: the recurring spans of time in which an alarm is evaluated.

A span begins when its cron expression comes in its time zone (`cron` says when that is where the
clocks change) and lasts so many seconds, whatever the clocks show.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, CroniterError, croniter

from thermostat.alarms.cron import US_PER_S, last_start_us, next_start_us
from thermostat.alarms.model import TimeConstraint

CRON_FIELDS = 5
"""Minute, hour, day of the month, month, day of the week; or one word such as @daily."""
SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""Any time: an expression that has a start before it has one before every later time."""
FOREVER_US = 2**63 - 1
_RANDOM = re.compile(r"(^|[\s,])[rh]", re.IGNORECASE)
"""What croniter takes as a random or hashed number: one span would not be the next time's."""


class ConstraintError(ValueError):
    """A time constraint makes no sense; the message names the field and the reason."""


class Span(NamedTuple):
    """Whether an alarm is evaluated, and how long that answer holds."""

    is_open: bool
    until_us: int
    """The answer holds before this time; what holds then is to be asked then."""


def check(constraint: TimeConstraint) -> None:
    """Raise ConstraintError unless the span has a start, in a time zone that there is."""
    start = constraint.start
    if len(start.split()) not in (1, CRON_FIELDS):
        raise ConstraintError(f"start: {start!r} is not a cron expression of {CRON_FIELDS} fields")
    if _RANDOM.search(start):
        raise ConstraintError(f"start: {start!r} has a random or hashed field, which is not taken")
    try:
        croniter(start, SOME_TIME).get_prev(datetime)
    except CroniterBadDateError as error:
        raise ConstraintError(f"start: {start!r} never comes") from error
    except CroniterError as error:
        raise ConstraintError(f"start: {_why_not_cron(start, error)}") from error
    try:
        _zone(constraint)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConstraintError(f"timezone: {constraint.timezone!r} is not a time zone") from error


def _why_not_cron(start: str, error: Exception) -> str:
    """Say what is wrong with an expression that croniter has refused."""
    if len(start.split()) != CRON_FIELDS:
        return (
            f"{start!r} is neither a cron expression of {CRON_FIELDS} fields nor a word such as "
            "@daily"
        )
    said = str(error).partition("] ")[2] or "is not acceptable"
    return f"{start!r} {said}; fields are minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-7"


def is_open(constraints: Sequence[TimeConstraint], time_us: int) -> bool:
    """Tell whether an alarm with these constraints is evaluated at this time, in microseconds UTC.

    One open span is enough, and no constraints at all mean always.
    """
    return not constraints or any(
        _end_us(constraint, time_us // US_PER_S) is not None for constraint in constraints
    )


def span(constraints: Sequence[TimeConstraint], time_us: int) -> Span:
    """Tell whether an alarm with these constraints is evaluated at this time, and until when.

    The answer holds at least until then, and often changes then. Many alarms with equal constraints
    cost as much as one.
    """
    if not constraints:
        return Span(True, FOREVER_US)
    second = time_us // US_PER_S
    ends_us = [end_us for one in constraints if (end_us := _end_us(one, second)) is not None]
    if ends_us:
        return Span(True, max(ends_us))
    return Span(False, min(_begin_us(one, second) for one in constraints))


@lru_cache(maxsize=4096)
def _end_us(constraint: TimeConstraint, second: int) -> int | None:
    """Give when the span that is open in this second ends; None if none is open.

    Spans begin and end with a second.
    """
    time_us = second * US_PER_S
    started_us = last_start_us(constraint.start, _zone(constraint), time_us)
    if started_us is None:
        return None
    end_us = started_us + constraint.duration * US_PER_S
    return end_us if time_us < end_us else None


@lru_cache(maxsize=4096)
def _begin_us(constraint: TimeConstraint, second: int) -> int:
    """Give when the first span after this second begins."""
    if not constraint.duration:
        return FOREVER_US
    begin_us = next_start_us(constraint.start, _zone(constraint), second * US_PER_S)
    return FOREVER_US if begin_us is None else begin_us


def _zone(constraint: TimeConstraint) -> ZoneInfo:
    return ZoneInfo(constraint.timezone or "UTC")
