# SPDX-License-Identifier: Apache-2.0
"""What is in groups of notifications: sent together, given up, sent again (see `db/grouping.py`).

The notifications of a closed group have its id, which is only a name. One of them, the first, is
due and has the body that tells of all; the others are due at `SENT_FOR_US`, which never comes.
"""

import uuid
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, select, update

from thermostat.db.engine import MOST_IDS
from thermostat.db.mapping import to_json
from thermostat.db.outbox import SENT_FOR_US, WAITING_US, Status
from thermostat.db.tables import NOTIFICATION, OPEN_GROUP


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A notification that is in a group."""

    notification_id: str
    alarm_id: str
    group_id: str
    request_id: str
    status: str
    next_attempt_us: int
    body: str
    """Its own, or where it is sent for others the one that tells of all."""

    @property
    def is_closed(self) -> bool:
        """Whether it is pending and its group closed."""
        return self.status == Status.PENDING and self.next_attempt_us != WAITING_US


_FIELDS = [NOTIFICATION.c[name] for name in Member.__struct_fields__]
_IN_ORDER = (NOTIFICATION.c.group_id, NOTIFICATION.c.group_place)
_SEND_FOR = (
    update(NOTIFICATION)
    .where(NOTIFICATION.c.notification_id == bindparam("of"))
    .values(
        group_id=bindparam("in_group"),
        request_id=bindparam("in_request"),
        status=Status.PENDING.value,
        finished_us=None,
        next_attempt_us=bindparam("due_us"),
        queued_us=bindparam("from_us"),
    )
)
_LEAVE = (
    update(NOTIFICATION)
    .where(NOTIFICATION.c.notification_id == bindparam("of"))
    .values(group_id=bindparam("in_group"), body=bindparam("with_body"))
)


def find(connection: Connection, *those: ColumnElement[bool]) -> Sequence[Member]:
    """Give these of all that are in groups, by group and the oldest first, and lock their rows.

    SQLite, which knows no row locks, leaves the clause out: there the whole database is locked.
    """
    query = (
        select(*_FIELDS)
        .where(NOTIFICATION.c.group_id.is_not(None), *those)
        .order_by(*_IN_ORDER)
        .with_for_update()
    )
    return [Member(**row._mapping) for row in connection.execute(query)]


def send_together(
    connection: Connection, members: Sequence[Member], group_id: str, now_us: int
) -> None:
    """Make these a closed group, which is sent from now on."""
    first = members[0]
    connection.execute(
        _SEND_FOR,
        [
            {
                "of": one.notification_id,
                "in_group": group_id,
                "in_request": first.request_id,
                "due_us": now_us if one is first else SENT_FOR_US,
                "from_us": now_us,
            }
            for one in members
        ],
    )
    _write(connection, first, body=_body(members))


def lock(connection: Connection, *those: ColumnElement[bool]) -> None:
    """Have nothing join the groups of these notifications, and nobody close or change them.

    That holds until the transaction ends.
    """
    in_group = NOTIFICATION.c.group_id
    query = select(in_group).where(in_group.is_not(None), *those).distinct()
    known: set[str] = set()
    while new := sorted(set(connection.scalars(query)) - known):
        _lock(connection, new)
        known.update(new)  # and see whether they were put into others until then


def _lock(connection: Connection, groups: Sequence[str]) -> None:
    # Open groups first and in this order, as those lock them who join and close.
    for some in _slices(groups):
        open_ones = select(OPEN_GROUP.c.group_id).where(OPEN_GROUP.c.group_id.in_(some))
        in_order = open_ones.order_by(OPEN_GROUP.c.project_id, OPEN_GROUP.c.action_key)
        connection.execute(in_order.with_for_update()).all()
    for some in _slices(groups):
        members = select(NOTIFICATION.c.notification_id).where(NOTIFICATION.c.group_id.in_(some))
        connection.execute(members.order_by(*_IN_ORDER).with_for_update()).all()


def let_go(connection: Connection, groups: Collection[str], now_us: int) -> None:
    """Take what was dropped out of these groups: the rest of each is sent without it."""
    for some in _slices(sorted(groups)):
        found = find(connection, NOTIFICATION.c.group_id.in_(some))
        for _, members in groupby(found, key=attrgetter("group_id")):
            whole = list(members)
            gone = [one for one in whole if one.status == Status.DROPPED]
            left = [one for one in whole if one.is_closed]
            if gone:
                connection.execute(_LEAVE, [_alone(one) for one in gone])
            if gone and left:
                _rebuild(connection, left, now_us)


def send_again(connection: Connection, those: Sequence[ColumnElement[bool]], now_us: int) -> int:
    """Have these of what is in groups sent from now on, with a new deadline; give how many.

    Those of one group that are dead or dropped become one request. Of a group that is pending all
    are sent; where it is open, they are once it is closed.
    """
    found = find(connection, *those)
    for group_id, members in groupby(found, key=attrgetter("group_id")):
        chosen = list(members)
        ended = [one for one in chosen if one.status != Status.PENDING]
        if ended:
            send_together(connection, ended, str(uuid.uuid4()), now_us)
        if any(one.is_closed for one in chosen):
            _hasten(connection, group_id, now_us)
    return len(found)


def _hasten(connection: Connection, group_id: str, now_us: int) -> None:
    whole = update(NOTIFICATION).where(
        NOTIFICATION.c.group_id == group_id, NOTIFICATION.c.status == Status.PENDING.value
    )
    connection.execute(whole.values(queued_us=now_us))
    first = whole.where(NOTIFICATION.c.next_attempt_us < WAITING_US)
    connection.execute(first.values(next_attempt_us=now_us))


def _alone(one: Member) -> dict[str, str]:
    """Give what makes it a group of its own."""
    return {
        "of": one.notification_id,
        "in_group": str(uuid.uuid4()),
        "with_body": to_json(_own(one.body)),
    }


def _rebuild(connection: Connection, members: Sequence[Member], now_us: int) -> None:
    """Have these, which are left of a closed group, sent by the first of them."""
    first = members[0]
    _write(connection, first, body=_body(members))
    if first.next_attempt_us == SENT_FOR_US:  # the one that was sent for it has left
        _write(connection, first, next_attempt_us=now_us)


def _write(connection: Connection, one: Member, **values: Any) -> None:
    of_it = NOTIFICATION.c.notification_id == one.notification_id
    connection.execute(update(NOTIFICATION).where(of_it).values(**values))


def _body(members: Sequence[Member]) -> str:
    """Give the body that tells of all: the newest one's own, and all of them, oldest first."""
    bodies = [_own(one.body) for one in members]
    alarms = [
        {"notification_id": one.notification_id, **body}
        for one, body in zip(members, bodies, strict=True)
    ]
    return to_json({**bodies[-1], "alarms": alarms})


def _own(body: str) -> dict[str, Any]:
    """Give a notification's own body; where it is sent for a group, that is the first one there."""
    decoded: dict[str, Any] = msgspec.json.decode(body)
    if "alarms" not in decoded:
        return decoded
    own: dict[str, Any] = decoded["alarms"][0]
    return {name: value for name, value in own.items() if name != "notification_id"}


def _slices(groups: Sequence[str]) -> Iterator[Collection[str]]:
    for begin in range(0, len(groups), MOST_IDS):
        yield groups[begin : begin + MOST_IDS]
