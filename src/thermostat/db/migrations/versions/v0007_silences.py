# SPDX-License-Identifier: Apache-2.0
"""Silences, and what they withhold."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "silence",
        sa.Column("silence_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(255)),
        sa.Column("matcher", sa.Text, nullable=False),
        sa.Column("from_us", sa.BigInteger, nullable=False),
        sa.Column("until_us", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("silence_id", name="pk_silence"),
    )
    op.create_index("ix_silence_until_us", "silence", ["until_us"])
    op.create_index("ix_silence_project_id", "silence", ["project_id"])
    op.create_table(
        "withheld",
        sa.Column("alarm_id", sa.String(36), nullable=False),
        sa.Column("silence_id", sa.String(36), nullable=False),
        sa.Column("told_state", sa.String(32)),
        sa.Column("state_timestamp_us", sa.BigInteger, nullable=False),
        sa.Column("reason_data", sa.Text, nullable=False),
        sa.Column("recheck_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("alarm_id", name="pk_withheld"),
    )
    op.create_index("ix_withheld_recheck_us", "withheld", ["recheck_us"])
    op.create_index("ix_withheld_silence_id", "withheld", ["silence_id"])
