# SPDX-License-Identifier: Apache-2.0
"""The outbox: notifications from the transaction that decided them until they are settled."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec
from oslo_context.context import generate_request_id
from sqlalchemy import (
    Boolean,
    Engine,
    Row,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)

from thermostat.alarms.model import Alarm, Transition
from thermostat.db import trust_faults
from thermostat.db.mapping import to_json
from thermostat.db.signing import WebhookSecrets
from thermostat.db.tables import NOTIFICATION
from thermostat.db.writing import writer


class Status(StrEnum):
    """What became of a notification."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    DROPPED = "dropped"
    """Somebody gave it up by hand."""
    SILENCED = "silenced"
    """It is never delivered: a silence withheld it."""


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
    signing_keys: tuple[bytes, ...] = ()
    """What it is signed with: the project's secret, and the earlier one while that still counts."""

    @property
    def scheme(self) -> str:
        """The scheme of the URL."""
        return scheme_of(self.action)


_FIELDS = [
    NOTIFICATION.c[field] for field in Notification.__struct_fields__ if field != "signing_keys"
]


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
        next_attempt_us=bindparam("next_attempt_us"),
        finished_us=bindparam("finished_us"),
    )
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to."""

    notification_id: str
    status: Status
    """PENDING: try again at `next_attempt_us`."""
    error: str | None = None
    """Why it failed; of a delivery, what was odd about it."""
    next_attempt_us: int = 0
    trust_id: str | None = None
    """The trust that was used, or that Keystone refused."""
    trust_error: str | None = None
    """Why Keystone refused it."""


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
            "trust_id": alarm.trust_id if action.startswith("trust+") else None,
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


def scheme_of(action: str) -> str:
    """Give the scheme of an action's URL."""
    return action.partition(":")[0].lower()[:32]


def target_of(action: str) -> str:
    """Give the host and port of an action's URL, or its scheme where it has no host."""
    parts = urlsplit(action)
    return (parts.netloc.rpartition("@")[2].lower() or parts.scheme)[:255]


def _notification(row: Row[Any], keys: tuple[bytes, ...]) -> Notification:
    return Notification(**row._mapping, signing_keys=keys)


class Outbox:
    """The notifications. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._reads = engine
        self._writes = writer(engine)
        self._secrets = WebhookSecrets(engine)

    def due(
        self,
        now_us: int,
        limit: int,
        *,
        without: Collection[str] = (),
        without_targets: Collection[str] = (),
    ) -> Sequence[Notification]:
        """Give pending notifications whose time has come, the longest due first.

        Leaves out these ids and these targets.
        """
        query = (
            select(*_FIELDS)
            .where(
                NOTIFICATION.c.status == Status.PENDING.value,
                NOTIFICATION.c.next_attempt_us <= now_us,
                NOTIFICATION.c.notification_id.not_in(without),
                NOTIFICATION.c.target.not_in(without_targets),
            )
            .order_by(NOTIFICATION.c.next_attempt_us)
            .limit(limit)
        )
        with self._reads.begin() as connection:
            rows = connection.execute(query).all()
        return [_notification(row, self._secrets.keys(row.project_id)) for row in rows]

    def settle(self, outcomes: Sequence[Outcome], now_us: int) -> None:
        """Write what these attempts came to, in one transaction."""
        if not outcomes:
            return
        rows = [
            {
                "of": outcome.notification_id,
                "is_delivered": outcome.status is Status.DELIVERED,
                "status": outcome.status.value,
                "last_error": outcome.error,
                "next_attempt_us": outcome.next_attempt_us,
                "finished_us": None if outcome.status is Status.PENDING else now_us,
            }
            for outcome in outcomes
        ]
        with self._writes.begin() as connection:
            connection.execute(_SETTLE, rows)
            trust_faults.note(connection, outcomes, now_us)

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
