# SPDX-License-Identifier: Apache-2.0
"""Trusts of alarms that Keystone refuses: expired, revoked, or without a role that it lends."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from sqlalchemy import Connection, bindparam, delete, insert, select

from thermostat.db.engine import MOST_IDS
from thermostat.db.tables import TRUST_FAULT

_FORGET = delete(TRUST_FAULT).where(TRUST_FAULT.c.trust_id == bindparam("of"))


class _Tried(Protocol):
    @property
    def trust_id(self) -> str | None:
        """The trust that was tried."""

    @property
    def trust_error(self) -> str | None:
        """Why Keystone refused it, if it did."""


def note(connection: Connection, attempts: Sequence[_Tried], now_us: int) -> None:
    """Write which trusts Keystone refused, and forget those that it takes again."""
    tried = {one.trust_id: one.trust_error for one in attempts if one.trust_id is not None}
    if not tried:
        return
    forget(connection, tried)
    refused = [
        {"trust_id": trust_id, "reason": reason, "since_us": now_us}
        for trust_id, reason in sorted(tried.items())
        if reason is not None
    ]
    if refused:
        connection.execute(insert(TRUST_FAULT), refused)


def forget(connection: Connection, trust_ids: Collection[str]) -> None:
    """Forget that these were refused."""
    connection.execute(_FORGET, [{"of": trust_id} for trust_id in sorted(trust_ids)])


def faults(connection: Connection, trust_ids: Collection[str]) -> Mapping[str, str]:
    """Give why Keystone refused those of these trusts that it did refuse last."""
    ids = sorted(trust_ids)
    return {
        row.trust_id: row.reason
        for begin in range(0, len(ids), MOST_IDS)
        for row in connection.execute(
            select(TRUST_FAULT.c.trust_id, TRUST_FAULT.c.reason).where(
                TRUST_FAULT.c.trust_id.in_(ids[begin : begin + MOST_IDS])
            )
        )
    }
