# SPDX-License-Identifier: Apache-2.0
"""Gnocchi's measures become windows of datapoints."""

import pytest

from thermostat.outside.drivers._measures import (
    Window,
    can_join,
    differences,
    joined,
    newest,
    read,
)

S = 1_000_000
NOW_US = 615 * S
"""A quarter of a minute after the period that begins at 600 s began."""


def at(**values):
    """Measures of one-minute periods: m480=1.0 begins at 480 s."""
    return {int(name[1:]) * S: value for name, value in values.items()}


def test_read_keeps_one_granularity():
    rows = [
        ["1970-01-01T00:08:00+00:00", 60.0, 1.5],
        ["1970-01-01T00:05:00+00:00", 300.0, 9.0],
        ["1970-01-01T00:09:00+00:00", 60.0, None],
    ]
    assert read(rows, 60) == {480 * S: 1.5}


@pytest.mark.parametrize(
    ("measures", "method", "expected"),
    [
        (at(m420=1.0, m480=2.0, m540=3.0), "mean", (2.0, 3.0)),
        (at(m420=1.0, m480=2.0, m540=3.0, m600=4.0), "mean", (3.0, 4.0)),
        (at(m420=1.0, m480=2.0, m540=3.0, m600=4.0), "sum", (2.0, 3.0)),
        (at(m420=1.0, m480=2.0, m540=3.0, m600=4.0), "rate:count", (2.0, 3.0)),
        (at(m480=2.0, m600=4.0), "mean", (2.0, 4.0)),
        (at(m420=1.0, m600=4.0), "mean", (1.0, 4.0)),
        (at(m360=0.0, m600=4.0), "mean", (None, 4.0)),
        (at(m660=5.0), "mean", (None, None)),
        ({}, "max", (None, None)),
    ],
)
def test_newest(measures, method, expected):
    assert newest(measures, Window(60, 2, NOW_US), method) == expected


def test_a_request_reaches_back_far_enough_for_differences():
    assert Window(60, 2, NOW_US).start_s == 600 - 4 * 60


def test_differences_need_the_period_before():
    assert differences(at(m480=1.0, m540=4.0, m660=9.0, m720=7.0), 60) == at(m540=3.0, m720=-2.0)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", at(m480=2.0, m540=4.0, m600=7.0)),
        ("rate:max", at(m480=3.0, m540=4.0, m600=7.0)),
        ("min", at(m480=1.0, m540=4.0, m600=7.0)),
        ("sum", at(m480=4.0, m540=4.0, m600=7.0)),
        ("count", at(m480=2.0, m540=1.0, m600=1.0)),
        ("median", at(m480=2.0, m540=4.0, m600=7.0)),
        ("std", at(m480=1.0, m540=0.0, m600=0.0)),
    ],
)
def test_joined_over_those_that_have_a_value(method, expected):
    assert joined(method, [at(m480=1.0, m540=4.0), at(m480=3.0, m600=7.0)]) == expected


def test_nothing_to_join():
    assert joined("mean", [{}, {}]) == {}
    assert joined("mean", []) == {}


def test_what_can_be_joined():
    assert can_join("rate:mean")
    assert not can_join("last")
    assert not can_join("95pct")
