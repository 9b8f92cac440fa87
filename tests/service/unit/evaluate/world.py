# SPDX-License-Identifier: Apache-2.0
"""What tests of the evaluator share: an alarm, and a world of store, engine, clock and database."""

import msgspec
import numpy as np

from thermostat.alarms.model import Alarm, Severity, State
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import ThresholdRule
from thermostat.evaluate.engine import Engine
from thermostat.samples.model import Sample, SampleType
from thermostat.store.base import Batch
from thermostat.store.memory import MemoryStore

S = 1_000_000
LAG_S = 15
OK, ALARM, UNKNOWN = State.OK, State.ALARM, State.INSUFFICIENT_DATA


def make_alarm(alarm_id="a", group="web", project="p", **changes):
    rule_changes = {
        key: changes.pop(key) for key in list(changes) if key in ThresholdRule.__struct_fields__
    }
    rule = ThresholdRule(
        **{
            "meter_name": "cpu_util",
            "query": (Condition("metadata.user_metadata.server_group", Operator.EQ, group),),
            "period": 10,
            "comparison_operator": Operator.GT,
            "threshold": 50.0,
            **rule_changes,
        }
    )
    return Alarm(
        **{
            "alarm_id": alarm_id,
            "name": alarm_id,
            "description": "",
            "enabled": True,
            "severity": Severity.LOW,
            "rule": rule,
            "user_id": "u",
            "project_id": project,
            "state_timestamp_us": 0,
            "timestamp_us": 0,
            **changes,
        }
    )


class World:
    """A store, an engine, a clock, and a database that accepts every transition."""

    def __init__(self, *alarms):
        self.store = MemoryStore()
        self.store.subscribe(self.described)
        self.now = 1000
        self.alarms = {}
        self.told = []
        self.quiet = []
        self.late = 0
        self.engine = None
        self.restart()
        for alarm in alarms:
            self.put(alarm)

    def restart(self):
        """Start anew, from what the store and the database have."""
        judged_us = self.engine.judged_us if self.engine else None
        if judged_us is not None:
            judged_us = min(judged_us, self.now * S)
        self.engine = Engine(self.store, LAG_S)
        alarms = [alarm.standing for alarm in self.alarms.values()]
        self.engine.load(alarms, self.now * S, judged_us)

    def described(self, series):
        self.engine.describe(series)

    def put(self, alarm):
        self.alarms[alarm.alarm_id] = alarm
        self.engine.put(alarm.standing, self.now * S)

    def report(self, *, at=None, group="web", project="p", **volumes):
        """Members report, at this time or at an earlier one; the engine judges."""
        self.ingest(self.stored(at=at, group=group, project=project, **volumes))
        return self.judge()

    def stored(self, *, at=None, group="web", project="p", **volumes):
        """Members report, and the store has it; the engine is still to ingest what is given."""
        samples = [
            Sample(
                name="cpu_util",
                type=SampleType.GAUGE,
                unit="%",
                volume=volume,
                resource_id=member,
                project_id=project,
                timestamp_us=(at or self.now) * S,
                metadata={"user_metadata": {"server_group": group}},
            )
            for member, volume in volumes.items()
        ]
        ids = self.store.intern(samples)
        return self.store.append(batch_of(ids, samples))

    def ingest(self, batch):
        self.late += self.engine.ingest(batch)

    def judge(self):
        """Evaluate until nothing is due; give the new states told, as `alarm_id: state`."""
        told = []
        while transitions := self.engine.evaluate(self.now * S):
            for transition in transitions:
                (self.quiet if transition.quiet else told).append(transition)
                self.write(transition)
                self.engine.committed(transition)
        self.told += told
        return [transition.state for transition in told]

    def write(self, transition):
        """Do to the alarm what the database does."""
        alarm = self.alarms[transition.alarm_id]
        self.alarms[transition.alarm_id] = msgspec.structs.replace(
            alarm,
            state=transition.state,
            state_reason=alarm.state_reason if transition.is_change else transition.reason,
            revision=alarm.revision + transition.is_change,
            judged_us=transition.step_us,
            rule_states=transition.rule_states,
            suppressed=transition.suppressed,
        )

    def run(self, polls, **volumes):
        """Let the members report every ten seconds."""
        states = []
        for _ in range(polls):
            self.now += 10
            states += self.report(**volumes)
        return states


def batch_of(ids, samples):
    return Batch(
        np.asarray(ids, np.int64),
        np.array([sample.timestamp_us for sample in samples], np.int64),
        np.array([sample.volume for sample in samples], np.float64),
    )
