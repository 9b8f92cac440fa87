# SPDX-License-Identifier: Apache-2.0
"""The engine: groups, steps, transitions, restarts; driven by samples and a clock of its own."""

import msgspec
import pytest

from tests.service.unit.evaluate.world import ALARM, LAG_S, OK, UNKNOWN, S, World, make_alarm
from thermostat.alarms.model import TimeConstraint
from thermostat.alarms.query import Operator
from thermostat.alarms.rules import Statistic


def test_a_breach_is_told_as_soon_as_the_deciding_sample_came():
    world = World(make_alarm())
    assert world.run(3, vm=1.0) == [OK]
    assert world.run(1, vm=97.0) == [ALARM]
    assert world.run(3, vm=97.0) == []
    assert world.run(1, vm=2.0) == [OK]
    assert "97" in world.told[1].reason


def test_a_group_is_judged_when_all_its_members_reported():
    world = World(make_alarm())
    world.run(2, one=10.0, two=10.0)
    world.now += 10
    assert world.report(one=99.0) == []
    assert world.report(two=99.0) == [ALARM]


def test_a_silent_member_is_waited_for_no_longer_than_the_allowed_lag():
    world = World(make_alarm())
    world.run(2, one=10.0, two=10.0)
    world.now += 10
    assert world.report(one=99.0) == []
    world.now += LAG_S - 1
    assert world.judge() == []
    world.now += 1
    assert world.judge() == [ALARM]


def test_members_that_come_and_go_do_not_bend_the_mean():
    world = World(make_alarm(threshold=95.0))
    assert world.run(3, one=90.0) == [OK]
    assert world.run(3, one=90.0, two=90.0, three=90.0) == []
    assert world.run(6, one=90.0) == []
    points = [p["value"] for t in world.told for p in t.reason_data["datapoints"]]
    assert points == [90.0]


def test_other_groups_and_projects_do_not_count():
    world = World(make_alarm())
    world.run(2, vm=1.0)
    world.now += 10
    world.report(group="db", vm2=99.0)
    world.report(project="other", vm3=99.0)
    assert world.report(vm=1.0) == []


def test_a_series_that_changes_its_group_follows_its_metadata():
    world = World(make_alarm("web"), make_alarm("db", group="db"))
    world.run(2, vm=99.0)
    assert world.alarms["web"].state is ALARM
    world.now += 10
    world.report(group="db", vm=99.0)
    assert world.alarms["db"].state is ALARM


def test_without_samples_the_data_is_insufficient():
    world = World(make_alarm())
    world.run(2, vm=1.0)
    world.now += 60
    assert world.judge() == [UNKNOWN]
    assert "1 of 1 datapoints missing" in world.told[-1].reason


def test_a_late_sample_counts_while_its_period_is_open():
    world = World(make_alarm(evaluation_periods=3, statistic=Statistic.MAX))
    world.run(3, vm=1.0)
    start = world.now
    world.run(2, vm=99.0)
    assert world.alarms["a"].state is OK
    world.report(at=start, other=99.0)
    assert world.run(1, vm=99.0) == [ALARM]


def test_a_sample_older_than_every_window_changes_nothing_and_is_counted():
    world = World(make_alarm())
    world.run(5, vm=1.0)
    assert world.report(at=world.now - 40, other=99.0) == []
    assert world.late == 1


def test_repeated_actions_are_told_at_each_step():
    world = World(make_alarm(repeat_actions=True, alarm_actions=("http://x/",)))
    assert world.run(3, vm=99.0) == [ALARM, ALARM, ALARM]
    assert [t.is_change for t in world.told] == [True, False, False]
    assert "Remaining as alarm" in world.told[-1].reason
    assert world.run(2, vm=1.0) == [OK]


def test_outside_its_time_constraints_an_alarm_keeps_its_state():
    never = TimeConstraint(name="n", start="0 0 29 2 *", duration=1)
    world = World(make_alarm(time_constraints=(never,), state=OK))
    assert world.run(3, vm=99.0) == []


def test_a_new_alarm_judges_what_is_already_stored():
    world = World()
    world.run(3, vm=99.0)
    world.put(make_alarm(evaluation_periods=3))
    assert world.judge() == [ALARM]


def test_a_restart_in_the_middle_changes_nothing():
    """The alarm fires once, whether or not the server was killed between the breaching samples."""
    for killed_after in range(4):
        world = World(make_alarm(evaluation_periods=2))
        world.run(2, vm=1.0)
        for poll in range(4):
            if poll == killed_after:
                world.restart()
            world.run(1, vm=99.0)
        assert [t.state for t in world.told] == [OK, ALARM]


