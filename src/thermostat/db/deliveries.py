# SPDX-License-Identifier: Apache-2.0
"""What became of notifications: to be listed, replayed and dropped."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Engine, func, select, update

from thermostat.db import group_members
from thermostat.db.engine import MOST_IDS
from thermostat.db.outbox import REPLAYABLE, WAITING_US, Status
from thermostat.db.paging import Page, SortKey, paged
from thermostat.db.tables import NOTIFICATION
from thermostat.db.targets import goes_to
from thermostat.db.writing import writer

NEWEST_FIRST = (
    SortKey("created_us", descending=True),
    SortKey("notification_id", descending=True),
)
STUCK = (Status.PENDING, Status.DEAD)
"""What may be dropped."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A notification and what became of it; the action's URL has its secrets."""

    notification_id: str
    alarm_id: str
    project_id: str
    action: str
    target: str
    request_id: str
    body: str
    status: str
    attempts: int
    last_error: str | None
    created_us: int
    next_attempt_us: int
    finished_us: int | None

    @property
    def due_us(self) -> int | None:
        """When the next attempt is due; None: there is none, or it is its group's."""
        is_due = self.status == Status.PENDING and self.next_attempt_us < WAITING_US
        return self.next_attempt_us if is_due else None


@dataclass(frozen=True, slots=True)
class Queue:
    """How much there is of one scheme's notifications."""

    pending: int = 0
    dead: int = 0
    dropped: int = 0
    oldest_us: int | None = None
    """When the oldest pending one was decided."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What one reason keeps back at one target."""

    target: str
    reason: str
    notifications: int
    oldest_us: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which notifications are meant: those that meet all that is given."""

    where: Mapping[str, Any] = field(default_factory=dict)
    """Values by column."""
    statuses: Collection[Status] = ()
    ids: Collection[str] = ()


_FIELDS = [NOTIFICATION.c[name] for name in Delivery.__struct_fields__]


class Deliveries:
    """The notifications of all projects. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._reads = engine
        self._writes = writer(engine)

    def find(self, notification_id: str) -> Delivery | None:
        """Give a notification of any project, or None."""
        query = select(*_FIELDS).where(NOTIFICATION.c.notification_id == notification_id)
        with self._reads.begin() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Delivery(**row._mapping)

    def list(self, chosen: Chosen, page: Page) -> Sequence[Delivery]:
        """Give these notifications in the page's order. Raises UnknownMarker."""
        query = select(*_FIELDS).where(*_conditions(chosen))
        with self._reads.begin() as connection:
            rows = connection.execute(
                paged(connection, query, NOTIFICATION.c.notification_id, page)
            )
            return [Delivery(**row._mapping) for row in rows]

    def count(self, chosen: Chosen) -> int:
        """Give how many these notifications are."""
        query = select(func.count()).select_from(NOTIFICATION).where(*_conditions(chosen))
        with self._reads.begin() as connection:
            return connection.execute(query).scalar_one()

    def retry(self, chosen: Chosen, now_us: int) -> int:
        """Have these sent again from now on, with a new deadline; give how many they are.

        What was delivered stays so. Those of one group go in one request; of a group that is still
        pending all are sent, once it is closed.
        """
        replayable = NOTIFICATION.c.status.in_([status.value for status in REPLAYABLE])
        again = {
            "status": Status.PENDING.value,
            "finished_us": None,
            "next_attempt_us": now_us,
            "queued_us": now_us,
        }
        count = 0
        with self._writes.begin() as connection:
            for some in _parts(chosen):
                those = (replayable, *_conditions(some))
                alone = update(NOTIFICATION).where(NOTIFICATION.c.group_id.is_(None), *those)
                count += connection.execute(alone.values(again)).rowcount
                count += group_members.send_again(connection, those, now_us)
        return count

    def drop(self, chosen: Chosen, now_us: int) -> int:
        """Give these up, as far as they are pending or dead; give how many they are.

        Of a group only these: the rest is sent without them.
        """
        stuck = NOTIFICATION.c.status.in_([status.value for status in STUCK])
        dropped = {"status": Status.DROPPED.value, "finished_us": now_us}
        count = 0
        with self._writes.begin() as connection:
            for some in _parts(chosen):
                those = (stuck, *_conditions(some))
                group_members.lock(connection, *those)
                gone = update(NOTIFICATION).where(*those).values(dropped)
                of = connection.scalars(gone.returning(NOTIFICATION.c.group_id)).all()
                count += len(of)
                group_members.let_go(connection, {one for one in of if one is not None}, now_us)
        return count

    def queues(self) -> Mapping[str, Queue]:
        """Give what is pending, dead or dropped, by the scheme of the URL."""
        query = (
            select(
                NOTIFICATION.c.scheme,
                NOTIFICATION.c.status,
                func.count(),
                func.min(NOTIFICATION.c.created_us),
            )
            .where(NOTIFICATION.c.status.in_([status.value for status in REPLAYABLE]))
            .group_by(NOTIFICATION.c.scheme, NOTIFICATION.c.status)
        )
        found: dict[str, dict[str, Any]] = {}
        with self._reads.begin() as connection:
            for scheme, status, count, oldest_us in connection.execute(query):
                queue = found.setdefault(scheme, {})
                queue[status] = count
                if status == Status.PENDING:
                    queue["oldest_us"] = oldest_us
        return {scheme: Queue(**queue) for scheme, queue in found.items()}

    def obstacles(self, limit: int) -> Sequence[Obstacle]:
        """Give why pending notifications that have failed still wait, the most frequent first."""
        count = func.count()
        query = (
            select(
                NOTIFICATION.c.target,
                NOTIFICATION.c.last_error,
                count,
                func.min(NOTIFICATION.c.created_us),
            )
            .where(
                NOTIFICATION.c.status == Status.PENDING.value,
                NOTIFICATION.c.last_error.is_not(None),
            )
            .group_by(NOTIFICATION.c.target, NOTIFICATION.c.last_error)
            .order_by(count.desc(), NOTIFICATION.c.target)
            .limit(limit)
        )
        with self._reads.begin() as connection:
            return [Obstacle(*row) for row in connection.execute(query)]


def _parts(chosen: Chosen) -> Sequence[Chosen]:
    """Divide them so that no part names more ids than a statement may."""
    ids = sorted(chosen.ids)
    parts = [ids[begin : begin + MOST_IDS] for begin in range(0, len(ids), MOST_IDS)] or [[]]
    return [Chosen(chosen.where, chosen.statuses, part) for part in parts]


def _conditions(chosen: Chosen) -> Sequence[ColumnElement[bool]]:
    found = [
        goes_to(value) if name == "target" else NOTIFICATION.c[name] == value
        for name, value in chosen.where.items()
    ]
    if chosen.statuses:
        found.append(NOTIFICATION.c.status.in_([status.value for status in chosen.statuses]))
    if chosen.ids:
        found.append(NOTIFICATION.c.notification_id.in_(sorted(chosen.ids)))
    return found
