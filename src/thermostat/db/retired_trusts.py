# SPDX-License-Identifier: Apache-2.0
"""Trusts to be deleted: those that an alarm has no more, and those that none may have got.

A new trust is noted here before its alarm is written, and taken off in the transaction that writes
it: so none is forgotten, whatever ends the server in between.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, and_, delete, exists, insert, select, update

from thermostat.db import trust_faults
from thermostat.db.outbox import Status
from thermostat.db.tables import NOTIFICATION, RETIRED_TRUST
from thermostat.db.writing import writer


def retire(connection: Connection, trust_id: str, now_us: int) -> None:
    """Note that no alarm has this trust any more."""
    connection.execute(insert(RETIRED_TRUST).values(trust_id=trust_id, retired_us=now_us))


def take_up(connection: Connection, trust_id: str) -> None:
    """Note that an alarm has this trust."""
    connection.execute(delete(RETIRED_TRUST).where(RETIRED_TRUST.c.trust_id == trust_id))


class RetiredTrusts:
    """The trusts to be deleted. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._reads = engine
        self._writes = writer(engine)

    def add(self, trust_id: str, from_us: int) -> None:
        """Note a trust that is to be deleted, unless an alarm takes it up before this time."""
        with self._writes.begin() as connection:
            retire(connection, trust_id, from_us)

    def postpone(self, trust_id: str, until_us: int) -> None:
        """Have a trust deleted at this time, or later."""
        of_it = RETIRED_TRUST.c.trust_id == trust_id
        with self._writes.begin() as connection:
            connection.execute(update(RETIRED_TRUST).where(of_it).values(retired_us=until_us))

    def unused(self, now_us: int, limit: int = 100) -> Sequence[str]:
        """Give those whose time has come and that no pending notification needs, oldest first."""
        needed = exists().where(
            and_(
                NOTIFICATION.c.trust_id == RETIRED_TRUST.c.trust_id,
                NOTIFICATION.c.status == Status.PENDING.value,
            )
        )
        query = (
            select(RETIRED_TRUST.c.trust_id)
            .where(RETIRED_TRUST.c.retired_us <= now_us, ~needed)
            .order_by(RETIRED_TRUST.c.retired_us, RETIRED_TRUST.c.trust_id)
            .limit(limit)
        )
        with self._reads.begin() as connection:
            return list(connection.scalars(query))

    def forget(self, trust_id: str) -> None:
        """Note that a trust has been deleted."""
        with self._writes.begin() as connection:
            take_up(connection, trust_id)
            trust_faults.forget(connection, [trust_id])
