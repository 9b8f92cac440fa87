# SPDX-License-Identifier: Apache-2.0
"""From events to transitions, always to state alarm: Aodh's rules for event alarms.

An alarm that is in state alarm waits for nothing until someone sets it to another, unless its
actions repeat: then every event that it waits for is told.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from thermostat.alarms.constraints import is_open
from thermostat.alarms.events import EventRule
from thermostat.alarms.model import Standing, State, Transition
from thermostat.events.index import Index
from thermostat.events.keeping import kept
from thermostat.events.model import Event

MAX_QUERY = 2000
"""Characters of a query in a reason."""


@dataclass(frozen=True, slots=True)
class Firing:
    """An event that an alarm waited for."""

    event: Event
    transition: Transition
    after: Standing
    """What is known of the alarm once the transition is written."""

    @property
    def key(self) -> tuple[str, str]:
        """What one alarm does once."""
        return self.transition.alarm_id, self.event.message_id


def judge(
    index: Index, events: Iterable[Event], now_us: int, is_done: Callable[[tuple[str, str]], bool]
) -> list[Firing]:
    """Give what these events lead to, in their order, as if each was written before the next.

    Nothing follows for an alarm and a message that `is_done` tells of: messages may come twice.
    """
    firings: dict[tuple[str, str], Firing] = {}
    standings: dict[str, Standing] = {}
    for event in events:
        reason_data: dict[str, Any] | None = None
        for watch in index.matching(event):
            alarm = standings.get(watch.standing.alarm_id, watch.standing)
            key = (alarm.alarm_id, event.message_id)
            if key in firings or is_done(key) or not _waits(alarm, event, now_us):
                continue
            if reason_data is None:
                reason_data = {"type": "event", "event": kept(event.document)}
            firing = _fire(alarm, event, now_us, reason_data)
            firings[key] = firing
            standings[alarm.alarm_id] = firing.after
    return list(firings.values())


def _waits(alarm: Standing, event: Event, now_us: int) -> bool:
    """Tell whether an alarm waits for any event now, in the time that is the event's own."""
    if alarm.state is State.ALARM and not alarm.repeat_actions:
        return False
    if not alarm.time_constraints:
        return True
    generated_us = event.generated_us
    return is_open(alarm.time_constraints, now_us if generated_us is None else generated_us)


def _fire(alarm: Standing, event: Event, now_us: int, reason_data: dict[str, Any]) -> Firing:
    transition = Transition(
        alarm_id=alarm.alarm_id,
        revision=alarm.revision,
        previous=alarm.state,
        state=State.ALARM,
        reason=_reason(alarm, event),
        reason_data=reason_data,
        timestamp_us=now_us,
        step_us=event.generated_us or now_us,
        recurs=alarm.state is State.ALARM,
    )
    revision = alarm.revision + 1 if transition.is_change else alarm.revision
    after = msgspec.structs.replace(alarm, state=State.ALARM, revision=revision, is_told=True)
    return Firing(event, transition, after)


def _reason(alarm: Standing, event: Event) -> str:
    query = alarm.rule.query if isinstance(alarm.rule, EventRule) else ()
    text = msgspec.json.encode(query, order="sorted").decode()
    if len(text) > MAX_QUERY:
        text = text[:MAX_QUERY] + "…"
    told = f"<id={event.message_id},event_type={event.event_type}>"
    return f"Event {told} hits the query <query={text}>."
