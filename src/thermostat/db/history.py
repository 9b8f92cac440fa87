# SPDX-License-Identifier: Apache-2.0
"""An alarm's history: creation, rule changes, state transitions, deletion."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, insert

from thermostat.alarms.model import ACTION_FIELDS, Alarm
from thermostat.db.mapping import to_json
from thermostat.db.tables import HISTORY
from thermostat.redaction import hidden

_INSERT = insert(HISTORY)


class Change(StrEnum):
    """What a history row tells of; the values are Aodh's."""

    CREATION = "creation"
    RULE_CHANGE = "rule change"
    STATE_TRANSITION = "state transition"
    DELETION = "deletion"


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a change; both are None where the evaluator did."""

    user_id: str | None = None
    project_id: str | None = None


EVALUATOR = Author()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One row of an alarm's history."""

    event_id: str
    """Its id."""
    alarm_id: str
    """Whose history it is."""
    type: str
    """What happened."""
    detail: str
    """JSON text: the definition, its changed fields, or the new state with its reason."""
    user_id: str | None
    """Who did it; null: the server."""
    project_id: str | None
    """In which project that user did it."""
    on_behalf_of: str
    """The project that the alarm belongs to."""
    severity: str
    """The alarm's severity."""
    timestamp_us: int
    """When it happened."""


def event_row(
    alarm: Alarm,
    change: Change,
    detail: Mapping[str, Any],
    *,
    author: Author,
    timestamp_us: int,
) -> Mapping[str, Any]:
    """Give one history row."""
    return {
        "event_id": str(uuid.uuid4()),
        "alarm_id": alarm.alarm_id,
        "type": change.value,
        "detail": to_json(_without_secrets(detail)),
        "user_id": author.user_id,
        "project_id": author.project_id,
        "on_behalf_of": alarm.project_id,
        "severity": alarm.severity.value,
        "timestamp_us": timestamp_us,
    }


def _without_secrets(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    """Hide what the URLs of actions have of secrets: many may read a history, and for long."""
    actions = {
        field: [hidden(url) for url in detail[field]]
        for field in ACTION_FIELDS
        if detail.get(field)
    }
    return {**detail, **actions} if actions else detail


def note(
    connection: Connection,
    alarm: Alarm,
    change: Change,
    detail: Mapping[str, Any],
    *,
    author: Author,
    timestamp_us: int,
) -> None:
    """Write one history row."""
    row = event_row(alarm, change, detail, author=author, timestamp_us=timestamp_us)
    connection.execute(_INSERT, row)
