# SPDX-License-Identifier: Apache-2.0
"""The outbox: notifications from the transaction that decided them until they are settled."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from oslo_context.context import generate_request_id
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    bindparam,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from thermostat.alarms.lending import is_of_a_trust, lent_anew
from thermostat.alarms.model import Alarm, Transition
from thermostat.db import trust_faults
from thermostat.db.mapping import to_json
from thermostat.db.signing import WebhookSecrets
from thermostat.db.tables import NOTIFICATION
from thermostat.db.targets import target_of
from thermostat.db.writing import writer

WAITING_US = 253_370_764_800_000_000
"""When a notification of an open group is due, until it is closed: in the year 9999."""
SENT_FOR_US = WAITING_US + 1
"""When one is due that another one is sent for."""


class Status(StrEnum):
    """What became of a notification."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    DROPPED = "dropped"
    """Somebody gave it up by hand."""
    SILENCED = "silenced"
    """It is never delivered: a silence withheld it."""


REPLAYABLE = (Status.PENDING, Status.DEAD, Status.DROPPED)
"""What may still be sent."""


class _Member(msgspec.Struct):
    notification_id: str


class _GroupBody(msgspec.Struct):
    alarms: tuple[_Member, ...]


_group_body = msgspec.json.Decoder(_GroupBody).decode


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One action of one transition, to be delivered at least once."""

    notification_id: str
    """Stays the same over every attempt, so that a receiver can tell a repetition."""
    alarm_id: str
    action: str
    """The URL to call; its query string may carry a signature."""
    target: str
    """The host and port that it goes to: attempts at one target are limited together."""
    trust_id: str | None
    request_id: str
    body: str
    attempts: int
    """How many attempts have failed."""
    created_us: int
    queued_us: int | None = None
    """Since when its deadline counts, where that is later than its creation: it was replayed."""
    project_id: str = ""
    group_id: str | None = None
    """The group that it is sent for."""
    signing_keys: tuple[bytes, ...] = ()
    """What it is signed with: the project's secret, and the earlier one while that still counts."""

    @property
    def scheme(self) -> str:
        """The scheme of the URL."""
        return scheme_of(self.action)

    @property
    def told(self) -> Sequence[str]:
        """The ids of the notifications that its request tells of, its own among them."""
        if self.group_id is None:
            return (self.notification_id,)
        return [one.notification_id for one in _group_body(self.body).alarms]


_FIELDS = [
    NOTIFICATION.c[field] for field in Notification.__struct_fields__ if field != "signing_keys"
]


_EARLIER = NOTIFICATION.alias("earlier")
_IS_NEXT = ~exists().where(
    _EARLIER.c.alarm_id == NOTIFICATION.c.alarm_id,
    _EARLIER.c.status == Status.PENDING.value,
    _EARLIER.c.created_us < NOTIFICATION.c.created_us,
    _EARLIER.c.next_attempt_us > NOTIFICATION.c.next_attempt_us,
    _EARLIER.c.action == NOTIFICATION.c.action,
    _EARLIER.c.group_id.is_(None),
)
"""That each earlier notification of its alarm to its URL is due before it, or settled.

So those that have not failed are due in order, and nothing is due behind one that has. Groups do
not wait.
"""

_NEXT = select(*_FIELDS).where(NOTIFICATION.c.status == Status.PENDING.value, _IS_NEXT)
_SETTLE = (
    update(NOTIFICATION)
    .where(
        NOTIFICATION.c.notification_id == bindparam("of"),
        # What was dropped meanwhile stays so, unless it was delivered.
        or_(
            NOTIFICATION.c.status == Status.PENDING.value, bindparam("is_delivered", type_=Boolean)
        ),
    )
    .values(
        status=bindparam("status"),
        attempts=NOTIFICATION.c.attempts + 1,
        last_error=bindparam("last_error"),
        next_attempt_us=case(
            (NOTIFICATION.c.next_attempt_us == SENT_FOR_US, SENT_FOR_US),
            else_=bindparam("next_attempt_us", type_=BigInteger),
        ),
        finished_us=bindparam("finished_us"),
    )
)


