# SPDX-License-Identifier: Apache-2.0
"""What Alembic runs: the migrations, in the transaction that the caller has begun."""

from alembic import context

from thermostat.db.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite alters a column only by copying its table
)
context.run_migrations()
