# SPDX-License-Identifier: Apache-2.0
"""Take secrets out of the URLs of actions in the history that was written before it left them out.

Whoever may read a history may search it too, and so could find out a signature bit by bit.
"""

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from thermostat.redaction import hidden

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 1000
HISTORY = sa.table("alarm_history", sa.column("position"), sa.column("type"), sa.column("detail"))
FIELDS = ("ok_actions", "alarm_actions", "insufficient_data_actions")


def upgrade() -> None:
    """Rewrite what has URLs with secrets."""
    connection = op.get_bind()
    write = (
        sa.update(HISTORY)
        .where(HISTORY.c.position == sa.bindparam("at"))
        .values(detail=sa.bindparam("to"))
    )
    done = 0
    while rows := connection.execute(_after(done)).all():
        changed = [
            {"at": row.position, "to": shown}
            for row in rows
            if (shown := _without_secrets(row.detail)) != row.detail
        ]
        if changed:
            connection.execute(write, changed)
        done = rows[-1].position


def _after(position: int) -> sa.Select[Any]:
    return (
        sa.select(HISTORY.c.position, HISTORY.c.detail)
        .where(HISTORY.c.position > position, HISTORY.c.type != "state transition")
        .order_by(HISTORY.c.position)
        .limit(ROWS_AT_ONCE)
    )


def _without_secrets(detail: str) -> str:
    """Give the detail of an event as it is written now."""
    document = msgspec.json.decode(detail)
    seen = {
        field: [hidden(url) for url in document[field]] for field in FIELDS if document.get(field)
    }
    if all(document[field] == urls for field, urls in seen.items()):
        return detail
    return msgspec.json.encode({**document, **seen}).decode()
