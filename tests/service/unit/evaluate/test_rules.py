# SPDX-License-Identifier: Apache-2.0
"""What Ceilometer's rules never had: hysteresis, warm-up, a share that must report, composition."""

import pytest

from tests.service.unit.evaluate.world import ALARM, LAG_S, OK, UNKNOWN, World, make_alarm
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import (
    AlarmRef,
    AllOf,
    AnyOf,
    CombinationRule,
    CompositeRule,
    Leaf,
    MissingData,
    Not,
    Statistic,
    ThresholdRule,
)

HOOK = ("http://hook.example/",)


def leaf(group, **changes):
    return Leaf(make_alarm(group=group, **changes).rule)


def composite(alarm_id, expression, suppressor=None, **changes):
    rule = CompositeRule(expression=expression, suppressor=suppressor)
    return make_alarm(alarm_id, rule=rule, **changes)


# -- one rule --------------------------------------------------------------------------------------


def test_hysteresis_clears_below_its_own_threshold():
    world = World(make_alarm(threshold=80.0, clear_threshold=60.0))
    assert world.run(1, vm=70.0) == [OK]
    assert world.run(1, vm=81.0) == [ALARM]
    assert world.run(3, vm=70.0) == []
    assert world.run(1, vm=60.0) == [OK]
    assert world.run(3, vm=70.0) == []


def test_a_new_member_does_not_count_while_it_warms_up():
    world = World(make_alarm(warm_up=60, statistic=Statistic.MAX))
    assert world.run(10, old=1.0) == [OK]
    assert world.run(6, old=1.0, new=99.0) == []
    assert world.run(1, old=1.0, new=99.0) == [ALARM]


def test_nobody_waits_for_a_member_that_warms_up():
    world = World(make_alarm(warm_up=60))
    assert world.run(10, old=1.0) == [OK]
    world.run(1, old=1.0, new=1.0)
    assert world.run(1, old=99.0) == [ALARM]


def test_warming_up_survives_a_restart():
    world = World(make_alarm(warm_up=60, statistic=Statistic.MAX))
    assert world.run(10, old=1.0) == [OK]
    assert world.run(3, old=1.0, new=99.0) == []
    world.restart()
    assert world.run(3, old=1.0, new=99.0) == []
    assert world.run(1, old=1.0, new=99.0) == [ALARM]


def test_a_datapoint_counts_when_enough_live_members_reported():
    world = World(make_alarm(min_reporting_ratio=0.6))
    members = dict.fromkeys(("a", "b", "c", "d"), 1.0)
    assert world.run(4, **members) == [OK]
    # one busy member of four says nothing about the group
    world.now += 10
    world.report(a=99.0)
    world.now += LAG_S
    assert world.judge() == [UNKNOWN]
    assert "1 of 4 live members reported, at least 60 % must" in world.told[-1].reason
    for member in "bcd":
        world.report(at=world.now - LAG_S, **{member: 99.0})
    world.now += 5
    assert world.report(**dict.fromkeys("abcd", 99.0)) == [ALARM]


def test_percentiles_are_of_all_samples_of_the_group():
    world = World(make_alarm(statistic=Statistic.P90, threshold=50.0))
    quiet = {f"vm-{number}": 10.0 for number in range(9)}
    assert world.run(2, **quiet, busy=99.0) == [OK]
    assert world.run(1, **quiet, busy=99.0, busier=99.0) == [ALARM]


# -- words for insufficient data -------------------------------------------------------------------


def test_an_empty_group_is_told_once():
    world = World(make_alarm())
    world.now += 60
    assert world.judge() == []
    assert [t.quiet for t in world.quiet] == [True]
    assert "no resource matches the query" in world.alarms["a"].state_reason
    for _ in range(20):
        world.now += 10
        assert world.judge() == []
    assert len(world.quiet) == 1


def test_a_period_shorter_than_the_interval_is_told():
    world = World(make_alarm(evaluation_periods=2, treat_missing_data=MissingData.MISSING))
    for _ in range(4):
        world.now += 60
        world.report(vm=1.0)
    world.now += 20
    world.judge()
    assert world.alarms["a"].state is UNKNOWN
    assert (
        "1 of 2 datapoints missing; 0 of 1 live members reported;"
        " members report every 60 s, the period is 10 s" in world.alarms["a"].state_reason
    )


