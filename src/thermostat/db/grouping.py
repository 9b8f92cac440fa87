# SPDX-License-Identifier: Apache-2.0
"""Groups: notifications of a project to one URL, sent together where the URL asks for it.

A group is open for as many seconds after its first notification as the URL says. Then it is closed,
once and for all, and its first notification is sent for all of them: what becomes of that one
becomes of the others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from sqlalchemy import Connection, Engine, bindparam, delete, select, text, update

from thermostat.db.mapping import to_json
from thermostat.db.outbox import Status
from thermostat.db.tables import NOTIFICATION, OPEN_GROUP
from thermostat.db.writing import writer

PARAMETER = "thermostat-group"
"""The parameter of a URL's query that asks for groups, in seconds."""
MOST_WAIT_S = 600
MOST_MEMBERS = 500
"""How many notifications one request tells of at most."""
SCHEMES = ("http:", "https:")
WAITING_US = 253_370_764_800_000_000
"""When a notification of an open group is due, until it is closed: in the year 9999."""
SENT_FOR_US = WAITING_US + 1
"""When one is due that another one is sent for."""

_Row = Mapping[str, Any]
_JOIN = text(
    "INSERT INTO open_group (group_id, project_id, action_key, closes_us, members)"
    " VALUES (:group_id, :project_id, :action_key, :closes_us, :members)"
    " ON CONFLICT (project_id, action_key)"
    " DO UPDATE SET members = open_group.members + excluded.members"
    " RETURNING group_id, members"
)
_SEND_FOR = (
    update(NOTIFICATION)
    .where(NOTIFICATION.c.notification_id == bindparam("of"))
    .values(
        group_id=bindparam("by"),
        request_id=bindparam("in_request"),
        next_attempt_us=bindparam("due_us"),
    )
)
_FINISH = (
    update(NOTIFICATION)
    .where(NOTIFICATION.c.notification_id == bindparam("of"))
    .values(
        status=bindparam("as_status"),
        attempts=bindparam("after"),
        last_error=bindparam("error"),
        finished_us=bindparam("at_us"),
    )
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
    """Open and closed groups. Every method may be called from any thread."""

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
                made = _close(connection, group_id, now_us)
            requests += made[0]
            members += made[1]
        return requests, members

    def finish(self) -> int:
        """Settle the notifications that others were sent for, as those; give how many."""
        first = NOTIFICATION.alias("first")
        query = (
            select(
                NOTIFICATION.c.notification_id,
                first.c.status,
                first.c.attempts,
                first.c.last_error,
                first.c.finished_us,
            )
            .join(first, first.c.notification_id == NOTIFICATION.c.group_id)
            .where(
                NOTIFICATION.c.status == Status.PENDING.value,
                NOTIFICATION.c.next_attempt_us == SENT_FOR_US,
                first.c.status != Status.PENDING.value,
            )
        )
        with self._reads.begin() as connection:
            rows = [
                {"of": of, "as_status": status, "after": attempts, "error": error, "at_us": at_us}
                for of, status, attempts, error, at_us in connection.execute(query)
            ]
        if rows:
            with self._writes.begin() as connection:
                connection.execute(_FINISH, rows)
        return len(rows)


def _close(connection: Connection, group_id: str, now_us: int) -> tuple[int, int]:
    """Close a group, into which nothing comes any more; give its requests and notifications."""
    if not connection.execute(delete(OPEN_GROUP).where(OPEN_GROUP.c.group_id == group_id)).rowcount:
        return 0, 0  # somebody else has closed it
    query = (
        select(NOTIFICATION.c.notification_id, NOTIFICATION.c.body, NOTIFICATION.c.request_id)
        .where(
            NOTIFICATION.c.group_id == group_id,
            NOTIFICATION.c.next_attempt_us == WAITING_US,
            NOTIFICATION.c.status == Status.PENDING.value,
        )
        .order_by(NOTIFICATION.c.group_place)
    )
    rows = connection.execute(query).all()
    parts = [rows[begin : begin + MOST_MEMBERS] for begin in range(0, len(rows), MOST_MEMBERS)]
    for part in parts:
        first = part[0]
        connection.execute(
            _SEND_FOR,
            [
                {
                    "of": row.notification_id,
                    "by": first.notification_id,
                    "in_request": first.request_id,
                    "due_us": now_us if row is first else SENT_FOR_US,
                }
                for row in part
            ],
        )
        connection.execute(
            update(NOTIFICATION)
            .where(NOTIFICATION.c.notification_id == first.notification_id)
            .values(body=_body(part), queued_us=now_us)
        )
    return len(parts), len(rows)


def _body(rows: Sequence[Any]) -> str:
    """Give the body that tells of all: the newest one's own, and all of them, oldest first."""
    alarms = [
        {"notification_id": row.notification_id, **msgspec.json.decode(row.body)} for row in rows
    ]
    return to_json({**msgspec.json.decode(rows[-1].body), "alarms": alarms})
