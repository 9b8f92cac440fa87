# SPDX-License-Identifier: Apache-2.0
"""What anybody may read, without a token, in the description."""

from typing import Any

from thermostat.api.openapi.operation import Answer, Operation, Operations, ref

TAG = "public"

OPERATIONS: Operations = {
    "/": {
        "GET": Operation(
            name="getVersions",
            summary="Learn which versions of the API there are.",
            answers={200: Answer("The versions, in Aodh's form.", ref("Versions"))},
            is_public=True,
        )
    },
    "/v2": {
        "GET": Operation(
            name="getVersion",
            summary="Learn where version 2 of the API is.",
            answers={200: Answer("The version.", ref("VersionDocument"))},
            is_public=True,
        )
    },
    "/openapi.json": {
        "GET": Operation(
            name="getDescription",
            summary="Read this description of the API.",
            answers={200: Answer("An OpenAPI 3.1 document.", {"type": "object"})},
            is_public=True,
        )
    },
    "/healthcheck": {
        "GET": Operation(
            name="getHealth",
            summary="Learn whether every part works.",
            answers={
                200: Answer("All parts work.", ref("Health")),
                503: Answer("Some part fails; the reasons are there.", ref("Health")),
            },
            is_public=True,
        )
    },
    "/metrics": {
        "GET": Operation(
            name="getFigures",
            summary="Read the server's own figures; no tenant's data is among them.",
            answers={
                200: Answer("Prometheus' text form.", {"type": "string"}, media_type="text/plain")
            },
            is_public=True,
        )
    },
}


def schemas() -> dict[str, Any]:
    """Give the schemas of what is public."""
    return {
        "Versions": {
            "type": "object",
            "properties": {
                "versions": {
                    "type": "object",
                    "properties": {"values": {"type": "array", "items": ref("Version")}},
                    "required": ["values"],
                }
            },
            "required": ["versions"],
        },
        "VersionDocument": {
            "type": "object",
            "properties": {"version": ref("Version")},
            "required": ["version"],
        },
        "Version": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "status": {"type": "string"},
                "updated": {"type": "string", "format": "date-time"},
                "links": {"type": "array", "items": {"type": "object"}},
                "media-types": {"type": "array", "items": {"type": "object"}},
            },
            "required": ["id", "status", "links"],
        },
        "Health": {
            "type": "object",
            "properties": {
                "status": {"enum": ["ok", "degraded", "failing"]},
                "reasons": {
                    "description": "By part, why it does not work.",
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                },
            },
            "required": ["status", "reasons"],
            "additionalProperties": False,
        },
    }
