# SPDX-License-Identifier: Apache-2.0
"""`/v2/capabilities` and `/v2/metrics` in the description."""

from typing import Any

from thermostat.alarms.model import State
from thermostat.api.openapi.operation import Answer, Operation, Operations, Parameter, ref
from thermostat.api.params import BOOLEAN_WORDS

TAG = "server"

OPERATIONS: Operations = {
    "/v2/capabilities": {
        "GET": Operation(
            name="getCapabilities",
            summary="Learn what the API can do, and what it has beyond Aodh.",
            answers={200: Answer("What it can do.", ref("Capabilities"))},
            errors=[400],
        )
    },
    "/v2/metrics": {
        "GET": Operation(
            name="getMetrics",
            summary="Read how often alarms were found in each state.",
            description="403 where `enable_evaluation_results_metrics` is off, as it is by "
            "default.",
            parameters=[
                Parameter(
                    "all_projects",
                    "Whether alarms of all projects are meant.",
                    {"enum": list(BOOLEAN_WORDS)},
                )
            ],
            answers={200: Answer("The counts.", ref("Metrics"))},
        )
    },
}

_FLAGS = {"type": "object", "additionalProperties": {"type": "boolean"}}
_COUNT = {"type": "integer", "minimum": 0}


def schemas() -> dict[str, Any]:
    """Give the schemas of both."""
    return {
        "Capabilities": {
            "type": "object",
            "properties": {"api": _FLAGS, "alarm_storage": _FLAGS},
            "required": ["api", "alarm_storage"],
            "additionalProperties": False,
        },
        "Metrics": {
            "type": "object",
            "properties": {
                "evaluation_results": {"type": "array", "items": ref("EvaluationResult")}
            },
            "required": ["evaluation_results"],
            "additionalProperties": False,
        },
        "EvaluationResult": {
            "type": "object",
            "properties": {
                "alarm_id": {"type": "string"},
                "project_id": {"type": "string"},
                "state_counters": {
                    "type": "object",
                    "properties": {state.value: _COUNT for state in State},
                    "required": [state.value for state in State],
                    "additionalProperties": False,
                },
            },
            "required": ["alarm_id", "project_id", "state_counters"],
            "additionalProperties": False,
        },
    }
