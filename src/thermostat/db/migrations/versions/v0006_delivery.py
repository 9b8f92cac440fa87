# SPDX-License-Identifier: Apache-2.0
"""What is known of deliveries, the projects' signing secrets, and the life of trusts."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SCHEMES = ("trust+https", "trust+http", "trust+heat", "https", "http", "log", "test")


def upgrade() -> None:
    """Make the tables and columns; what is in the outbox gets its scheme."""
    scheme = sa.Column("scheme", sa.String(32), nullable=False, server_default="")
    op.add_column("notification", scheme)
    op.add_column("notification", sa.Column("queued_us", sa.BigInteger))
    notification = sa.table("notification", sa.column("action"), sa.column("scheme"))
    for name in _SCHEMES:
        op.execute(
            notification.update()
            .where(notification.c.action.startswith(f"{name}:"))
            .values(scheme=name)
        )
    op.create_index(
        "ix_notification_project_id_created_us_notification_id",
        "notification",
        ["project_id", "created_us", "notification_id"],
    )
    op.create_table(
        "webhook_secret",
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("earlier_secret", sa.String(64)),
        sa.PrimaryKeyConstraint("project_id", name="pk_webhook_secret"),
    )
    op.create_table(
        "trust_intent",
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("expires_at", name="pk_trust_intent"),
    )
    op.create_table(
        "trust_fault",
        sa.Column("trust_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("trust_id", name="pk_trust_fault"),
    )
