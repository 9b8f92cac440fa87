# SPDX-License-Identifier: Apache-2.0
"""An alarm that comes while others are judged: it reads the store, and changes nothing for them.

The store has samples that the engine is still to ingest: they are on their way.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.unit.evaluate.world import ALARM, OK, S, World, make_alarm
from thermostat.alarms.rules import AlarmRef, AllOf, CompositeRule, Statistic


@pytest.mark.parametrize("polls", [0, 3])
def test_an_older_alarm_waits_for_the_sample_that_a_new_one_has_read(polls):
    world = World(make_alarm("old"))
    world.run(polls, vm=1.0)
    world.now += 10
    on_its_way = world.stored(vm=99.0)
    world.put(make_alarm("new"))
    world.judge()
    world.ingest(on_its_way)
    world.judge()
    assert world.alarms["old"].state is ALARM
    assert world.alarms["new"].state is ALARM


def test_an_older_alarm_is_not_judged_without_a_member_that_a_new_one_has_read():
    world = World(make_alarm("old", statistic=Statistic.MAX))
    world.run(3, one=1.0, two=1.0)
    world.now += 10
    on_its_way = world.stored(two=99.0)
    world.put(make_alarm("new", statistic=Statistic.MAX))
    world.report(one=1.0)
    assert world.alarms["old"].state is OK
    world.ingest(on_its_way)
    world.judge()
    assert world.alarms["old"].state is ALARM
    assert world.alarms["new"].state is ALARM


MEMBERS = ("one", "two", "three")
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 4, 10])),
    st.tuples(st.just("store"), st.sampled_from(MEMBERS), st.sampled_from([1.0, 99.0])),
    st.tuples(st.just("ingest")),
    st.tuples(st.just("put"), st.sampled_from([10, 30])),
)


class Queueing(World):
    """What comes from the store waits in a queue, as it does before the evaluator's thread."""

    def __init__(self, *alarms):
        self.on_their_way = []
        super().__init__(*alarms)

    def described(self, series):
        self.on_their_way.append(lambda: self.engine.describe(series))

    def store_only(self, member, volume):
        batch = self.stored(at=self.now // 10 * 10, **{member: volume})
        self.on_their_way.append(lambda: self.ingest(batch))


def played(steps, *, with_new):
    """Play these steps, with or without the new alarms; give what was told of the old one."""
    world = Queueing(make_alarm("old", statistic=Statistic.SUM, threshold=100.0))
    for number, (what, *how) in enumerate(steps):
        match what:
            case "wait":
                world.now += how[0]
            case "store":
                world.store_only(how[0], how[1] + number / 1000)
            case "ingest" if world.on_their_way:
                world.on_their_way.pop(0)()
            case "put" if with_new:
                world.put(make_alarm(f"new {number}", period=how[0]))
        world.judge()
    return [
        (one.step_us, one.state, one.reason)
        for one in world.told + world.quiet
        if one.alarm_id == "old"
    ]


@given(st.lists(STEPS, max_size=40))
def test_new_alarms_change_nothing_for_older_ones(steps):
    assert played(steps, with_new=True) == played(steps, with_new=False)


@pytest.mark.parametrize("order", [("bottom", "middle", "top"), ("top", "middle", "bottom")])
@pytest.mark.parametrize("is_restart", [False, True])
def test_alarms_that_name_each_other_come_in_any_order(order, is_restart):
    """An alarm may have been edited to name one that was created after it."""

    def naming(alarm_id, named):
        rule = CompositeRule(expression=AllOf((AlarmRef(named),)))
        return make_alarm(alarm_id, rule=rule)

    made = {
        "bottom": make_alarm("bottom"),
        "middle": naming("middle", "bottom"),
        "top": naming("top", "middle"),
    }
    world = World()
    world.run(2, vm=99.0)
    world.alarms = {alarm_id: made[alarm_id] for alarm_id in order}
    if is_restart:
        world.restart()
    else:
        world.engine.put_all([alarm.standing for alarm in world.alarms.values()], world.now * S)
    world.run(2, vm=99.0)
    assert {one.state for one in world.alarms.values()} == {ALARM}
    told = len(world.told)
    world.restart()
    assert world.run(2, vm=99.0) == []
    assert len(world.told) == told
