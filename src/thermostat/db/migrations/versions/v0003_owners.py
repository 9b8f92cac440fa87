# SPDX-License-Identifier: Apache-2.0
"""How many alarms each project and user has; what lists of alarms and of history go by."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Count the alarms that there are, and make the indexes."""
    op.create_table(
        "alarm_owner",
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("owner_id", sa.String(255), nullable=False),
        sa.Column("alarms", sa.Integer, nullable=False),
        sa.Column("alarm_quota", sa.Integer),
        sa.PrimaryKeyConstraint("kind", "owner_id", name="pk_alarm_owner"),
    )
    op.execute(
        "INSERT INTO alarm_owner (kind, owner_id, alarms)"
        " SELECT 'project', project_id, count(*) FROM alarm GROUP BY project_id"
    )
    op.execute(
        "INSERT INTO alarm_owner (kind, owner_id, alarms)"
        " SELECT 'user', user_id, count(*) FROM alarm GROUP BY user_id"
    )
    op.create_index("ix_alarm_timestamp_us_alarm_id", "alarm", ["timestamp_us", "alarm_id"])
    op.drop_index("ix_alarm_project_id_timestamp_us", "alarm")
    op.create_index(
        "ix_alarm_project_id_timestamp_us_alarm_id",
        "alarm",
        ["project_id", "timestamp_us", "alarm_id"],
    )
    op.create_index(
        "ix_alarm_history_on_behalf_of_timestamp_us",
        "alarm_history",
        ["on_behalf_of", "timestamp_us"],
    )
