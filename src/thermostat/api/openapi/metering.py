# SPDX-License-Identifier: Apache-2.0
"""`/v2/samples` and `/v2/meters/{meter}/statistics` in the description."""

from typing import Any

from thermostat.alarms.query import Operator
from thermostat.alarms.rules import MAX_PERIOD_S
from thermostat.api import statistics
from thermostat.api.openapi import examples
from thermostat.api.openapi.lists import COUNT, filters
from thermostat.api.openapi.operation import (
    Answer,
    Body,
    Operation,
    Operations,
    Parameter,
    list_of,
    ref,
)
from thermostat.api.openapi.schemas import plain
from thermostat.samples import wire

TAG = "metering"


def _create(name: str, summary: str, description: str) -> Operation:
    return Operation(
        name=name,
        summary=summary,
        description=description,
        body=Body(
            {
                "oneOf": [
                    list_of("HttpSample"),
                    {**list_of("BusSample"), "minItems": 1},
                    ref("HttpSample"),
                    ref("BusSample"),
                ]
            },
            examples.SAMPLES,
            also={wire.COLUMNAR_TYPE: {"type": "string", "format": "binary"}},
        ),
        answers={201: Answer("They are on disk.", ref("Accepted"))},
        errors=[429],
        takes_password=True,
    )


OPERATIONS: Operations = {
    "/v2/samples": {
        "POST": _create(
            "createSamples",
            "Store samples: all of a request's, or none.",
            "In Ceilometer's HTTP publisher's form, its message bus's, or the agent's columnar "
            "form. All samples of a request are of one form.",
        )
    },
    "/v1/samples": {
        "POST": _create(
            "createSamplesV1",
            "The same as `POST /v2/samples`, under another path.",
            "",
        )
    },
    "/v2/meters/{meter}/statistics": {
        "GET": Operation(
            name="getStatistics",
            summary="Read a meter's statistics, an object per period and group, oldest first.",
            description="Of the caller's project, unless an administrator asks for "
            "`all_projects`, or for another `project_id`.",
            parameters=[
                *filters(None, list(Operator), ("timestamp", "gt", "2026-01-01T00:00:00")),
                Parameter(
                    "period",
                    "Seconds of one period; 0 or left out: one period of everything.",
                    {"type": "integer", "minimum": 0, "maximum": MAX_PERIOD_S},
                    example=60,
                ),
                Parameter(
                    "groupby",
                    "`resource_id`, `project_id`, `user_id`, `source` or `metadata.<key>`.",
                    {"type": "string"},
                    repeated=True,
                    example=["resource_id"],
                ),
                Parameter(
                    "aggregate.func",
                    f"Which statistics; left out: {', '.join(statistics.DEFAULT_FUNCTIONS)}.",
                    {"enum": list(statistics.FUNCTIONS)},
                    repeated=True,
                    example=["avg"],
                ),
                Parameter(
                    "aggregate.param",
                    "Ceilometer's; only empty ones are taken.",
                    {"const": ""},
                    repeated=True,
                ),
                Parameter(
                    "limit", "How many to give.", {**COUNT, "maximum": statistics.MOST_OBJECTS}
                ),
            ],
            answers={200: Answer("The statistics.", list_of("Statistics"))},
        ),
    },
}


def schemas() -> dict[str, Any]:
    """Give the schemas of samples and statistics."""
    made = plain([wire.HttpSample, wire.BusSample])
    return {
        **made,
        "Accepted": _ACCEPTED,
        "Statistics": _STATISTICS,
    }


_ACCEPTED = {
    "description": "How many samples the request had.",
    "type": "object",
    "properties": {"accepted": {"type": "integer", "minimum": 0}},
    "required": ["accepted"],
    "additionalProperties": False,
}
_INSTANT = {"type": "string", "description": "UTC, without an offset."}
_STATISTICS = {
    "description": "The statistics of one period, in Ceilometer's shape.",
    "type": "object",
    "properties": {
        **{name: {"type": "number"} for name in statistics.FUNCTIONS},
        "aggregate": {
            "description": "The chosen functions once more; only if some were chosen.",
            "type": "object",
            "additionalProperties": {"type": "number"},
        },
        "unit": {"type": "string"},
        "period": {"type": "integer", "minimum": 0},
        "period_start": _INSTANT,
        "period_end": _INSTANT,
        "duration": {"type": "number", "minimum": 0},
        "duration_start": _INSTANT,
        "duration_end": _INSTANT,
        "groupby": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
    },
    "required": [
        "unit",
        "period",
        "period_start",
        "period_end",
        "duration",
        "duration_start",
        "duration_end",
        "groupby",
    ],
    "additionalProperties": False,
}
