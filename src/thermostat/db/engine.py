# SPDX-License-Identifier: Apache-2.0
"""Connections to the alarm database."""

from typing import Any

from oslo_config import cfg
from sqlalchemy import Connection, Engine, create_engine, event, make_url

from thermostat.db.writing import WRITES

GROUP = "database"
OPTS = [
    cfg.StrOpt(
        "connection",
        default="sqlite:////var/lib/thermostat/alarms.sqlite",
        secret=True,
        help="Where alarms, their history and pending notifications are kept, as an SQLAlchemy URL."
        " SQLite needs nothing else; for PostgreSQL (postgresql+psycopg2://...) install"
        " thermostat[postgresql].",
    ),
    cfg.IntOpt(
        "history_days",
        default=90,
        min=1,
        help="Days that alarm history is kept for.",
    ),
    cfg.IntOpt(
        "notification_days",
        default=7,
        min=1,
        help="Days that finished notifications, delivered or not, are kept for.",
    ),
    cfg.IntOpt(
        "silence_days",
        default=7,
        min=1,
        help="Days that silences which are over are kept for.",
    ),
]
BUSY_TIMEOUT_MS = 30_000
MOST_IDS = 500
"""How many rows one query asks for by id: databases limit the parameters of a statement."""
PRIVATE = {"hide_parameters": True}
"""Statements' values, with signatures of URLs and trusts among them, are in no error or log."""


class DatabaseError(Exception):
    """The alarm database cannot be used; the message says what to do."""


def open_engine(url: str) -> Engine:
    """Give an engine for this URL. On SQLite, what has been committed is on disk."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        # Many updates in one message: half the time, where transitions are written by the hundred.
        batches = {"executemany_mode": "values_plus_batch"}
        is_psycopg2 = parsed.get_driver_name() == "psycopg2"
        return create_engine(
            parsed, pool_pre_ping=True, **PRIVATE, **(batches if is_psycopg2 else {})
        )
    engine = create_engine(parsed, **PRIVATE)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not in the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the write lock when it begins: a lock taken later, over a snapshot that another
    # process has made old, could only fail.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
