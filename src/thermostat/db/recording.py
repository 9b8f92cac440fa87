# SPDX-License-Identifier: Apache-2.0
"""Writing the evaluator's transitions: many at once, each only onto the alarm that was judged."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from thermostat.alarms.model import Alarm, Transition
from thermostat.db.engine import MOST_IDS
from thermostat.db.history import EVALUATOR, Change, event_row
from thermostat.db.mapping import Reader, to_json
from thermostat.db.outbox import notification_rows
from thermostat.db.tables import ALARM, HISTORY, NOTIFICATION

_UPDATE = update(ALARM).where(ALARM.c.alarm_id == bindparam("of"))
"""Sets the columns that its parameters name."""


def record_all(connection: Connection, transitions: Sequence[Transition]) -> list[bool]:
    """Write transitions with their history and notifications; tell of each whether it was written.

    As if each was written after the one before it, but that what recurs is not written after one
    of the same alarm that was not.
    """
    written: list[bool] = []
    refused: set[str] = set()
    for run in _runs(transitions):
        written += _record_run(connection, run, refused)
    return written


def _runs(transitions: Sequence[Transition]) -> Iterator[Sequence[Transition]]:
    """Divide them so that no part has two transitions of one alarm."""
    begin = 0
    seen: set[str] = set()
    for position, transition in enumerate(transitions):
        if transition.alarm_id in seen:
            yield transitions[begin:position]
            begin = position
            seen.clear()
        seen.add(transition.alarm_id)
    if seen:
        yield transitions[begin:]


def _record_run(
    connection: Connection, transitions: Sequence[Transition], refused: set[str]
) -> list[bool]:
    judged = _locked(connection, [transition.alarm_id for transition in transitions])
    written = []
    changes, repeats, spoken = [], [], []
    events: list[Mapping[str, Any]] = []
    notifications: list[Mapping[str, Any]] = []
    for transition in transitions:
        alarm = judged.get(transition.alarm_id)
        is_lost = transition.recurs and transition.alarm_id in refused
        if alarm is None or alarm.revision != transition.revision or is_lost:
            refused.add(transition.alarm_id)
            written.append(False)
            continue
        written.append(True)
        if transition.quiet:
            spoken.append(_known(transition) | {"state_reason": transition.reason})
            continue
        if transition.is_change:
            changes.append(_known(transition) | _new_state(transition))
        elif transition.recurs:
            spoken.append(_known(transition) | {"state_reason": transition.reason})
        else:
            repeats.append(_known(transition))
        if transition.is_change or transition.recurs:
            events.append(_event(alarm, transition))
        if not transition.suppressed:
            notifications += notification_rows(alarm, transition)
    for statement, rows in (
        (_UPDATE, changes),
        (_UPDATE, repeats),
        (_UPDATE, spoken),
        (insert(HISTORY), events),
        (insert(NOTIFICATION), notifications),
    ):
        if rows:
            connection.execute(statement, rows)
    return written


def _locked(connection: Connection, alarm_ids: Sequence[str]) -> Mapping[str, Alarm]:
    """Give the enabled ones of these alarms; their rows stay locked until the transaction ends.

    SQLite, which knows no row locks, leaves the clause out: there the whole database is locked.
    """
    read = Reader().alarm
    alarm_ids = sorted(alarm_ids)  # in one order, so that two of these never wait for each other
    alarms = (
        read(row)
        for begin in range(0, len(alarm_ids), MOST_IDS)
        for row in connection.execute(
            select(ALARM)
            .where(ALARM.c.alarm_id.in_(alarm_ids[begin : begin + MOST_IDS]))
            .order_by(ALARM.c.alarm_id)
            .with_for_update()
        )
    )
    return {alarm.alarm_id: alarm for alarm in alarms if alarm.enabled}


def _known(transition: Transition) -> dict[str, Any]:
    return {
        "of": transition.alarm_id,
        "rule_states": to_json(transition.rule_states),
        "suppressed": transition.suppressed,
        "judged_us": transition.step_us,
        "evaluate_timestamp_us": transition.timestamp_us,
    }


def _new_state(transition: Transition) -> dict[str, Any]:
    return {
        "state": transition.state.value,
        "state_reason": transition.reason,
        "state_timestamp_us": transition.timestamp_us,
        "revision": transition.revision + 1,
    }


def _event(alarm: Alarm, transition: Transition) -> Mapping[str, Any]:
    return event_row(
        alarm,
        Change.STATE_TRANSITION,
        {
            "state": transition.state,
            "transition_reason": transition.reason,
            "reason_data": transition.reason_data,
        },
        author=EVALUATOR,
        timestamp_us=transition.timestamp_us,
    )
