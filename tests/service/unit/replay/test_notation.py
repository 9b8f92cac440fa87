# SPDX-License-Identifier: Apache-2.0
"""The compact notations of test files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.replay.errors import NotationError
from thermostat.replay.notation import MOST_VALUES, duration_s, offset, values


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("75", [75]),
        ("75 85 _ 95x3", [75, 85, None, 95, 95, 95]),
        ("_x2 1", [None, None, 1]),
        ("10+5x3", [10, 15, 20, 25]),
        ("10-5x3", [10, 5, 0, -5]),
        ("-2+4x3", [-2, 2, 6, 10]),
        ("-2-.5x1", [-2, -2.5]),
        ("1e3 2.5e-1 +7 .5 3.", [1000, 0.25, 7, 0.5, 3]),
        ("1e2+1e1x1", [100, 110]),
        ("  1\n 2\t3 ", [1, 2, 3]),
    ],
)
def test_values(text, wanted):
    assert values(text) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there are no values"),
        ("high", "'high' is none of: a number, _"),
        ("nan", "'nan' is none of"),
        ("5 x3", "'x3' is none of"),
        ("1,2", "'1,2' is none of"),
        ("5x0", "'5x0': how often is from 1 to"),
        ("_x0", "'_x0': how often"),
        ("5x9999999", "how often"),
        ("1x60000 1x60000", f"more than {MOST_VALUES} values"),
        ("5+3", "has a step, but not how often: 5+3x"),
        ("1e999", "not finite"),
        ("1+1e308x2", "not finite"),
    ],
)
def test_values_that_are_none(text, reason):
    with pytest.raises(NotationError) as caught:
        values(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("0.5s", 0.5),
        (60, 60),
        ("60", 60),
    ],
)
def test_durations(given, wanted):
    assert duration_s(given) == wanted


@pytest.mark.parametrize("given", ["", "5 minutes", "m", "-5m", -1, float("nan"), "inf", "1m1h"])
def test_durations_that_are_none(given):
    with pytest.raises(NotationError, match="is not a span of time"):
        duration_s(given)


@given(st.integers(0, 10_000_000))
def test_an_offset_reads_back(seconds):
    assert duration_s(offset(seconds)) == seconds