@dataclass(frozen=True, slots=True)
class Enough:
    """What need not be read from the outbox."""

    ids: Collection[str] = ()
    urls: Collection[tuple[str, str]] = ()
    """Projects and URLs."""
    targets: Collection[tuple[str, str]] = ()
    """Projects and targets."""
    projects: Collection[str] = ()


NOTHING = Enough()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to."""

    notification_id: str
    """The one that was sent."""
    status: Status
    """PENDING: try again at `next_attempt_us`."""
    error: str | None = None
    """Why it failed; of a delivery, what was odd about it."""
    next_attempt_us: int = 0
    trust_id: str | None = None
    """The trust that was used, or that Keystone refused."""
    trust_error: str | None = None
    """Why Keystone refused it."""
    told: Sequence[str] = ()
    """All that the request told of, where that is more than the one."""


def notification_rows(alarm: Alarm, transition: Transition) -> Sequence[Mapping[str, Any]]:
    """Give one pending notification per action of the transition's state."""
    actions = alarm.actions(transition.state)
    if not actions:
        return ()
    body = to_json(
        {
            "alarm_name": alarm.name,
            "alarm_id": alarm.alarm_id,
            "severity": alarm.severity,
            "previous": transition.previous,
            "current": transition.state,
            "reason": transition.reason,
            "reason_data": transition.reason_data,
        }
    )
    return [
        {
            "notification_id": str(uuid.uuid4()),
            "alarm_id": alarm.alarm_id,
            "project_id": alarm.project_id,
            "action": action,
            "target": target_of(action),
            "trust_id": alarm.trust_id if is_of_a_trust(action) else None,
            "request_id": generate_request_id(),
            "body": body,
            "status": Status.PENDING.value,
            "attempts": 0,
            "scheme": scheme_of(action),
            "created_us": transition.timestamp_us,
            "next_attempt_us": transition.timestamp_us,
        }
        for action in actions
    ]


def use_new_trust(connection: Connection, before: Alarm, after: Alarm) -> None:
    """Have what may still be sent use the alarm's new trust, as far as it is lent for that."""
    actions = lent_anew(before, after)
    if before.trust_id is None or not actions:
        return
    connection.execute(
        update(NOTIFICATION)
        .where(
            NOTIFICATION.c.alarm_id == after.alarm_id,
            NOTIFICATION.c.trust_id == before.trust_id,
            NOTIFICATION.c.status.in_([status.value for status in REPLAYABLE]),
            NOTIFICATION.c.action.in_(sorted(actions)),
        )
        .values(trust_id=after.trust_id)
    )


def scheme_of(action: str) -> str:
    """Give the scheme of an action's URL."""
    return action.partition(":")[0].lower()[:32]


def _not_in(enough: Enough) -> Iterable[ColumnElement[bool]]:
    of_url = tuple_(NOTIFICATION.c.project_id, NOTIFICATION.c.action)
    of_target = tuple_(NOTIFICATION.c.project_id, NOTIFICATION.c.target)
    if enough.projects:
        yield NOTIFICATION.c.project_id.not_in(enough.projects)
    if enough.targets:
        yield of_target.not_in(enough.targets)
    if enough.urls:
        yield of_url.not_in(enough.urls)
    if enough.ids:
        yield NOTIFICATION.c.notification_id.not_in(enough.ids)


def _notification(row: Row[Any]) -> Notification:
    return Notification(**row._mapping)


