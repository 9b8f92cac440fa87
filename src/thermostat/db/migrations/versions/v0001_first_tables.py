# SPDX-License-Identifier: Apache-2.0
"""The first tables: alarms, their history, notifications, and trusts to be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "alarm",
        sa.Column("alarm_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("ok_actions", sa.Text(), nullable=False),
        sa.Column("alarm_actions", sa.Text(), nullable=False),
        sa.Column("insufficient_data_actions", sa.Text(), nullable=False),
        sa.Column("repeat_actions", sa.Boolean, nullable=False),
        sa.Column("time_constraints", sa.Text(), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("trust_id", sa.String(64)),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("state_reason", sa.Text, nullable=False),
        sa.Column("state_timestamp_us", sa.BigInteger, nullable=False),
        sa.Column("timestamp_us", sa.BigInteger, nullable=False),
        sa.Column("evaluate_timestamp_us", sa.BigInteger),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("alarm_id", name="pk_alarm"),
    )
    op.create_index("ix_alarm_project_id_timestamp_us", "alarm", ["project_id", "timestamp_us"])
    op.create_index("ix_alarm_enabled", "alarm", ["enabled"])
    op.create_table(
        "alarm_history",
        sa.Column("position", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("alarm_id", sa.String(36), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("user_id", sa.String(255)),
        sa.Column("project_id", sa.String(255)),
        sa.Column("on_behalf_of", sa.String(255), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("timestamp_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_alarm_history"),
        sa.UniqueConstraint("event_id", name="uq_alarm_history_event_id"),
    )
    op.create_index("ix_alarm_history_alarm_id_position", "alarm_history", ["alarm_id", "position"])
    op.create_index("ix_alarm_history_timestamp_us", "alarm_history", ["timestamp_us"])
    op.create_table(
        "notification",
        sa.Column("notification_id", sa.String(36), nullable=False),
        sa.Column("alarm_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("trust_id", sa.String(64)),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("next_attempt_us", sa.BigInteger, nullable=False),
        sa.Column("finished_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("notification_id", name="pk_notification"),
    )
    op.create_index(
        "ix_notification_status_next_attempt_us", "notification", ["status", "next_attempt_us"]
    )
    op.create_index("ix_notification_alarm_id", "notification", ["alarm_id"])
    op.create_index("ix_notification_trust_id", "notification", ["trust_id"])
    op.create_table(
        "retired_trust",
        sa.Column("trust_id", sa.String(64), nullable=False),
        sa.Column("retired_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("trust_id", name="pk_retired_trust"),
    )
