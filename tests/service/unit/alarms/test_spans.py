# SPDX-License-Identifier: Apache-2.0
"""Spans of time constraints, around changes of the clocks above all.

The reference here walks through time minute by minute and looks at the clocks.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from thermostat.alarms.constraints import FOREVER_US, Span, is_open, span
from thermostat.alarms.cron import last_start_us, next_start_us
from thermostat.alarms.model import TimeConstraint

S_US = 1_000_000
MINUTE_US = 60 * S_US
DAY_US = 86_400 * S_US
BERLIN = "Europe/Berlin"


def at(text, zone="UTC", *, fold=0):
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return round(moment.timestamp() * S_US)


def constraint(start, duration, timezone=""):
    return TimeConstraint(name="c", start=start, duration=duration, timezone=timezone)


def opens(one, begin_us, end_us):
    """Give the open spans within some time, found by asking whenever an answer ends."""
    found = []
    time_us = begin_us
    while time_us < end_us:
        answer = span([one], time_us)
        assert answer.is_open is is_open([one], time_us)
        assert answer.is_open is is_open([one], min(answer.until_us, FOREVER_US) - 1)
        assert answer.until_us > time_us
        if answer.is_open and found and found[-1][1] == time_us:
            found[-1][1] = answer.until_us
        elif answer.is_open:
            found.append([time_us, answer.until_us])
        time_us = answer.until_us
    return [tuple(one) for one in found]


class TestClocksThatChange:
    """Berlin's clocks jump from 2 to 3 o'clock on March 29 and fall back on October 25."""

    def spans(self, start, duration, day, zone=BERLIN):
        begin_us = at(f"{day}T00:00", zone)
        return opens(constraint(start, duration, zone), begin_us, begin_us + 20 * 3600 * S_US)

    def test_a_start_in_the_hour_that_does_not_exist(self):
        three = at("2026-03-29T03:00", BERLIN)
        assert self.spans("30 2 * * *", 600, "2026-03-29") == [(three, three + 600 * S_US)]

    def test_starts_that_recur_in_the_hour_that_does_not_exist(self):
        assert self.spans("*/20 2 * * *", 60, "2026-03-29") == []
        minutes = [begin_us for begin_us, _ in self.spans("*/30 * * * *", 60, "2026-03-29")]
        assert set(map(int.__sub__, minutes[1:], minutes)) == {30 * MINUTE_US}

    def test_a_start_in_the_hour_that_exists_twice(self):
        first = at("2026-10-25T02:30", BERLIN)
        assert self.spans("30 2 * * *", 600, "2026-10-25") == [(first, first + 600 * S_US)]

    @pytest.mark.parametrize("start", ["0 * * * *", "@hourly", "0,30 */2 * * *"])
    def test_starts_that_recur_in_the_hour_that_exists_twice(self, start):
        twice = [at("2026-10-25T02:00", BERLIN, fold=fold) for fold in (0, 1)]
        spans = self.spans(start, 60, "2026-10-25")
        assert {(begin, begin + MINUTE_US) for begin in twice} <= set(spans)

    @pytest.mark.parametrize(
        ("day", "ends"), [("2026-03-29", "06:00"), ("2026-10-25", "04:00"), ("2026-06-01", "05:00")]
    )
    def test_a_span_over_the_change_lasts_its_seconds(self, day, ends):
        begin = at(f"{day}T01:00", BERLIN)
        end = begin + 4 * 3600 * S_US
        assert self.spans("0 1 * * *", 4 * 3600, day) == [(begin, end)]
        assert end == at(f"{day}T{ends}", BERLIN)

    def test_a_shift_by_half_an_hour(self):
        """Lord Howe's clocks jump from 2:00 to 2:30, and fall from 2:00 to 1:30."""
        zone = "Australia/Lord_Howe"
        jump = at("2026-10-04T02:30", zone)
        assert self.spans("15 2 * * *", 60, "2026-10-04", zone) == [(jump, jump + MINUTE_US)]
        first = at("2026-04-05T01:45", zone)
        assert self.spans("45 1 * * *", 60, "2026-04-05", zone) == [(first, first + MINUTE_US)]

    def test_a_shift_at_a_month_that_moves(self):
        """Casablanca's clocks fall from 3:00 to 2:00 for Ramadan, in 2026 on February 15."""
        zone = "Africa/Casablanca"
        first = at("2026-02-15T02:30", zone)
        assert at("2026-02-15T02:30", zone, fold=1) == first + 3600 * S_US
        assert self.spans("30 2 * * *", 60, "2026-02-15", zone) == [(first, first + MINUTE_US)]

    def test_a_day_that_does_not_exist(self):
        """Samoa left out December 30, 2011."""
        zone = "Pacific/Apia"
        midnight = at("2011-12-31T00:00", zone)
        assert at("2011-12-29T23:59:59", zone) == midnight - S_US
        noon = constraint("0 12 30 12 *", 3600, zone)
        assert opens(noon, midnight - DAY_US, midnight + DAY_US) == [
            (midnight, midnight + 3600 * S_US)
        ]


