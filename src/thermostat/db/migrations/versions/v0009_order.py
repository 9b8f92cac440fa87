# SPDX-License-Identifier: Apache-2.0
"""Notifications of an alarm to a URL in the order of its transitions."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index by which a notification finds those before it."""
    op.drop_index("ix_notification_alarm_id", table_name="notification")
    op.create_index(
        "ix_notification_alarm_id_status_created_us",
        "notification",
        ["alarm_id", "status", "created_us"],
    )
