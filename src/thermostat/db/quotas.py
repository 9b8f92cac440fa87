# SPDX-License-Identifier: Apache-2.0
"""How many alarms each project and each user has, and may have.

The counts are rows of their own, which each transaction that creates, moves or deletes an alarm
changes last: so two at once cannot pass a limit together, and neither counts alarms.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection, TextClause, select, text, update

from thermostat.alarms.model import Alarm
from thermostat.db.tables import ALARM_OWNER

UNLIMITED = -1
"""The limit that is none."""
PROJECT = "project"
USER = "user"

_Owner = tuple[str, str]
_SET = text(
    "INSERT INTO alarm_owner (kind, owner_id, alarms, alarm_quota)"
    " VALUES (:kind, :owner_id, 0, :alarm_quota)"
    " ON CONFLICT (kind, owner_id) DO UPDATE SET alarm_quota = excluded.alarm_quota"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many alarms an owner may have where no quota is set for it; -1: as many as it likes."""

    project: int = UNLIMITED
    user: int = UNLIMITED


NO_LIMITS = Limits()


class OverQuota(Exception):  # noqa: N818 - it reads as a state
    """The owner of an alarm has as many as it may have."""

    def __init__(self, alarm: Alarm, kind: str, limit: int) -> None:
        super().__init__(
            f"Alarm quota exceeded for user {alarm.user_id} on project {alarm.project_id}: "
            f"the {kind} may have {limit}"
        )


def count(connection: Connection, before: Alarm | None, after: Alarm | None, usual: Limits) -> None:
    """Count an alarm's creation (no `before`), move, or deletion (no `after`). Raises OverQuota."""
    changes: Counter[_Owner] = Counter()
    for alarm, change in ((before, -1), (after, 1)):
        if alarm is not None:
            changes[PROJECT, alarm.project_id] += change
            changes[USER, alarm.user_id] += change
    # in one order, so that no two transactions wait for each other
    rows = sorted((*owner, change) for owner, change in changes.items() if change)
    if not rows:
        return
    values = {
        f"{name}_{place}": value
        for place, row in enumerate(rows)
        for name, value in zip(("kind", "owner", "change"), row, strict=True)
    }
    for kind, owner_id, counted, quota in connection.execute(_counting(len(rows)), values):
        default = usual.project if kind == PROJECT else usual.user
        limit = default if quota is None else quota
        if after is not None and changes[kind, owner_id] > 0 and UNLIMITED < limit < counted:
            raise OverQuota(after, kind, limit)


@cache
def _counting(owners: int) -> TextClause:
    """Give the statement that changes the counts of so many owners, in their order."""
    rows = [f"(:kind_{place}, :owner_{place}, :change_{place})" for place in range(owners)]
    return text(_COUNT.format(rows=", ".join(rows)))


_COUNT = (
    "INSERT INTO alarm_owner (kind, owner_id, alarms) VALUES {rows}"
    " ON CONFLICT (kind, owner_id)"
    " DO UPDATE SET alarms = alarm_owner.alarms + excluded.alarms"
    " RETURNING kind, owner_id, alarms, alarm_quota"
)


def lock(connection: Connection, project_id: str) -> None:
    """Let no other transaction count this project's things until this one ends."""
    values = {"kind_0": PROJECT, "owner_0": project_id, "change_0": 0}
    connection.execute(_counting(1), values)


def quota_of(connection: Connection, project_id: str, usual: Limits) -> int:
    """Give how many alarms a project may have; nothing is written."""
    wanted = select(ALARM_OWNER.c.alarm_quota).where(
        ALARM_OWNER.c.kind == PROJECT, ALARM_OWNER.c.owner_id == project_id
    )
    quota: int | None = connection.scalar(wanted)
    return usual.project if quota is None else quota


def set_quota(connection: Connection, project_id: str, limit: int) -> None:
    """Let a project have so many alarms; those that it has stay."""
    row = {"kind": PROJECT, "owner_id": project_id, "alarm_quota": limit}
    connection.execute(_SET, row)


def delete_quota(connection: Connection, project_id: str) -> None:
    """Let a project have as many alarms as is usual."""
    connection.execute(
        update(ALARM_OWNER)
        .where(ALARM_OWNER.c.kind == PROJECT, ALARM_OWNER.c.owner_id == project_id)
        .values(alarm_quota=None)
    )