# -- composite rules -------------------------------------------------------------------------------


def test_and_of_two_groups():
    world = World(composite("c", AllOf((leaf("web"), leaf("db")))))
    for web, database, states in ((1.0, 1.0, [OK]), (99.0, 1.0, []), (99.0, 99.0, [ALARM])):
        for _ in range(2):
            world.now += 10
            told = world.report(w=web) + world.report(group="db", d=database)
            assert told in (states, [])
        assert world.alarms["c"].state is (ALARM if ALARM in states else OK)
    reason = world.told[-1].reason
    assert reason.startswith("Transition to alarm due to (avg of cpu_util over 10 s > 50 is alarm)")
    assert ") and (" in reason
    assert world.told[-1].reason_data["type"] == "composite"
    assert world.alarms["c"].rule_states == (ALARM, ALARM)


def test_or_is_alarm_whatever_the_others_lack():
    world = World(composite("c", AnyOf((leaf("web"), leaf("nobody")))))
    assert world.run(2, w=99.0) == [ALARM]
    assert world.run(2, w=1.0) == [UNKNOWN]


def test_not_mirrors():
    world = World(composite("c", Not(leaf("web"))))
    assert world.run(2, w=99.0) == [OK]
    assert world.run(2, w=1.0) == [ALARM]


def test_a_combination_follows_other_alarms_at_the_same_step():
    world = World(
        make_alarm("web"),
        make_alarm("db", group="db"),
        make_alarm("both", rule=CombinationRule(alarm_ids=("web", "db"))),
    )
    world.run(2, w=99.0)
    assert world.alarms["both"].state is UNKNOWN
    world.report(group="db", d=99.0)
    assert [world.alarms[one].state for one in ("web", "db", "both")] == [ALARM, ALARM, ALARM]
    (web, db, both) = [t for t in world.told if t.state is ALARM]
    assert both.step_us == max(web.step_us, db.step_us)
    assert "alarm web is alarm" in both.reason


def test_composites_of_composites_are_judged_from_the_bottom_up():
    """Were the top judged before the middle it would be in alarm for a moment."""
    world = World(
        composite("top", AllOf((AlarmRef("base"), Not(AlarmRef("middle"))))),
        composite("middle", AnyOf((AlarmRef("base"), AlarmRef("base")))),
        make_alarm("base"),
    )
    for volume in (1.0, 99.0, 1.0, 99.0):
        world.run(2, vm=volume)
        assert world.alarms["middle"].state is world.alarms["base"].state
    assert {t.state for t in world.told if t.alarm_id == "top"} == {OK}


def test_an_alarm_that_is_named_and_goes_away_is_insufficient_data():
    world = World(make_alarm("web"), composite("c", AnyOf((AlarmRef("web"), AlarmRef("web")))))
    world.run(2, w=99.0)
    assert world.alarms["c"].state is ALARM
    world.engine.remove("web")
    assert world.judge() == [UNKNOWN]
    world.put(world.alarms["web"])
    assert world.judge() == [ALARM]


def test_alarms_in_a_circle_are_insufficient_data_and_end():
    """The API refuses them; two edits at once must not make the engine turn for ever."""
    world = World(
        composite("one", Not(AlarmRef("two")), state=ALARM),
        composite("two", AnyOf((AlarmRef("one"), AlarmRef("one"))), state=OK),
    )
    world.judge()
    assert world.alarms["one"].state is UNKNOWN
    assert world.alarms["two"].state is UNKNOWN


def test_a_new_composite_waits_for_what_it_names_and_is_new_too():
    """While the engine waits for a transition to be written, alarms come and are put."""
    world = World(
        make_alarm("one"), make_alarm("named", rule=CombinationRule(alarm_ids=("one", "one")))
    )
    world.run(2, vm=99.0)
    world.now += 10
    real, world.engine.evaluate = world.engine.evaluate, lambda _now: []
    world.report(vm=1.0)
    (first,) = real(world.now * 1_000_000)
    world.write(first)
    world.engine.committed(first)
    world.put(make_alarm("two"))
    world.put(composite("both", AllOf((AlarmRef("one"), Not(AlarmRef("two"))))))
    world.engine.evaluate = real
    world.judge()
    (told,) = [t for t in world.told if t.alarm_id == "both"]
    assert "alarm two is ok" in told.reason


