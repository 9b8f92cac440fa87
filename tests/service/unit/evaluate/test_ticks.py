# SPDX-License-Identifier: Apache-2.0
"""How event time is divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.evaluate.ticks import tick_s


@pytest.mark.parametrize(
    ("period", "tick"),
    [(1, 1), (5, 5), (10, 10), (15, 15), (60, 10), (600, 10), (3600, 60), (3599, 61), (61, 61)],
)
def test_tick(period, tick):
    assert tick_s(period) == tick


@given(st.integers(1, 31_536_000))
def test_a_period_is_a_whole_number_of_ticks_and_of_no_more_than_sixty(period):
    tick = tick_s(period)
    assert period % tick == 0
    assert min(period, 10) <= tick <= period
    assert period // tick <= 60