class Outbox:
    """The notifications. Every method may be called from any thread."""

    def __init__(self, engine: Engine, secrets: WebhookSecrets | None = None) -> None:
        self._reads = engine
        self._writes = writer(engine)
        self._secrets = secrets or WebhookSecrets(engine)

    def due(self, now_us: int, limit: int, enough: Enough = NOTHING) -> Sequence[Notification]:
        """Give pending notifications whose time and turn has come, the longest due first.

        What an alarm tells a URL comes in the order of its transitions. After one that has failed
        none comes until that is settled.
        """
        query = (
            _NEXT.where(NOTIFICATION.c.next_attempt_us <= now_us, *_not_in(enough))
            .order_by(NOTIFICATION.c.next_attempt_us, NOTIFICATION.c.created_us)
            .limit(limit)
        )
        return self._read(query)

    def following(
        self, ended: Collection[tuple[str, str]], now_us: int, limit: int
    ) -> Sequence[Notification]:
        """Give what is due of these alarms to these URLs, whose turn may have come now."""
        if not ended:
            return ()
        query = (
            _NEXT.where(
                NOTIFICATION.c.alarm_id.in_({alarm_id for alarm_id, _ in ended}),
                NOTIFICATION.c.action.in_({action for _, action in ended}),
                # Not as SQLite's planner knows it: of all that is due these are few.
                NOTIFICATION.c.next_attempt_us + 0 <= now_us,
            )
            .order_by(NOTIFICATION.c.next_attempt_us + 0, NOTIFICATION.c.created_us)
            .limit(limit)
        )
        return self._read(query)

    def _read(self, query: Select[Any]) -> Sequence[Notification]:
        with self._reads.begin() as connection:
            rows = connection.execute(query).all()
        for project_id in {row.project_id for row in rows}:
            self._secrets.keys(project_id)  # once here, and not by many who send at the same time
        return list(map(_notification, rows))

    def current(self, known: Notification) -> Notification | None:
        """Give what is to be sent of one that was read a while ago: None if it was given up.

        It has the keys of this moment. Those that are of a group or need a trust are read again;
        of others it is not worth the time.
        """
        found: Notification | None = known
        if known.group_id is not None or known.trust_id is not None:
            found = self._read_again(known)
        if found is None:
            return None
        return msgspec.structs.replace(found, signing_keys=self._secrets.keys(found.project_id))

    def _read_again(self, known: Notification) -> Notification | None:
        query = select(*_FIELDS).where(
            NOTIFICATION.c.notification_id == known.notification_id,
            NOTIFICATION.c.status == Status.PENDING.value,
            NOTIFICATION.c.next_attempt_us < WAITING_US,
        )
        try:
            with self._reads.begin() as connection:
                row = connection.execute(query).one_or_none()
        except SQLAlchemyError:
            return known  # deliveries go on while the database cannot be read
        return None if row is None else _notification(row)

    def settle(self, outcomes: Sequence[Outcome], now_us: int) -> None:
        """Write what these attempts came to, in one transaction."""
        if not outcomes:
            return
        rows = [
            {
                "of": notification_id,
                "is_delivered": outcome.status is Status.DELIVERED,
                "status": outcome.status.value,
                "last_error": outcome.error,
                "next_attempt_us": outcome.next_attempt_us,
                "finished_us": None if outcome.status is Status.PENDING else now_us,
            }
            for outcome in outcomes
            for notification_id in outcome.told or (outcome.notification_id,)
        ]
        with self._writes.begin() as connection:
            connection.execute(_SETTLE, rows)
            trust_faults.note(connection, outcomes, now_us)

    def bring_forward(self, now_us: int, by_us: int) -> int:
        """Have retries that are due later than now come earlier by so much; give how many."""
        later = NOTIFICATION.c.next_attempt_us
        with self._writes.begin() as connection:
            return connection.execute(
                update(NOTIFICATION)
                .where(
                    NOTIFICATION.c.status == Status.PENDING.value,
                    later > now_us,
                    later < WAITING_US,
                )
                .values(next_attempt_us=later - by_us)
            ).rowcount

    def counts(self) -> Mapping[Status, int]:
        """Give how many notifications there are of each status."""
        query = select(NOTIFICATION.c.status, func.count()).group_by(NOTIFICATION.c.status)
        with self._reads.begin() as connection:
            counted = {Status(status): count for status, count in connection.execute(query)}
        return {status: counted.get(status, 0) for status in Status}

    def purge(self, before_us: int) -> int:
        """Delete what was settled before this time; give how many rows that were."""
        with self._writes.begin() as connection:
            return connection.execute(
                delete(NOTIFICATION).where(
                    NOTIFICATION.c.status != Status.PENDING.value,
                    NOTIFICATION.c.finished_us < before_us,
                )
            ).rowcount
