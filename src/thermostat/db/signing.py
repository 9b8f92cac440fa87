# SPDX-License-Identifier: Apache-2.0
"""The secrets that notifications are signed with: one for each project, made when first needed.

Receivers check with it that a notification comes from here and is of their project. Whoever knows
another project's secret could forge that project's notifications, so nobody else is shown it.
"""

import base64
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from thermostat.db.tables import WEBHOOK_SECRET
from thermostat.db.writing import writer

PREFIX = "whsec_"
SECRET_BYTES = 32
OVERLAP_S = 86_400
"""How long a replaced secret still signs beside the new one."""
REMEMBERED_S = 10.0
"""How long after its replacement by another process a secret may still sign alone."""
MOST_REMEMBERED = 10_000
US_PER_S = 1_000_000


class WebhookSecrets:
    """The projects' secrets. Every method may be called from any thread."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._reads = engine
        self._writes = writer(engine)
        self._clock = clock
        self._remembered: dict[str, tuple[float, tuple[bytes, ...]]] = {}
        self._replacing = threading.Lock()
        self._replacements = 0

    def secret(self, project_id: str) -> str:
        """Give the project's secret as receivers have it: `whsec_` and Base64."""
        return f"{PREFIX}{self._row(project_id).secret}"

    def replace(self, project_id: str) -> str:
        """Give the project a new secret, which signs at once; the one before it too for a day."""
        self._row(project_id)
        with self._writes.begin() as connection:
            secret = _new()
            connection.execute(
                update(WEBHOOK_SECRET)
                .where(WEBHOOK_SECRET.c.project_id == project_id)
                .values(
                    earlier_secret=WEBHOOK_SECRET.c.secret,
                    secret=secret,
                    created_us=int(self._clock() * US_PER_S),
                )
            )
        with self._replacing:
            self._replacements += 1
            self._remembered.pop(project_id, None)
        return f"{PREFIX}{secret}"

    def keys(self, project_id: str) -> tuple[bytes, ...]:
        """Give what to sign with: the secret, and the one before it for a day after its end."""
        now_s = time.monotonic()
        known = self._remembered.get(project_id)
        if known is not None and now_s < known[0]:
            return known[1]
        replacements = self._replacements
        try:
            row = self._row(project_id)
        except SQLAlchemyError:
            if known is None:
                raise
            return known[1]  # deliveries go on while the database cannot be read
        is_recent = self._clock() * US_PER_S - row.created_us < OVERLAP_S * US_PER_S
        texts = (row.secret, row.earlier_secret if is_recent else None)
        keys = tuple(base64.b64decode(text) for text in texts if text)
        with self._replacing:
            if replacements == self._replacements:  # else it may have been read before that
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[project_id] = (now_s + REMEMBERED_S, keys)
        return keys

    def _row(self, project_id: str) -> Row[Any]:
        """Give the project's row, a new one if it has none."""
        with self._reads.begin() as connection:
            row = _find(connection, project_id)
        if row is not None:
            return row
        try:
            return self._made(project_id)
        except IntegrityError:  # another server was faster: its secret counts
            return self._made(project_id)

    def _made(self, project_id: str) -> Row[Any]:
        """Give the project's row, made in this transaction if it has none."""
        with self._writes.begin() as connection:
            row = _find(connection, project_id)
            if row is None:
                new = {
                    "project_id": project_id,
                    "secret": _new(),
                    "created_us": int(self._clock() * US_PER_S),
                }
                connection.execute(insert(WEBHOOK_SECRET), new)
                row = _find(connection, project_id)
        assert row is not None  # noqa: S101 - it has just been found or made
        return row


def _find(connection: Connection, project_id: str) -> Row[Any] | None:
    query = select(WEBHOOK_SECRET).where(WEBHOOK_SECRET.c.project_id == project_id)
    return connection.execute(query).one_or_none()


def _new() -> str:
    return base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
