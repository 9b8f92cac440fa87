# SPDX-License-Identifier: Apache-2.0
"""Between rows and alarms."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row

from thermostat.alarms.model import Alarm, Severity, State, TimeConstraint
from thermostat.alarms.rules import RULE_TYPES, rule_type

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JSON_COLUMNS = frozenset(
    {"rule", "ok_actions", "alarm_actions", "insufficient_data_actions", "time_constraints"}
)
_PRIVATE = frozenset({"trust_id", "revision"})


def to_row(alarm: Alarm) -> dict[str, Any]:
    """Give the column values of an alarm."""
    values = {
        field: to_json(value) if field in _JSON_COLUMNS else value
        for field, value in msgspec.structs.asdict(alarm).items()
    }
    return values | {
        "type": rule_type(alarm.rule),
        "severity": alarm.severity.value,
        "state": alarm.state.value,
    }


def from_row(row: Row[Any]) -> Alarm:
    """Give the alarm of a row."""
    values = dict(row._mapping)
    kind = RULE_TYPES[values.pop("type")]
    return Alarm(
        **values
        | {
            "rule": msgspec.json.decode(values["rule"], type=kind),
            "ok_actions": _strings(values["ok_actions"]),
            "alarm_actions": _strings(values["alarm_actions"]),
            "insufficient_data_actions": _strings(values["insufficient_data_actions"]),
            "time_constraints": msgspec.json.decode(
                values["time_constraints"], type=tuple[TimeConstraint, ...]
            ),
            "severity": Severity(values["severity"]),
            "state": State(values["state"]),
        }
    )


def describe(alarm: Alarm) -> dict[str, Any]:
    """Give an alarm as its history shows it: Aodh's field names, without the trust."""
    fields: dict[str, Any] = {"type": rule_type(alarm.rule)}
    for field, value in msgspec.structs.asdict(alarm).items():
        if field.endswith("timestamp_us"):
            fields[field.removesuffix("_us")] = None if value is None else iso(value)
        elif field not in _PRIVATE:
            fields[field] = msgspec.to_builtins(value)
    return fields


def iso(instant_us: int) -> str:
    """Give an instant in UTC without its offset, as Aodh does."""
    return (_EPOCH + timedelta(microseconds=instant_us)).replace(tzinfo=None).isoformat()


def to_json(value: Any) -> str:
    """Give the JSON text of a value."""
    return msgspec.json.encode(value).decode()


def _strings(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])