class TestBoundaries:
    def test_no_constraint_is_open_forever(self):
        assert span([], 0) == Span(True, FOREVER_US)

    def test_no_duration_is_never_open(self):
        assert span([constraint("* * * * *", 0)], at("2026-01-01T00:00")) == Span(False, FOREVER_US)

    def test_leap_day(self):
        leap = constraint("0 0 29 2 *", 86_400)
        begin, end = at("2028-02-29T00:00"), at("2028-03-01T00:00")
        assert span([leap], at("2024-03-01T00:00")) == Span(False, begin)
        assert span([leap], begin) == Span(True, end)
        assert span([leap], at("2096-03-01T00:00")) == Span(False, at("2104-02-29T00:00"))

    def test_to_the_microsecond(self):
        noon = at("2026-11-23T12:00")
        minute = constraint("0 12 * * *", 60)
        assert span([minute], noon - 1) == Span(False, noon)
        assert span([minute], noon) == Span(True, noon + MINUTE_US)
        assert span([minute], noon + MINUTE_US - 1) == Span(True, noon + MINUTE_US)
        assert span([minute], noon + MINUTE_US) == Span(False, noon + DAY_US)

    def test_a_second_of_an_hour(self):
        hourly = constraint("@hourly", 1)
        assert len(opens(hourly, at("2026-11-23T00:00"), at("2026-11-24T00:00"))) == 24

    def test_the_open_span_that_ends_last_counts(self):
        noon = at("2026-11-23T12:00")
        short, long = constraint("0 12 * * *", 60), constraint("0 11 * * *", 7200)
        assert span([short, long], noon) == Span(True, noon + 3600 * S_US)
        evening = constraint("0 18 * * *", 60)
        later = noon + 2 * 3600 * S_US
        assert span([short, long, evening], later) == Span(False, noon + 6 * 3600 * S_US)

    def test_the_last_start_may_be_now_and_the_next_may_not(self):
        noon = at("2026-11-23T12:00")
        asked = "0 12 * * *", ZoneInfo("UTC"), noon
        assert last_start_us(*asked) == noon
        assert next_start_us(*asked) == noon + DAY_US

    def test_across_a_new_year(self):
        eve = constraint("0 22 31 12 *", 4 * 3600, BERLIN)
        begin = at("2026-12-31T22:00", BERLIN)
        assert opens(eve, begin - DAY_US, begin + DAY_US) == [(begin, begin + 4 * 3600 * S_US)]


# -- against the reference ------------------------------------------------------------------------

SHIFTS = [
    (BERLIN, "2026-03-29T01:00"),
    (BERLIN, "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Africa/Casablanca", "2026-02-15T02:00"),
    ("Africa/Casablanca", "2026-03-22T02:00"),
]
BEFORE, AFTER = timedelta(days=5), timedelta(days=2)
LONGEST_S = 4 * 86_400


@dataclass(frozen=True)
class Cron:
    """A cron expression by the numbers that its fields take; None stands for `*`."""

    minutes: frozenset[int] | None
    hours: frozenset[int] | None
    weekdays: frozenset[int] | None

    @property
    def text(self):
        fields = [self.minutes, self.hours, None, None, self.weekdays]
        return " ".join("*" if one is None else ",".join(map(str, sorted(one))) for one in fields)

    def matches(self, wall):
        return (
            (self.minutes is None or wall.minute in self.minutes)
            and (self.hours is None or wall.hour in self.hours)
            and (self.weekdays is None or wall.isoweekday() % 7 in self.weekdays)
        )

    @property
    def is_fixed(self):
        return self.minutes is not None and self.hours is not None


