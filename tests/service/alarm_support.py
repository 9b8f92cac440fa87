# SPDX-License-Identifier: Apache-2.0
"""What tests of alarms share: a database, an alarm, a transition."""

import json

import msgspec

from thermostat.alarms.model import Alarm, Severity, State, Transition
from thermostat.alarms.query import Operator
from thermostat.alarms.rules import ThresholdRule
from thermostat.db.engine import open_engine
from thermostat.db.history import Author
from thermostat.db.paging import Page, SortKey
from thermostat.db.schema import upgrade

ALICE = Author(user_id="alice", project_id="p1")
NOW_US = 1_700_000_000_123_456


def open_database(path):
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    return engine


def make_alarm(**changes):
    return msgspec.structs.replace(
        Alarm(
            alarm_id="a1",
            name="busy",
            description="",
            enabled=True,
            severity=Severity.LOW,
            rule=ThresholdRule(
                meter_name="cpu_util", threshold=70.0, comparison_operator=Operator.GT
            ),
            alarm_actions=("http://one.example/a?Signature=secret", "http://two.example/b"),
            ok_actions=("http://one.example/ok",),
            user_id="alice",
            project_id="p1",
            state_timestamp_us=NOW_US,
            timestamp_us=NOW_US,
        ),
        **changes,
    )


def make_transition(alarm, state=State.ALARM, **changes):
    return msgspec.structs.replace(
        Transition(
            alarm_id=alarm.alarm_id,
            revision=alarm.revision,
            previous=alarm.state,
            state=state,
            reason="because",
            reason_data={"type": "threshold", "most_recent": 90.0},
            timestamp_us=NOW_US + 1,
        ),
        **changes,
    )


def told(alarms, alarm_id="a1"):
    """The type and detail of each event in an alarm's history, the newest first."""
    newest = Page(sort=[SortKey("position", descending=True)])
    return [
        (event.type, json.loads(event.detail)) for event in alarms.history(alarm_id, {}, newest)
    ]
