# SPDX-License-Identifier: Apache-2.0
"""What silences withhold: decided where transitions are recorded, told when a silence ends.

A silenced transition is written as any other; only its notifications are settled at once, as
silenced. What is withheld is remembered by alarm, with the state that was told last: when no
silence covers the alarm any more, the actions of its state are called once if that is another one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, bindparam, delete, insert, select, update

from thermostat.alarms.model import Alarm, State, Transition
from thermostat.db.engine import MOST_IDS
from thermostat.db.grouping import in_groups
from thermostat.db.locking import locked_alarms
from thermostat.db.mapping import to_json
from thermostat.db.outbox import Status, notification_rows
from thermostat.db.silences import Silence, silences_after
from thermostat.db.tables import NOTIFICATION, WITHHELD
from thermostat.db.writing import writer

AT_ONCE = 500
"""How many alarms one transaction looks at when silences end."""

_Rows = list[Mapping[str, Any]]
_FORGET = delete(WITHHELD).where(WITHHELD.c.alarm_id == bindparam("of"))
_KEEP = (
    update(WITHHELD)
    .where(WITHHELD.c.alarm_id == bindparam("of"))
    .values(silence_id=bindparam("by"), recheck_us=bindparam("again_us"))
)


class Silencing:
    """The silences as one transaction sees them, which are read once."""

    def __init__(self, connection: Connection, transitions: Sequence[Transition]) -> None:
        first_us = min((transition.timestamp_us for transition in transitions), default=0)
        self._silences = silences_after(connection, first_us)

    def of(self, alarm: Alarm, transition: Transition) -> Silence | None:
        """Give the silence, the one that ends last, that keeps a transition from being told."""
        if transition.quiet or transition.suppressed:
            return None  # nobody is told in any case
        for silence in self._silences:
            if silence.silences(alarm, transition.state, transition.timestamp_us):
                return silence
        return None


def silenced_rows(alarm: Alarm, transition: Transition, silence: Silence) -> _Rows:
    """Give the notifications of a silenced transition: settled, and never to be delivered."""
    settled = {
        "status": Status.SILENCED.value,
        "last_error": f"silenced by silence {silence.silence_id}",
        "finished_us": transition.timestamp_us,
    }
    return [row | settled for row in map(dict, notification_rows(alarm, transition))]


def withhold(connection: Connection, silenced: Sequence[tuple[Alarm, Transition, Silence]]) -> None:
    """Remember the states that silences keep from being told; each alarm comes once."""
    told = [one for one in silenced if one[1].is_change or one[0].suppressed]
    if not told:
        return
    known = _known(connection, [alarm.alarm_id for alarm, _, _ in told])
    rows = []
    for alarm, transition, silence in told:
        row = known.get(alarm.alarm_id)
        if row is not None and row["state_timestamp_us"] == alarm.state_timestamp_us:
            told_state = row["told_state"]
        else:
            # A suppressor that lets go tells a state that may never have been told.
            told_state = transition.previous.value if transition.is_change else None
        changed_us = transition.timestamp_us if transition.is_change else alarm.state_timestamp_us
        rows.append(
            {
                "alarm_id": alarm.alarm_id,
                "silence_id": silence.silence_id,
                "told_state": told_state,
                "state_timestamp_us": changed_us,
                "reason_data": to_json(transition.reason_data),
                "recheck_us": silence.until_us,
            }
        )
    connection.execute(_FORGET, [{"of": row["alarm_id"]} for row in rows])
    connection.execute(insert(WITHHELD), rows)


class Withheld:
    """What is withheld, until it is told. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._reads = engine
        self._writes = writer(engine)

    def tell(self, now_us: int) -> int:
        """Call the actions that no silence withholds any more; give of how many alarms."""
        told = 0
        while due := self._due(now_us):
            with self._writes.begin() as connection:
                told += _tell(connection, due, now_us)
        return told

    def _due(self, now_us: int) -> Sequence[str]:
        query = select(WITHHELD.c.alarm_id).where(WITHHELD.c.recheck_us <= now_us).limit(AT_ONCE)
        with self._reads.begin() as connection:
            return list(connection.scalars(query))


def _tell(connection: Connection, alarm_ids: Sequence[str], now_us: int) -> int:
    alarms = locked_alarms(connection, alarm_ids)  # first, as recording does
    silences = silences_after(connection, now_us)
    over: list[str] = []
    kept: list[Mapping[str, Any]] = []
    notifications: _Rows = []
    told = 0
    for alarm_id, row in _known(connection, alarm_ids).items():
        alarm = alarms.get(alarm_id)
        if alarm is None or not _is_owed(alarm, row):
            over.append(alarm_id)
            continue
        by = next((one for one in silences if one.silences(alarm, alarm.state, now_us)), None)
        if by is not None:
            kept.append({"of": alarm_id, "by": by.silence_id, "again_us": by.until_us})
            continue
        over.append(alarm_id)
        notifications += notification_rows(alarm, _told_now(alarm, row, now_us))
        told += 1
    if over:
        connection.execute(_FORGET, [{"of": alarm_id} for alarm_id in over])
    if kept:
        connection.execute(_KEEP, kept)
    if notifications:
        connection.execute(insert(NOTIFICATION), in_groups(connection, notifications))
    return told


def _is_owed(alarm: Alarm, row: RowMapping) -> bool:
    """Tell whether the state is the one that was withheld, and not the one that is known.

    A state that was set by hand since, or told since, is not; while a suppressor withholds it, it
    is for the evaluator to tell when that lets go.
    """
    is_same = alarm.state_timestamp_us == row["state_timestamp_us"]
    return is_same and not alarm.suppressed and alarm.state.value != row["told_state"]


def _told_now(alarm: Alarm, row: RowMapping, now_us: int) -> Transition:
    return Transition(
        alarm_id=alarm.alarm_id,
        revision=alarm.revision,
        previous=State(row["told_state"] or alarm.state),
        state=alarm.state,
        reason=alarm.state_reason,
        reason_data=msgspec.json.decode(row["reason_data"]),
        timestamp_us=now_us,
    )


def _known(connection: Connection, alarm_ids: Sequence[str]) -> Mapping[str, RowMapping]:
    """Give what is withheld of these alarms."""
    return {
        row.alarm_id: row._mapping
        for begin in range(0, len(alarm_ids), MOST_IDS)
        for row in connection.execute(
            select(WITHHELD).where(WITHHELD.c.alarm_id.in_(alarm_ids[begin : begin + MOST_IDS]))
        )
    }
