# SPDX-License-Identifier: Apache-2.0
"""Time constraints: the recurring spans of time in which an alarm is evaluated."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter

from thermostat.alarms.model import TimeConstraint


class ConstraintError(ValueError):
    """A time constraint makes no sense; the message names the field and the reason."""


CRON_FIELDS = 5
"""Minute, hour, day of the month, month, day of the week; or one word such as @daily."""
SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""Any time: an expression that has a start before it has one before every later time."""


def check(constraint: TimeConstraint) -> None:
    """Raise ConstraintError unless the span has a start, in a time zone that there is."""
    fields = len(constraint.start.split())
    if fields not in (1, CRON_FIELDS) or not croniter.is_valid(constraint.start):
        raise ConstraintError(
            f"start: {constraint.start!r} is not a cron expression of {CRON_FIELDS} fields"
        )
    try:
        croniter(constraint.start, SOME_TIME).get_prev(datetime)
    except CroniterBadDateError as error:
        raise ConstraintError(f"start: {constraint.start!r} never comes") from error
    try:
        _zone(constraint)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConstraintError(f"timezone: {constraint.timezone!r} is not a time zone") from error


def is_open(constraints: Sequence[TimeConstraint], time_us: int) -> bool:
    """Tell whether an alarm with these constraints is evaluated at this time, in microseconds UTC.

    One open span is enough, and no constraints at all mean always.
    """
    return not constraints or any(_covers(constraint, time_us) for constraint in constraints)


def _covers(constraint: TimeConstraint, time_us: int) -> bool:
    now = datetime.fromtimestamp(time_us / 1e6, UTC).astimezone(_zone(constraint))
    # The last start at or before now: get_prev alone leaves out a start that is now.
    started: datetime = croniter(constraint.start, now + timedelta(microseconds=1)).get_prev(
        datetime
    )
    # In UTC, or a change to or from daylight saving time would stretch or shorten the span.
    return now.astimezone(UTC) - started.astimezone(UTC) < timedelta(seconds=constraint.duration)


def _zone(constraint: TimeConstraint) -> ZoneInfo:
    return ZoneInfo(constraint.timezone or "UTC")