def test_after_a_restart_senders_may_catch_up_before_data_is_called_missing():
    world = World(make_alarm())
    world.run(3, vm=99.0)
    world.now += 300
    world.restart()
    assert world.judge() == []
    for at in range(1040, world.now + 1, 10):
        assert world.report(at=at, vm=99.0) == []
    assert [t.state for t in world.told] == [ALARM]


def test_a_restart_keeps_samples_of_a_clock_that_is_ahead():
    world = World(make_alarm())
    world.run(2, vm=1.0)
    world.report(at=world.now + 10, vm=99.0)
    world.restart()
    world.now += 10
    assert world.judge() == [ALARM]


def test_a_rejected_transition_is_judged_again():
    world = World(make_alarm())
    world.run(2, vm=1.0)
    world.now += 10
    samples = {"vm": 99.0}
    engine = world.engine
    world.engine.evaluate, real = lambda _now: [], engine.evaluate
    world.report(**samples)
    (first,) = real(world.now * S)
    assert real(world.now * S) == []
    engine.rejected(first)
    assert real(world.now * S) == [first]


def test_an_edit_between_judging_and_writing_wins():
    world = World(make_alarm())
    world.run(2, vm=1.0)
    world.now += 10
    real = world.engine.evaluate
    world.engine.evaluate = lambda _now: []
    world.report(vm=99.0)
    (transition,) = real(world.now * S)
    edited = msgspec.structs.replace(world.alarms["a"], name="renamed", revision=9)
    world.engine.put(edited.standing, world.now * S)
    world.engine.committed(transition)
    world.now += 10
    world.report(vm=99.0)
    (again,) = real(world.now * S)
    assert again.revision == 9


@pytest.mark.parametrize("change", [{"threshold": 200.0}, {"period": 60}])
def test_an_edited_rule_is_judged_at_once_over_stored_samples(change):
    world = World(make_alarm())
    world.run(6, vm=99.0)
    world.put(make_alarm(revision=5, **change))
    expected = [OK] if "threshold" in change else [ALARM]
    assert world.judge() == expected


def test_a_removed_alarm_is_not_judged():
    world = World(make_alarm())
    world.engine.remove("a")
    world.engine.remove("a")
    assert world.run(3, vm=99.0) == []
    assert len(world.engine) == 0


def test_an_edit_of_minus_one_to_minus_two_is_an_edit():
    """Python's hashes of the two numbers are the same."""
    world = World(make_alarm(threshold=-1.0, comparison_operator=Operator.LT))
    assert world.run(2, vm=-1.5) == [ALARM]
    world.put(make_alarm(threshold=-2.0, comparison_operator=Operator.LT, revision=5))
    assert world.judge() == [OK]


def test_a_long_period_elsewhere_judges_nothing_again_after_a_restart():
    world = World(make_alarm(), make_alarm("year", period=31_536_000, project="other"))
    world.run(120, vm=10.0)
    world.report(at=world.now - 597, vm=9999.0)
    world.run(6, vm=10.0)
    told = len(world.told)
    world.restart()
    world.run(2, vm=10.0)
    assert world.told[told:] == []


def test_a_number_beyond_every_float_is_a_text():
    group = str(10**400)
    world = World(make_alarm(group=group), make_alarm("web"))
    assert world.report(group=10**400, vm=99.0) == [ALARM]
    world.restart()
    assert world.run(1, other=99.0) == [ALARM]


def test_memory_of_windows_is_given_back():
    world = World()
    deep = make_alarm(
        "deep",
        period=3600,
        evaluation_periods=100,
        statistic=Statistic.P99,
        exclude_outliers=True,
        min_reporting_ratio=0.5,
    )
    world.put(deep)
    (pool,) = world.engine._windows.pools
    assert pool._cells.count.nbytes < 4 * 4 * pool.depth + 1
    world.engine.remove("deep")
    assert pool._cells.count.nbytes == 0
    world.put(make_alarm())
    assert world.run(2, vm=99.0) == [ALARM]


def test_a_member_that_changes_groups_again_and_again_leaves_nothing_behind():
    world = World(make_alarm("web"), make_alarm("db", group="db"))
    for turn in range(3000):
        world.now += 1
        world.report(group=("web", "db")[turn % 2], vm=1.0)
    members = world.engine._windows._members
    assert len(members) == 1
    assert members._edges < 2500
