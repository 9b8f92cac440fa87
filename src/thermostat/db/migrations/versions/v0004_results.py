# SPDX-License-Identifier: Apache-2.0
"""How often each alarm was found in each state."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, with nothing counted."""
    op.create_table(
        "alarm_result",
        sa.Column("alarm_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("found", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("alarm_id", "state", name="pk_alarm_result"),
    )
