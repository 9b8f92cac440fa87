# SPDX-License-Identifier: Apache-2.0
"""`/v2/quotas` in the description."""

from typing import Any

from thermostat.api import quotas
from thermostat.api.openapi.operation import Answer, Body, Operation, Operations, Parameter, ref
from thermostat.api.openapi.schemas import answered, plain, requested

TAG = "quotas"

_IN_FORCE = Answer("What is in force.", ref("Quotas"))

OPERATIONS: Operations = {
    "/v2/quotas": {
        "GET": Operation(
            name="getQuotas",
            summary="Read how many alarms the caller's project, or another, may have.",
            parameters=[
                Parameter(
                    "project_id",
                    "The project; without it, or empty, the caller's own.",
                    {"type": "string", "maxLength": 255},
                )
            ],
            answers={200: _IN_FORCE},
        ),
        "POST": Operation(
            name="setQuotas",
            summary="Set how many alarms a project may have.",
            body=Body(
                ref("QuotasRequest"),
                {
                    "a quota": {
                        "project_id": "p1",
                        "quotas": [{"resource": "alarms", "limit": 100}],
                    }
                },
            ),
            answers={201: _IN_FORCE},
        ),
    },
    "/v2/quotas/{project_id}": {
        "GET": Operation(
            name="getQuotasOfProject",
            summary="Read how many alarms a project may have.",
            answers={200: _IN_FORCE},
            errors=[400],
        ),
        "DELETE": Operation(
            name="deleteQuotas",
            summary="Let a project have as many alarms as is configured.",
            answers={204: Answer("The quota is deleted.")},
            errors=[400],
        ),
    },
}


def schemas() -> dict[str, Any]:
    """Give the schemas of quotas."""
    made = plain([quotas.Quotas])
    form, quota = made["Quotas"], made["Quota"]
    limits = {**form["properties"]["quotas"], "items": ref("QuotaRequest")}
    asked = requested({**form, "properties": {**form["properties"], "quotas": limits}}, nulls=False)
    return {
        "Quotas": answered(form),
        "Quota": answered(quota),
        "QuotasRequest": asked,
        "QuotaRequest": requested(quota, nulls=False),
    }
