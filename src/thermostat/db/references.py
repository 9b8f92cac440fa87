# SPDX-License-Identifier: Apache-2.0
"""References between alarms: to alarms of the same project, and never in a cycle."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import Connection, func, select

from thermostat.alarms.model import Alarm
from thermostat.alarms.wire import references
from thermostat.db.engine import MOST_IDS
from thermostat.db.mapping import Reader
from thermostat.db.tables import ALARM

MOST_REACHED = 1_000
"""How many alarms a rule may depend on, over all its references and theirs."""
_LOCK_KEY = 0x7E57_A7  # any number that nothing else locks in this database


class BadReference(ValueError):  # noqa: N818 - it names what was sent
    """A rule names an alarm that it may not."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def check_references(connection: Connection, alarm: Alarm) -> None:
    """Raise BadReference unless all alarms that this one names are there and lead nowhere back.

    Until the transaction ends no other can check, or two at once could close a cycle together.
    """
    wanted = list(references(alarm.rule))
    if not wanted:
        return
    _serialise(connection)
    for field, alarm_id in wanted:
        if alarm_id == alarm.alarm_id:
            raise BadReference(field, "an alarm cannot refer to itself")
    known = _alarms(connection, alarm.project_id, {alarm_id for _, alarm_id in wanted})
    for field, alarm_id in wanted:
        if alarm_id not in known:
            raise BadReference(field, f"there is no alarm {alarm_id} in the alarm's project")
    _check_cycles(connection, alarm, known)


def _serialise(connection: Connection) -> None:
    """Wait for other checks. SQLite needs nothing: whoever writes there has the whole database."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))


def _check_cycles(connection: Connection, alarm: Alarm, nearest: Mapping[str, Alarm]) -> None:
    """Follow the references of references, the nearest first."""
    reached = {alarm.alarm_id: alarm, **nearest}
    origins = dict.fromkeys(nearest, alarm.alarm_id)
    level: Collection[Alarm] = nearest.values()
    while level:
        further: dict[str, str] = {}
        for one in level:
            for _, alarm_id in references(one.rule):
                if alarm_id == alarm.alarm_id:
                    path = [alarm, *_path(reached, origins, one.alarm_id), alarm]
                    names = " → ".join(f"{each.name!r} ({each.alarm_id})" for each in path)
                    raise BadReference(_leading(alarm, path[1]), f"closes a cycle: {names}")
                if alarm_id not in reached:
                    further.setdefault(alarm_id, one.alarm_id)
        found = _alarms(connection, alarm.project_id, further)
        origins |= {alarm_id: further[alarm_id] for alarm_id in found}
        reached |= found
        if len(reached) > MOST_REACHED:
            raise BadReference(
                next(references(alarm.rule)).field.partition(".")[0],
                f"depends on more than {MOST_REACHED} alarms in all",
            )
        level = found.values()


def _path(
    reached: Mapping[str, Alarm], origins: Mapping[str, str], alarm_id: str
) -> Sequence[Alarm]:
    """Give the alarms over which one was reached, the first of them named by the rule itself."""
    path: list[Alarm] = []
    while alarm_id in origins:
        path.insert(0, reached[alarm_id])
        alarm_id = origins[alarm_id]
    return path


def _leading(alarm: Alarm, other: Alarm) -> str:
    """Give the field in which one alarm names another."""
    return next(field for field, alarm_id in references(alarm.rule) if alarm_id == other.alarm_id)


def _alarms(
    connection: Connection, project_id: str, alarm_ids: Collection[str]
) -> Mapping[str, Alarm]:
    """Give those of these alarms that the project has."""
    return {
        alarm.alarm_id: alarm
        for begin in range(0, len(alarm_ids), MOST_IDS)
        for alarm in _read(connection, project_id, list(alarm_ids)[begin : begin + MOST_IDS])
    }


def _read(connection: Connection, project_id: str, alarm_ids: Sequence[str]) -> Iterator[Alarm]:
    # By their ids alone: asked for the project too, SQLite reads all alarms of the project.
    rows = connection.execute(select(ALARM).where(ALARM.c.alarm_id.in_(alarm_ids)))
    return map(Reader().alarm, (row for row in rows if row.project_id == project_id))
