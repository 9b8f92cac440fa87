# SPDX-License-Identifier: Apache-2.0
"""How often each alarm was found in each state."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, select, text

from thermostat.alarms.model import State, Transition
from thermostat.db.tables import ALARM, ALARM_RESULT

_COUNT = text(
    "INSERT INTO alarm_result (alarm_id, state, found) VALUES (:alarm_id, :state, 1)"
    " ON CONFLICT (alarm_id, state) DO UPDATE SET found = alarm_result.found + 1"
)


def count(connection: Connection, written: Iterable[Transition]) -> None:
    """Count the states that these transitions found; their alarms' rows are locked."""
    rows = [
        {"alarm_id": transition.alarm_id, "state": transition.state.value}
        for transition in sorted(written, key=lambda one: one.alarm_id)
    ]
    if rows:
        connection.execute(_COUNT, rows)


def forget(connection: Connection, alarm_id: str) -> None:
    """Delete the counts of an alarm."""
    connection.execute(delete(ALARM_RESULT).where(ALARM_RESULT.c.alarm_id == alarm_id))


def results(
    connection: Connection, project_id: str | None
) -> Mapping[tuple[str, str], Mapping[State, int]]:
    """Give the counts by project and alarm: of one project, or with None of all."""
    query = select(ALARM.c.project_id, ALARM.c.alarm_id, ALARM_RESULT.c.state, ALARM_RESULT.c.found)
    query = query.join(ALARM_RESULT, ALARM_RESULT.c.alarm_id == ALARM.c.alarm_id)
    if project_id is not None:
        query = query.where(ALARM.c.project_id == project_id)
    found: dict[tuple[str, str], dict[State, int]] = {}
    for owner, alarm_id, state, times in connection.execute(
        query.order_by(ALARM.c.project_id, ALARM.c.alarm_id)
    ):
        found.setdefault((owner, alarm_id), {})[State(state)] = times
    return found