@lru_cache
def minutes(zone, shift):
    """Give each minute around a shift: when it is, what the clocks show, and whether again."""
    middle = datetime.fromisoformat(shift).replace(tzinfo=UTC)
    moments = [middle - BEFORE]
    while moments[-1] < middle + AFTER:
        moments.append(moments[-1] + timedelta(minutes=1))
    shown = [moment.astimezone(ZoneInfo(zone)) for moment in moments]
    return [
        (round(moment.timestamp()) * S_US, one.replace(tzinfo=None, fold=0), one.fold == 1)
        for moment, one in zip(moments, shown, strict=True)
    ]


@lru_cache
def starts(cron, zone, shift):
    """Give when spans begin, by looking at the clocks each minute."""
    found = []
    expected = None
    for time_us, wall, is_again in minutes(zone, shift):
        skipped = []
        while expected is not None and expected < wall:
            skipped.append(expected)
            expected += timedelta(minutes=1)
        counts = not (is_again and cron.is_fixed)
        if (counts and cron.matches(wall)) or (cron.is_fixed and any(map(cron.matches, skipped))):
            found.append(time_us)
        expected = wall + timedelta(minutes=1)
    return found


def some(numbers):
    return st.none() | st.frozensets(numbers, min_size=1, max_size=4)


crons = st.builds(
    Cron,
    minutes=some(st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59])),
    hours=some(st.integers(0, 4) | st.integers(0, 23)),
    weekdays=some(st.integers(0, 6)),
)
durations = st.sampled_from([0, 1, 59, 60, 1800, 3599, 3600, 3601, 7200, 86_400]) | st.integers(
    0, LONGEST_S
)
offsets = st.integers(-3 * 3600 * S_US, 3 * 3600 * S_US) | st.sampled_from(
    [
        sign * minutes * MINUTE_US + by
        for minutes in (0, 30, 60)
        for sign in (1, -1)
        for by in (-1, 0)
    ]
)


@settings(deadline=None, max_examples=150)
@given(
    cron=crons,
    duration=durations,
    shift=st.sampled_from(SHIFTS),
    offsets=st.lists(offsets, min_size=1, max_size=8),
)
@example(Cron(frozenset({30}), frozenset({2}), None), 60, SHIFTS[0], [0, MINUTE_US])
@example(Cron(None, frozenset({2}), None), 60, SHIFTS[1], [-1, 0, MINUTE_US])
def test_what_is_open_is_what_the_clocks_say(cron, duration, shift, offsets):
    zone, middle = shift
    one = constraint(cron.text, duration, zone)
    begins = starts(cron, zone, middle)
    for offset_us in offsets:
        time_us = at(middle) + offset_us
        started = [begin for begin in begins if begin <= time_us]
        expected = bool(started) and time_us < started[-1] + duration * S_US
        assert is_open([one], time_us) is expected


@settings(deadline=None, max_examples=150)
@given(
    constraints=st.lists(
        st.builds(lambda cron, duration: (cron, duration), crons, durations), min_size=1, max_size=3
    ),
    shift=st.sampled_from(SHIFTS),
    offset_us=offsets,
    parts=st.lists(st.floats(0, 1, exclude_max=True), max_size=5),
)
def test_a_span_holds_until_it_ends(constraints, shift, offset_us, parts):
    zone, middle = shift
    all_of_them = [constraint(cron.text, duration, zone) for cron, duration in constraints]
    time_us = at(middle) + offset_us
    is_now_open, until_us = span(all_of_them, time_us)
    assert until_us > time_us
    assert is_now_open is is_open(all_of_them, time_us)
    assume(until_us < FOREVER_US)
    within = [time_us + int((until_us - time_us) * part) for part in parts]
    boundaries = [
        begin_us + ended * duration * S_US + by
        for cron, duration in constraints
        for begin_us in starts(cron, zone, middle)
        for ended in (False, True)
        for by in (-1, 0)
    ]
    inner = [moment_us for moment_us in boundaries if time_us <= moment_us < until_us]
    for moment_us in [*within, *inner[:20], *inner[-20:], until_us - 1]:
        assert is_open(all_of_them, moment_us) is is_now_open
    if not is_now_open:
        assert is_open(all_of_them, until_us)
    elif len(constraints) == 1:
        ((cron, duration),) = constraints
        newest = max(begin for begin in starts(cron, zone, middle) if begin <= time_us)
        assert until_us == newest + duration * S_US
