# SPDX-License-Identifier: Apache-2.0
"""No index that says of nearly all alarms that they are enabled."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop it: SQLite preferred it to the ids of the few alarms that it was to read."""
    op.drop_index("ix_alarm_enabled", table_name="alarm")