@pytest.mark.parametrize("names", [1, 2])
def test_a_long_chain_of_composites_is_judged_at_once(names):
    """With two names a level there are more ways down than could ever be walked."""
    chain = [make_alarm("c0")]
    for level in range(1, 400):
        below = AlarmRef(f"c{level - 1}")
        chain.append(composite(f"c{level}", AnyOf((below,) * names) if names > 1 else Not(below)))
    world = World(*chain)
    world.run(2, vm=99.0)
    top = world.alarms["c399"].state
    assert top is (ALARM if names > 1 else OK)


def test_leaves_keep_their_states_over_a_restart():
    """A leaf whose datapoints do not agree keeps its state, which nothing else tells."""
    expression = AllOf((leaf("web", evaluation_periods=2), leaf("db")))
    world = World(composite("c", expression))
    world.run(3, w=99.0)
    assert world.alarms["c"].rule_states == (ALARM, UNKNOWN)
    world.run(1, w=1.0)  # 99, 1: undecided
    world.restart()
    world.now += 10
    world.report(w=99.0)  # 1, 99: undecided
    assert world.report(group="db", d=99.0) == [ALARM]


# -- suppressors -----------------------------------------------------------------------------------


@pytest.fixture
def suppressed():
    """A composite over `web` that `maintenance` suppresses."""
    return World(
        make_alarm("maintenance", group="switch"),
        composite(
            "c",
            AnyOf((leaf("web"), leaf("web"))),
            suppressor="maintenance",
            alarm_actions=HOOK,
            ok_actions=HOOK,
        ),
    )


def test_a_suppressor_withholds_actions_and_not_history(suppressed):
    world = suppressed
    world.report(group="switch", s=99.0)
    world.run(1, w=1.0)
    world.report(group="switch", s=99.0)
    world.run(2, w=99.0)
    change = next(t for t in world.told if t.alarm_id == "c" and t.state is ALARM)
    assert change.is_change
    assert change.suppressed
    assert "actions are withheld while alarm maintenance is in alarm" in change.reason


def test_when_it_lets_go_the_actions_of_the_current_state_are_called_once(suppressed):
    world = suppressed
    world.run(1, w=1.0)
    world.report(group="switch", s=99.0)
    world.run(2, w=99.0)
    world.told.clear()
    world.now += 10
    world.report(w=99.0)
    world.report(group="switch", s=1.0)
    calls = [t for t in world.told if t.alarm_id == "c"]
    assert [(t.is_change, t.quiet, t.state, t.suppressed) for t in calls] == [
        (False, False, ALARM, False)
    ]
    world.told.clear()
    world.run(3, w=99.0)
    assert [t for t in world.told if t.alarm_id == "c"] == []


def test_what_came_and_went_while_it_held_is_not_told_afterwards(suppressed):
    world = suppressed
    world.report(group="switch", s=99.0)
    world.run(2, w=1.0)
    for volume in (99.0, 1.0):
        world.now += 10
        world.report(group="switch", s=99.0)
        world.report(w=volume)
    world.told.clear()
    world.now += 10
    world.report(w=1.0)
    world.report(group="switch", s=1.0)
    assert [(t.state, t.is_change) for t in world.told if t.alarm_id == "c"] == [(OK, False)]


def test_two_rules_of_different_periods_are_judged_each_at_its_own_steps():
    query = (Condition("metadata.user_metadata.server_group", Operator.EQ, "web"),)
    slow = Leaf(
        ThresholdRule(
            meter_name="cpu_util",
            query=query,
            period=60,
            threshold=50.0,
            comparison_operator=Operator.GT,
        )
    )
    world = World(composite("c", AllOf((leaf("web"), slow))))
    assert world.run(6, vm=1.0) == [OK]
    assert world.run(3, vm=99.0) == []
    assert world.run(1, vm=99.0) == [ALARM]
