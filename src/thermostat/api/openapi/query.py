# SPDX-License-Identifier: Apache-2.0
"""`/v2/query` in the description."""

from typing import Any

from thermostat.api import query
from thermostat.api.filters import ALARM_FIELDS, EVENT_FIELDS
from thermostat.api.openapi.operation import (
    Answer,
    Body,
    Operation,
    Operations,
    list_of,
    ref,
)
from thermostat.api.openapi.schemas import plain, requested

TAG = "query"

_LANGUAGE = (
    'A filter is `{"=": {"state": "alarm"}}`, with `=`, `!=`, `<`, `<=`, `>`, `>=` or `=~` (a '
    'regular expression), `{"in": {"name": ["a", "b"]}}`, `{"and": [...]}`, `{"or": [...]}` or '
    '`{"not": {...}}`. Fields are '
)

OPERATIONS: Operations = {
    "/v2/query/alarms": {
        "POST": Operation(
            name="queryAlarms",
            summary="Search alarms, by default the newest first.",
            description=f"{_LANGUAGE}{', '.join(f'`{name}`' for name in ALARM_FIELDS)}.",
            body=Body(
                ref("QueryRequest"),
                {
                    "alarms of some names": {
                        "filter": '{"and": [{"=": {"enabled": true}}, {"=~": {"name": "^web"}}]}',
                        "orderby": '[{"severity": "desc"}, {"name": "asc"}]',
                        "limit": 10,
                    }
                },
            ),
            answers={200: Answer("The alarms.", list_of("Alarm"))},
        )
    },
    "/v2/query/alarms/history": {
        "POST": Operation(
            name="queryAlarmHistory",
            summary="Search the history of all alarms, by default the newest first.",
            description="Alarms that are deleted are found too. "
            f"{_LANGUAGE}{', '.join(f'`{name}`' for name in EVENT_FIELDS)}.",
            body=Body(
                ref("QueryRequest"),
                {
                    "transitions since a day": {
                        "filter": '{"and": [{"=": {"type": "state transition"}},'
                        ' {">": {"timestamp": "2026-11-25T00:00:00"}}]}'
                    }
                },
            ),
            answers={200: Answer("The events.", list_of("Event"))},
        )
    },
}


def schemas() -> dict[str, Any]:
    """Give the schema of a search."""
    made = requested(plain([query.Query])["Query"], nulls=True)
    made["properties"]["limit"] |= {"minimum": 1}
    return {"QueryRequest": made}
