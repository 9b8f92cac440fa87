# SPDX-License-Identifier: Apache-2.0
"""Groups: notifications of a project to one URL, sent together where the URL asks for it.

A group is open for as many seconds after its first notification as the URL says. Then it is closed,
once and for all, and its first notification is sent for all of them: what becomes of that one
becomes of the others (`db/outbox.py`). One that is given up leaves its group; the first of those
that are left is then sent for them.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Connection, Engine, delete, select, text

from thermostat.db import group_members
from thermostat.db.group_members import Member
from thermostat.db.outbox import WAITING_US, Status
from thermostat.db.tables import NOTIFICATION, OPEN_GROUP
from thermostat.db.writing import writer

LOG = logging.getLogger(__name__)
PARAMETER = "thermostat-group"
"""The parameter of a URL's query that asks for groups, in seconds."""
MOST_WAIT_S = 600
MOST_MEMBERS = 500
"""How many notifications one request tells of at most."""
SCHEMES = ("http:", "https:")
NAMED_AT_ONCE = 25
"""How many notifications a log line names."""

_Row = Mapping[str, Any]
_JOIN = text(
    "INSERT INTO open_group (group_id, project_id, action_key, closes_us, members)"
    " VALUES (:group_id, :project_id, :action_key, :closes_us, :members)"
    " ON CONFLICT (project_id, action_key)"
    " DO UPDATE SET members = open_group.members + excluded.members"
    " RETURNING group_id, members"
)


def group_wait_s(action: str) -> int | None:
    """Give for how many seconds notifications to this URL are gathered; None: they are not.

    Raises ValueError where the URL asks for what cannot be.
    """
    if PARAMETER not in action:
        return None
    given = parse_qs(urlsplit(action).query, keep_blank_values=True).get(PARAMETER)
    if given is None:
        return None
    if not action.startswith(SCHEMES):
        raise ValueError(f"{PARAMETER} is for http and https URLs")
    seconds = given[-1]
    if not (seconds.isascii() and seconds.isdigit() and 1 <= int(seconds[:9]) <= MOST_WAIT_S):
        raise ValueError(f"{PARAMETER} must be a whole number of seconds from 1 to {MOST_WAIT_S}")
    return int(seconds)


def in_groups(connection: Connection, rows: Sequence[_Row]) -> Sequence[_Row]:
    """Give these new notifications, each in its group if its URL asks for one.

    A group that they join stays open until the transaction ends.
    """
    wanted: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        if _is_grouped(row["action"]):
            key = (row["project_id"], hashlib.sha256(row["action"].encode()).hexdigest())
            wanted.setdefault(key, []).append(row)
    if not wanted:
        return rows
    places: dict[str, dict[str, Any]] = {}
    for key in sorted(wanted):  # in one order, so that no two transactions wait for each other
        places |= _joined(connection, key, wanted[key])
    alone = {"group_id": None, "group_place": None}
    return [{**row, **places.get(row["notification_id"], alone)} for row in rows]


def _is_grouped(action: str) -> bool:
    try:
        return group_wait_s(action) is not None
    except ValueError:
        return False  # it was stored before this meant anything


def _joined(
    connection: Connection, key: tuple[str, str], rows: Sequence[_Row]
) -> dict[str, dict[str, Any]]:
    first = rows[0]
    wait_s = group_wait_s(first["action"]) or 0
    group_id, members = connection.execute(
        _JOIN,
        {
            "group_id": first["notification_id"],
            "project_id": key[0],
            "action_key": key[1],
            "closes_us": first["created_us"] + wait_s * 1_000_000,
            "members": len(rows),
        },
    ).one()
    return {
        row["notification_id"]: {
            "group_id": group_id,
            "group_place": place,
            "next_attempt_us": WAITING_US,
        }
        for place, row in enumerate(rows, members - len(rows))
    }


class Groups:
    """Open groups. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._reads = engine
        self._writes = writer(engine)

    def close(self, now_us: int) -> tuple[int, int]:
        """Close the groups whose time is up; give how many requests that makes, and of how many."""
        query = select(OPEN_GROUP.c.group_id).where(OPEN_GROUP.c.closes_us <= now_us)
        with self._reads.begin() as connection:
            due = list(connection.scalars(query))
        requests = members = 0
        for group_id in due:  # one at a time, so that it never waits for one while it has another
            with self._writes.begin() as connection:
                parts = _close(connection, group_id, now_us)
            for part in parts:
                _tell(part)
            requests += len(parts)
            members += sum(map(len, parts))
        return requests, members


def _close(connection: Connection, group_id: str, now_us: int) -> Sequence[Sequence[Member]]:
    """Close a group, into which nothing comes any more; give its notifications by request."""
    if not connection.execute(delete(OPEN_GROUP).where(OPEN_GROUP.c.group_id == group_id)).rowcount:
        return ()  # somebody else has closed it
    found = group_members.find(
        connection,
        NOTIFICATION.c.group_id == group_id,
        NOTIFICATION.c.next_attempt_us == WAITING_US,
        NOTIFICATION.c.status == Status.PENDING.value,
    )
    parts = [found[begin : begin + MOST_MEMBERS] for begin in range(0, len(found), MOST_MEMBERS)]
    for part in parts:
        of = group_id if part is parts[0] else part[0].notification_id
        group_members.send_together(connection, part, of, now_us)
    return parts


def _tell(members: Sequence[Member]) -> None:
    """Log which notifications a request tells of; its attempts are lines with its own id only."""
    first = members[0]
    for begin in range(0, len(members), NAMED_AT_ONCE):
        LOG.info(
            "Notification %s (%s) is sent for those of a group: %s",
            first.notification_id,
            first.request_id,
            ", ".join(
                f"{one.notification_id} of alarm {one.alarm_id}"
                for one in members[begin : begin + NAMED_AT_ONCE]
            ),
        )
