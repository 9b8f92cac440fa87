# SPDX-License-Identifier: Apache-2.0
"""Windows of event time: when a step is complete, what it counts, what it forgets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.alarms.rules import ThresholdRule
from thermostat.evaluate.window import Window, tick_s

S = 1_000_000


def window(**changes):
    rule = ThresholdRule(**{"meter_name": "m", "threshold": 1.0, "period": 10, **changes})
    return Window(rule)


def values(points):
    return [point.value for point in points]


@pytest.mark.parametrize(
    ("period", "tick"), [(1, 1), (5, 5), (10, 10), (60, 10), (600, 10), (3600, 60), (3599, 60)]
)
def test_tick(period, tick):
    assert tick_s(period) == tick


def test_a_period_is_left_open_and_right_closed():
    """A rate measured between two polls belongs to the period that those polls enclose."""
    w = window(evaluation_periods=2)
    for second, volume in ((10, 1.0), (20, 2.0), (30, 3.0)):
        w.add(1, second * S, volume)
    assert values(w.datapoints(30 * S)) == [2.0, 3.0]
    assert values(w.datapoints(20 * S)) == [1.0, 2.0]


def test_a_step_is_complete_when_every_live_member_reported_up_to_it():
    w = window()
    assert not w.is_complete(100 * S, 100 * S + 1)
    w.add(1, 90 * S, 1.0)
    w.add(2, 90 * S, 1.0)
    w.add(1, 100 * S, 1.0)
    assert not w.is_complete(100 * S, 100 * S + 1)
    w.add(2, 100 * S, 1.0)
    assert w.is_complete(100 * S, 100 * S + 1)


def test_a_member_that_vanished_is_waited_for_once():
    w = window()
    for second in (90, 100):
        w.add(1, second * S, 1.0)
        w.add(2, second * S, 1.0)
    w.add(1, 110 * S, 1.0)
    assert not w.is_complete(110 * S, 110 * S + 1)
    w.add(1, 120 * S, 1.0)
    assert w.is_complete(110 * S, 120 * S)
    assert w.is_complete(120 * S, 120 * S + 1)


def test_a_member_whose_clock_is_ahead_does_not_make_the_others_look_silent():
    w = window()
    for second in (90, 100):
        w.add(1, second * S, 90.0)
        w.add(2, (second + 3600) * S, 0.0)
    w.add(2, 3710 * S, 0.0)
    assert not w.is_complete(110 * S, 110 * S + 1)
    w.add(1, 110 * S, 90.0)
    assert w.is_complete(110 * S, 110 * S + 1)


def test_how_long_a_silent_member_is_live_depends_on_its_own_interval():
    w = window(period=60)
    w.add(1, 60 * S, 1.0)
    w.add(1, 120 * S, 1.0)
    for second in range(100, 181, 10):
        w.add(2, second * S, 1.0)
    assert not w.is_complete(180 * S, 180 * S + 1)
    for second in (190, 200, 210, 220):
        w.add(2, second * S, 1.0)
    assert w.is_complete(220 * S, 220 * S + 1)


def test_a_member_that_left_the_group_is_not_waited_for():
    w = window()
    w.add(1, 100 * S, 1.0)
    w.add(2, 90 * S, 1.0)
    assert not w.is_complete(100 * S, 100 * S + 1)
    w.leave(2)
    assert w.is_complete(100 * S, 100 * S + 1)


def test_a_sample_that_comes_again_counts_once():
    w = window(statistic="count")
    w.add(1, 95 * S, 1.0)
    w.add(1, 95 * S, 1.0)
    assert values(w.datapoints(100 * S)) == [1.0]


def test_a_late_sample_counts_while_its_period_is_open_and_is_told_afterwards():
    w = window(evaluation_periods=3)
    w.add(1, 100 * S, 1.0)
    w.forget(100 * S)
    assert w.add(2, 80 * S, 5.0)
    assert values(w.datapoints(100 * S)) == [5.0, None, 1.0]
    assert not w.add(2, 70 * S, 5.0)


@given(
    st.permutations(
        [
            (member, second * S, float(member * second))
            for member in (1, 2)
            for second in range(1, 31)
        ]
    )
)
def test_the_order_of_arrival_changes_nothing(samples):
    w = window(evaluation_periods=3, statistic="sum")
    for sample in samples:
        w.add(*sample)
    expected = [3.0 * sum(range(start + 1, start + 11)) for start in (0, 10, 20)]
    assert values(w.datapoints(30 * S)) == expected
