# SPDX-License-Identifier: Apache-2.0
"""What the evaluator has judged: of each alarm, and all in all."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, for alarms of which nothing is known yet, and the evaluator's one row."""
    op.add_column("alarm", sa.Column("judged_us", sa.BigInteger))
    op.add_column("alarm", sa.Column("rule_states", sa.Text, nullable=False, server_default="[]"))
    op.add_column(
        "alarm", sa.Column("suppressed", sa.Boolean, nullable=False, server_default=sa.false())
    )
    evaluator = op.create_table(
        "evaluator",
        sa.Column("evaluator_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("judged_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("evaluator_id", name="pk_evaluator"),
    )
    op.bulk_insert(evaluator, [{"evaluator_id": 1, "judged_us": None}])
