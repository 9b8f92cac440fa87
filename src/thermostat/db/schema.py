# SPDX-License-Identifier: Apache-2.0
"""The schema's version: bring a database up to date, and refuse to work with another version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from thermostat.db.engine import DatabaseError
from thermostat.db.writing import writer

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaError(DatabaseError):
    """The database's schema is not the one that this release works with."""


def expected_version() -> str:
    """Give the version that this release works with."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if head is None:
        raise SchemaError(f"there are no migrations in {MIGRATIONS}")
    return head


def current_version(engine: Engine) -> str | None:
    """Give the database's version; None if it has no tables yet."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check_schema(engine: Engine) -> None:
    """Raise SchemaError, which says what to do, unless the database is at the expected version."""
    current, expected = current_version(engine), expected_version()
    if current == expected:
        return
    known = {revision.revision for revision in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaError(
            f"the alarm database is at version {current}, which this release does not know "
            f"(it works with {expected}): a newer release has upgraded it"
        )
    raise SchemaError(
        f"the alarm database is at version {current or 'none'} but this release works with "
        f"{expected}: run thermostat-dbsync"
    )


def upgrade(engine: Engine, version: str = "head") -> None:
    """Bring the database up to a version, by default the expected one.

    An empty one gets all tables.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with writer(engine).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
