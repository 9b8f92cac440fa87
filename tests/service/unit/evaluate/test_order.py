# SPDX-License-Identifier: Apache-2.0
"""Alarms that an alarm joins go on in the order of event time, wherever a restart found them."""

import msgspec

from tests.service.unit.evaluate.world import LAG_S, S, World, make_alarm
from thermostat.alarms.model import State
from thermostat.alarms.rules import CombinationRule
from thermostat.evaluate.engine import Engine

STEPS = 30
"""More than a window takes in ahead of the step that is judged next."""
AHEAD = 15


def test_after_a_restart_joined_alarms_are_judged_in_order():
    world = World()
    for step in range(1, STEPS + 1):
        world.now += 10
        world.report(vm=10.0 if step // 7 % 2 else 90.0)
    begin_us = (world.now - 10 * STEPS) * S
    judged = {"behind": begin_us, "ahead": begin_us + AHEAD * 10 * S}
    alarms = [
        msgspec.structs.replace(make_alarm(name), judged_us=judged_us, state_reason="judged")
        for name, judged_us in judged.items()
    ]
    both = msgspec.structs.replace(
        make_alarm("both"), rule=CombinationRule(alarm_ids=tuple(judged)), state=State.OK
    )
    world.engine = Engine(world.store, LAG_S)
    world.engine.load([alarm.standing for alarm in (*alarms, both)], world.now * S, begin_us)
    world.alarms = {alarm.alarm_id: alarm for alarm in (*alarms, both)}
    world.judge()
    steps = [one.step_us for one in world.told if one.alarm_id in judged]
    assert len(steps) == 5 + 3  # each change of level, and the first state of each
    assert steps == sorted(steps)


def test_who_could_not_send_while_windows_were_loaded_is_waited_for():
    world = World(make_alarm("a"))
    world.report(vm=90.0)
    loaded_s = world.now + 100
    world.restart()
    world.engine.wait_from(loaded_s * S)
    world.now = loaded_s + LAG_S - 1
    assert world.judge() == []
    world.report(at=loaded_s // 10 * 10 - 90, vm=10.0)
    assert [one.state for one in world.told] == ["alarm", "ok"]
