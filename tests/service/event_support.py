# SPDX-License-Identifier: Apache-2.0
"""What tests of event alarms share: alarms, and events in Ceilometer's form."""

import msgspec

from tests.service.alarm_support import make_alarm
from thermostat.alarms.events import EventCondition, EventRule, TraitType
from thermostat.alarms.query import Operator
from thermostat.events.model import event_of


def condition(field, value, op="eq", kind=""):
    return EventCondition(field=field, value=value, op=Operator(op), type=TraitType(kind))


def event_alarm(alarm_id="a1", event_type="*", query=(), **changes):
    rule = EventRule(event_type=event_type, query=tuple(query))
    return make_alarm(alarm_id=alarm_id, rule=rule, **changes)


def event_standing(alarm_id="a1", event_type="*", query=(), **changes):
    return event_alarm(alarm_id, event_type, query, **changes).standing


def document(event_type="compute.instance.update", project_id="p1", message_id="m1", **traits):
    """An event as Ceilometer's publisher sends it."""
    project = [] if project_id is None else [["project_id", 1, project_id]]
    return {
        "message_id": message_id,
        "event_type": event_type,
        "generated": "2026-11-25T03:00:00.123456",
        "traits": [*project, *([name, 1, value] for name, value in traits.items())],
        "raw": {},
        "message_signature": "0f" * 32,
    }


def event(*arguments, **traits):
    return event_of(document(*arguments, **traits))


def replaced(standing, **changes):
    return msgspec.structs.replace(standing, **changes)
