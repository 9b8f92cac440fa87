# SPDX-License-Identifier: Apache-2.0
"""Time constraints: when an alarm is evaluated."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from thermostat.alarms.constraints import ConstraintError, check, is_open
from thermostat.alarms.model import TimeConstraint


def at(text, zone="UTC"):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e6)


def constraint(start, duration, timezone=""):
    return TimeConstraint(name="c", start=start, duration=duration, timezone=timezone)


WORKDAYS = constraint("0 9 * * 1-5", 8 * 3600)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-23T08:59:59", False),
        ("2026-11-23T09:00:00", True),
        ("2026-11-23T16:59:59", True),
        ("2026-11-23T17:00:00", False),
        ("2026-11-22T12:00:00", False),
    ],
)
def test_weekday_hours(moment, expected):
    assert is_open([WORKDAYS], at(moment)) is expected


def test_no_constraint_means_always_and_one_open_span_is_enough():
    sunday = at("2026-11-22T12:00:00")
    assert is_open([], sunday)
    assert is_open([WORKDAYS, constraint("0 12 * * 0", 60)], sunday)


def test_time_zone():
    tokyo = constraint("0 9 * * *", 3600, "Asia/Tokyo")
    assert is_open([tokyo], at("2026-11-23T09:30:00", "Asia/Tokyo"))
    assert not is_open([tokyo], at("2026-11-23T09:30:00"))


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_span_keeps_its_length_when_clocks_change(day):
    """Central Europe's clocks jump at 2:00 and fall back at 3:00 on these days."""
    night = constraint("0 1 * * *", 4 * 3600, "Europe/Berlin")
    start = at(f"{day}T01:00:00", "Europe/Berlin")
    assert is_open([night], start + (4 * 3600 - 1) * 1_000_000)
    assert not is_open([night], start + 4 * 3600 * 1_000_000)


def test_a_word_for_an_expression_is_one():
    check(constraint("@daily", 60))
    assert is_open([constraint("@daily", 60)], at("2026-11-23T00:00:30"))


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (constraint("61 * * * *", 1), "start"),
        (constraint("now and then", 1), "start"),
        (constraint("* * * * *", 1, "Mars/Olympus"), "timezone"),
        (constraint("* * * * *", 1, "../etc/passwd"), "timezone"),
        (constraint("* * * * *", 1, "America"), "timezone"),
        (constraint("0 0 30 2 *", 1), "start"),
        (constraint("R * * * *", 1), "start"),
        (constraint("0 1,r(2-4) * * *", 1), "start"),
        (constraint("0 0 1 1 * 0 2010", 1), "start"),
    ],
)
def test_nonsense_is_refused_by_field(bad, field):
    with pytest.raises(ConstraintError, match=f"^{field}: "):
        check(bad)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("0 0 0 * *", "is not acceptable, out of range; fields are minute 0-59"),
        ("? * * * *", "Question mark can only used in day_of_month"),
        ("*/0 * * * *", "step '0' in field 0 is not acceptable"),
        ("x * * * *", "is not acceptable; fields are"),
        ("0 0 * * * *", "is not a cron expression of 5 fields"),
        ("@often", "neither a cron expression of 5 fields nor a word"),
        ("R * * * *", "random"),
    ],
)
def test_it_says_what_is_wrong_with_an_expression(start, said):
    with pytest.raises(ConstraintError) as caught:
        check(constraint(start, 1))
    assert said in str(caught.value)
    assert repr(start) in str(caught.value)
