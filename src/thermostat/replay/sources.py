# SPDX-License-Identifier: Apache-2.0
"""The alarm database and the sample store of a server, opened to be read."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from oslo_config import cfg
from sqlalchemy.exc import SQLAlchemyError

from thermostat.alarms.model import Alarm
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import GROUP, OPTS, DatabaseError, open_engine
from thermostat.db.schema import check_schema
from thermostat.replay.errors import RunError
from thermostat.replay.rules import named_by, threshold_rules
from thermostat.store.base import SampleStore, Selection, StoreError

FOR_EVER_HOURS = 1_000_000
NEVER_S = 1e9
_HOLDER = re.compile(r"PID (\d+)")


def stored_alarms(alarm_ids: Iterable[str], config_files: list[str] | None) -> list[Alarm]:
    """Give these alarms of the database, and all alarms that they name. Raises RunError."""
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTS, group=GROUP)
    try:
        conf(
            args=[],
            project="thermostat",
            prog="thermostat-server",
            default_config_files=config_files,
        )
        engine = open_engine(conf[GROUP].connection)
        try:
            check_schema(engine)
            return with_named(alarm_ids, AlarmRepository(engine))
        finally:
            engine.dispose()
    except cfg.Error as error:
        raise RunError(f"--config-file: {error}") from error
    except DatabaseError as error:
        raise RunError(f"--alarm-id: {error}") from error
    except SQLAlchemyError as error:
        # Its first line has the driver's reason; the rest is SQL and a link.
        reason = str(error).splitlines()[0]
        raise RunError(f"--alarm-id: the alarm database cannot be used: {reason}") from error


def with_named(alarm_ids: Iterable[str], alarms: AlarmRepository) -> list[Alarm]:
    """Give these alarms and all that they name, directly or not, that are judged at all.

    As for the server, one that was deleted or disabled, or is of another project, is not there.
    Raises RunError.
    """
    found: dict[str, Alarm] = {}
    for alarm_id in alarm_ids:
        alarm = alarms.find(alarm_id)
        if alarm is None:
            raise RunError(f"--alarm-id: there is no alarm {alarm_id} in the database")
        found[alarm_id] = alarm
        for other in named_by(alarm, alarms.find):
            found.setdefault(other.alarm_id, other)
    return list(found.values())


@contextmanager
def opened_store(path: Path) -> Iterator[SampleStore]:
    """Open an embedded store that keeps all it has. Raises RunError."""
    from thermostat.store.embedded import (  # noqa: PLC0415 - DuckDB, which files do without
        DATABASE_FILE,
        EmbeddedStore,
    )

    if not (path / DATABASE_FILE).exists():
        raise RunError(f"--store: there is no store in {path}: it has no {DATABASE_FILE}")
    try:
        store = EmbeddedStore(
            path,
            retention_hours=FOR_EVER_HOURS,
            min_free_mb=0,
            housekeeping_interval_s=NEVER_S,
        )
    except (StoreError, OSError) as error:
        raise RunError(f"--store: {_why_closed(path, error)}") from error
    try:
        yield store
    except StoreError as error:
        raise RunError(f"--store: {error}") from error
    finally:
        store.close()


def projects(store: SampleStore, alarms: Iterable[Alarm]) -> set[str]:
    """Give the projects that have series which the alarms' rules select."""
    return {
        series.key.project_id
        for alarm in alarms
        for rule in threshold_rules(alarm.rule)
        for series in store.series(Selection(rule.meter_name, None, rule.query))
        if series.key.project_id is not None
    }


def _why_closed(path: Path, error: Exception) -> str:
    holder = _HOLDER.search(str(error))
    if "lock" not in str(error).lower():
        return str(error)
    who = f"process {holder[1]}" if holder else "another process"
    return (
        f"{path} is in use by {who}, most likely the server. Ask the server itself with"
        " POST /v2/alarms/preview, or replay a copy made while it was stopped"
    )
