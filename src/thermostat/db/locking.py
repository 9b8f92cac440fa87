# SPDX-License-Identifier: Apache-2.0
"""Alarms whose rows stay locked until the transaction ends."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from thermostat.alarms.model import Alarm
from thermostat.db.engine import MOST_IDS
from thermostat.db.mapping import Reader
from thermostat.db.tables import ALARM


def locked_alarms(connection: Connection, alarm_ids: Sequence[str]) -> Mapping[str, Alarm]:
    """Give the enabled ones of these alarms; their rows stay locked until the transaction ends.

    SQLite, which knows no row locks, leaves the clause out: there the whole database is locked.
    """
    read = Reader().alarm
    alarm_ids = sorted(alarm_ids)  # in one order, so that two of these never wait for each other
    alarms = (
        read(row)
        for begin in range(0, len(alarm_ids), MOST_IDS)
        for row in connection.execute(
            select(ALARM)
            .where(ALARM.c.alarm_id.in_(alarm_ids[begin : begin + MOST_IDS]))
            .order_by(ALARM.c.alarm_id)
            .with_for_update()
        )
    )
    return {alarm.alarm_id: alarm for alarm in alarms if alarm.enabled}
