# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from thermostat.agent.schedule import Cycle, Schedule

S = 1_000_000


def test_polls_are_due_at_multiples_of_the_interval():
    schedule = Schedule(10, now_us=1_003 * S)
    assert schedule.due_us == 1_010 * S
    assert schedule.start(1_010 * S + 500) == Cycle(1_010 * S, missed=0)
    assert schedule.due_us == 1_020 * S


def test_a_start_within_half_of_the_interval_bears_the_nominal_time():
    schedule = Schedule(10, now_us=0)
    assert schedule.start(15 * S) == Cycle(10 * S, missed=0)


def test_a_later_start_bears_the_real_time():
    schedule = Schedule(10, now_us=0)
    assert schedule.start(15 * S + 1) == Cycle(15 * S + 1, missed=0)
    assert schedule.due_us == 20 * S


def test_missed_cycles_are_counted_and_never_piled_up():
    schedule = Schedule(10, now_us=0)
    assert schedule.start(45 * S) == Cycle(45 * S, missed=3)
    assert schedule.due_us == 50 * S


def test_a_clock_that_was_set_back_does_not_stop_the_polling():
    schedule = Schedule(10, now_us=10_000 * S)
    schedule.notice_clock(9_995 * S)
    assert schedule.due_us == 10_010 * S  # by less than an interval and a half: wait for it
    schedule.notice_clock(5_000 * S)
    assert schedule.due_us == 5_010 * S


@given(
    st.integers(1, 600),
    st.integers(0, 2_000_000_000 * S),
    st.lists(st.integers(0, 5_000 * S), max_size=20),
)
def test_times_grow_and_all_boundaries_are_accounted_for(interval_s, start_us, delays):
    schedule = Schedule(interval_s, start_us)
    now_us, seen, last_us = start_us, 0, start_us
    for delay_us in delays:
        now_us = max(now_us, schedule.due_us) + delay_us
        cycle = schedule.start(now_us)
        assert last_us < cycle.timestamp_us <= now_us
        last_us = cycle.timestamp_us
        seen += 1 + cycle.missed
    interval_us = interval_s * S
    assert seen == now_us // interval_us - start_us // interval_us
