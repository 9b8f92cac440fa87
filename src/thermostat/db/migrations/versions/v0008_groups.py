# SPDX-License-Identifier: Apache-2.0
"""Groups of notifications that are sent together."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the columns and the table; nothing is in a group."""
    op.add_column("notification", sa.Column("group_id", sa.String(36)))
    op.add_column("notification", sa.Column("group_place", sa.Integer))
    op.create_index("ix_notification_group_id", "notification", ["group_id"])
    op.create_table(
        "open_group",
        sa.Column("group_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("action_key", sa.String(64), nullable=False),
        sa.Column("closes_us", sa.BigInteger, nullable=False),
        sa.Column("members", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("group_id", name="pk_open_group"),
    )
    op.create_index(
        "ix_open_group_project_id_action_key",
        "open_group",
        ["project_id", "action_key"],
        unique=True,
    )
    op.create_index("ix_open_group_closes_us", "open_group", ["closes_us"])
