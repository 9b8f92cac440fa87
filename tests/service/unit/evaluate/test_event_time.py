# SPDX-License-Identifier: Apache-2.0
"""Event time: skewed clocks, doubled and disordered samples, leaps, restarts, late members."""

import pytest

from tests.service.unit.evaluate.world import ALARM, LAG_S, OK, UNKNOWN, S, World, make_alarm
from thermostat.alarms.rules import Statistic


def test_a_member_whose_clock_is_behind_delays_its_group_by_the_allowed_lag_and_counts():
    """Its samples are of the step before: they are late, and the window is open for them."""
    world = World(make_alarm(period=30, statistic=Statistic.MAX))
    world.run(3, good=1.0)
    for _ in range(3):
        world.now += 10
        world.report(good=1.0)
        world.report(at=world.now - 30, slow=99.0)
    assert world.alarms["a"].state is OK, "its samples are older than the window"
    for _ in range(4):
        world.now += 10
        world.report(good=1.0)
        world.report(at=world.now - 10, slow=99.0)
    assert world.alarms["a"].state is ALARM
    assert world.late == 3


def test_a_member_whose_clock_is_ahead_is_counted_when_its_time_comes_and_silences_nobody():
    world = World(make_alarm(statistic=Statistic.MAX))
    world.run(3, good=1.0)
    world.report(at=world.now + 600, fast=99.0)
    assert world.engine.held == 1
    assert world.run(59, good=1.0) == []
    assert world.run(1, good=1.0) == [ALARM]
    assert world.engine.held == 0


def test_a_doubled_sample_counts_once():
    world = World(make_alarm(statistic=Statistic.SUM, threshold=150.0))
    world.run(2, vm=99.0)
    for _ in range(3):
        assert world.report(vm=99.0) == []
    assert world.run(1, vm=99.0) == []
    assert world.alarms["a"].state is OK


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 3, 2, 1), (2, 4, 1, 3)])
def test_batches_in_any_order_give_the_same_transitions(order):
    """Of four steps that arrive at once the second and third breach."""
    world = World(make_alarm())
    world.run(2, vm=1.0)
    begin = world.now
    world.now += 40
    world.engine.evaluate, real = lambda _now: [], world.engine.evaluate
    for step in order:
        world.report(at=begin + 10 * step, vm=99.0 if step in (2, 3) else 1.0)
    world.engine.evaluate = real
    assert world.judge() == [ALARM, OK]
    assert [t.step_us / S - begin for t in world.told[-2:]] == [20, 40]


def test_a_leap_forward_of_the_clock_is_no_flood_of_steps():
    """Data is missing then, which is told once; afterwards all is as before."""
    world = World(make_alarm())
    world.run(3, vm=99.0)
    world.now += 30 * 86_400
    assert world.judge() == [UNKNOWN]
    assert world.run(2, vm=99.0) == [ALARM]


def test_a_leap_back_of_the_clock_judges_nothing_twice():
    world = World(make_alarm())
    world.run(3, vm=99.0)
    world.now -= 3600
    assert world.judge() == []
    world.now += 3600
    assert world.run(2, vm=1.0) == [OK]


def test_a_late_sample_repairs_a_datapoint_that_was_judged_without_it():
    world = World(make_alarm(evaluation_periods=3, statistic=Statistic.AVG))
    world.run(3, one=1.0, two=1.0)
    begin = world.now
    for _ in range(3):
        world.now += 10
        world.report(one=60.0)
    world.now += LAG_S
    world.judge()
    assert world.alarms["a"].state is ALARM
    for step in range(1, 4):
        world.report(two=1.0, at=begin + 10 * step)
    assert world.report(one=1.0, two=1.0, at=begin + 40) == [OK]
    assert [p["value"] for p in world.told[-1].reason_data["datapoints"]] == [30.5, 30.5, 1.0]


@pytest.mark.parametrize("periods", [1, 3])
@pytest.mark.parametrize("statistic", [Statistic.AVG, Statistic.P90, Statistic.STDDEV])
def test_restarts_at_every_step_change_nothing(periods, statistic):
    volumes = [1, 1, 99, 99, 99, 40, 99, 1, 1, 1, 1, 1, 99, 99, 99, 99, 1, 1, 1, 1]

    def transitions(*, restarting):
        world = World(make_alarm(evaluation_periods=periods, statistic=statistic, threshold=30.0))
        for number, volume in enumerate(volumes):
            world.run(1, one=float(volume), two=volume + (volume > 1) * 80.0 * (number % 3))
            if restarting:
                world.restart()
        return [(t.previous, t.state, t.step_us) for t in world.told]

    assert transitions(restarting=True) == transitions(restarting=False)
    assert len(transitions(restarting=True)) > 1


def test_a_restart_between_judging_and_writing_judges_again():
    world = World(make_alarm())
    world.run(3, vm=1.0)
    world.now += 10
    real = world.engine.evaluate
    world.engine.evaluate = lambda _now: []
    world.report(vm=99.0)
    (lost,) = real(world.now * S)
    world.restart()
    assert world.judge() == [ALARM]
    assert world.told[-1].step_us == lost.step_us


def test_what_was_stored_and_not_ingested_before_a_restart_is_judged_after_it():
    world = World(make_alarm())
    world.run(3, vm=1.0)
    world.engine.ingest = lambda _batch: 0
    world.run(1, vm=99.0)
    world.run(1, vm=1.0)
    world.restart()
    assert world.judge() == [ALARM, OK]


def test_samples_on_their_way_while_an_alarm_is_loaded_count_once():
    """They are in the store already when its window is read, and ingested afterwards."""
    world = World()
    world.run(3, vm=60.0)
    world.engine.ingest, real = (lambda _batch: 0), world.engine.ingest
    ingested = []
    world.engine.ingest = lambda batch: ingested.append(batch) or 0
    world.run(1, vm=60.0)
    world.put(make_alarm(statistic=Statistic.SUM, threshold=100.0))
    for batch in ingested:
        real(batch)
    assert world.judge() == [OK]
    world.engine.ingest = real
    assert world.run(2, vm=60.0) == []
