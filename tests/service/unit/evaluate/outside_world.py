# SPDX-License-Identifier: Apache-2.0
"""What tests of outside rules share: rules, and a world of two fake stores, an engine, a clock."""

import msgspec

from tests.service.unit.evaluate.world import S, make_alarm
from thermostat.alarms.outside import OUTSIDE_TYPES, GnocchiResourcesRule, PrometheusRule
from thermostat.alarms.query import Operator
from thermostat.evaluate.engine import Engine
from thermostat.evaluate.polls import Pace
from thermostat.outside.base import OutsideUnavailable
from thermostat.outside.fake import FakeOutsideStore
from thermostat.store.memory import MemoryStore

STORES = {kind: "prometheus" if kind == "prometheus" else "gnocchi" for kind in OUTSIDE_TYPES}
PACE = Pace(shortest_s=10, longest_s=300, lag_s=0, patience_s=60)


def promql(query="up", **changes):
    defaults = {"threshold": 50.0, "comparison_operator": Operator.GT}
    return PrometheusRule(query=query, **{**defaults, **changes})


def of_gnocchi(resource_id="r", **changes):
    return GnocchiResourcesRule(
        **{
            "metric": "cpu",
            "resource_id": resource_id,
            "resource_type": "instance",
            "aggregation_method": "mean",
            "threshold": 50.0,
            "comparison_operator": Operator.GT,
            **changes,
        }
    )


def asking(alarm_id="a", rule=None, **changes):
    """Give an alarm with this rule."""
    return msgspec.structs.replace(make_alarm(alarm_id, **changes), rule=rule or promql())


class World:
    """Two stores that answer at once, and a database that accepts every transition."""

    def __init__(self, *alarms, pace=PACE, stores=STORES):
        self.pace, self.types = pace, stores
        self.stores = {"gnocchi": FakeOutsideStore(), "prometheus": FakeOutsideStore()}
        self.now = 60_000
        self.alarms = {}
        self.told, self.quiet = [], []
        self.refuse_writes = False
        self.restart()
        for alarm in alarms:
            self.put(alarm)

    @property
    def prometheus(self):
        return self.stores["prometheus"]

    @property
    def gnocchi(self):
        return self.stores["gnocchi"]

    def restart(self):
        self.store = MemoryStore()
        self.engine = Engine(self.store, 15, self.types, self.pace)
        self.store.subscribe(self.engine.describe)
        alarms = [one.standing for one in self.alarms.values() if one.enabled]
        self.engine.load(alarms, self.now * S, None)

    def put(self, alarm):
        """Create or edit an alarm."""
        self.alarms[alarm.alarm_id] = alarm
        if alarm.enabled:
            self.engine.put(alarm.standing, self.now * S)
        else:
            self.engine.remove(alarm.alarm_id)

    def edit(self, alarm_id="a", **changes):
        alarm = self.alarms[alarm_id]
        self.put(msgspec.structs.replace(alarm, revision=alarm.revision + 1, **changes))

    def poll(self):
        """Ask what is due, let the stores answer, judge; give the new states told."""
        for poll in self.due():
            self.land(poll)
        return self.judge()

    def due(self):
        return self.engine.asked.due(self.now * S)

    def land(self, poll):
        """Let a store answer a poll, or fail."""
        try:
            answers = self.stores[poll.store].ask(poll.questions, poll.time_us)
        except OutsideUnavailable as error:
            self.engine.asked.fail(poll, str(error), self.now * S)
        else:
            self.engine.asked.take(poll, answers)

    def run(self, seconds, step=1):
        """Let time go by; give the new states told."""
        states = []
        for _ in range(0, seconds, step):
            self.now += step
            states += self.poll()
        return states

    def judge(self):
        told = []
        while transitions := self.engine.evaluate(self.now * S):
            for transition in transitions:
                if self.refuse_writes:
                    self.engine.rejected(transition)
                    continue
                (self.quiet if transition.quiet else told).append(transition)
                self.write(transition)
                self.engine.committed(transition)
            if self.refuse_writes:
                break
        self.told += told
        return [f"{one.alarm_id}: {one.state}" for one in told]

    def write(self, transition):
        """Do to the alarm what the database does."""
        alarm = self.alarms[transition.alarm_id]
        self.alarms[transition.alarm_id] = msgspec.structs.replace(
            alarm,
            state=transition.state,
            state_reason=transition.reason,
            revision=alarm.revision + transition.is_change,
            judged_us=transition.step_us,
            rule_states=transition.rule_states,
            suppressed=transition.suppressed,
        )

    def state(self, alarm_id="a"):
        return self.alarms[alarm_id].state

    def reason(self, alarm_id="a"):
        return self.alarms[alarm_id].state_reason
