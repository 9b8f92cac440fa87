# SPDX-License-Identifier: Apache-2.0
"""`/v2/silences` in the description."""

from typing import Any

from thermostat.api import silences
from thermostat.api.openapi.alarms import INSTANT
from thermostat.api.openapi.lists import COUNT
from thermostat.api.openapi.operation import (
    Answer,
    Body,
    Operation,
    Operations,
    Parameter,
    list_of,
    ref,
)
from thermostat.api.openapi.schemas import answered, lenient, plain
from thermostat.api.params import BOOLEAN_WORDS
from thermostat.db.silences import Status, Term

TAG = "silences"

_SILENCE = Answer("The silence.", ref("Silence"))
_BY_ID = "$response.body#/silence_id"
_LINKS = {
    name: {"operationId": name, "parameters": {"silence_id": _BY_ID}}
    for name in ("getSilence", "replaceSilence")  # an ended one is still there
}
EXAMPLE = {
    "matcher": [
        {"field": "name", "op": "regex", "value": "^web-"},
        {"field": "severity", "op": "ne", "value": "critical"},
    ],
    "until": "2199-01-01T06:00:00",
    "from": "2199-01-01T04:00:00",
    "comment": "the switches of row 4 are replaced",
}

OPERATIONS: Operations = {
    "/v2/silences": {
        "GET": Operation(
            name="listSilences",
            summary="List silences, those that end last first.",
            description="Of the caller's project, and those for all projects.",
            parameters=[
                Parameter("status", "Only those that stand so.", {"enum": list(Status)}),
                Parameter(
                    "all_projects",
                    "Those of every project; for administrators.",
                    {"enum": list(BOOLEAN_WORDS)},
                ),
                Parameter("limit", "How many to give.", {**COUNT, "maximum": silences.MOST_LISTED}),
            ],
            answers={200: Answer("The silences.", list_of("Silence"))},
        ),
        "POST": Operation(
            name="createSilence",
            summary="Create a silence.",
            body=Body(ref("SilenceRequest"), {"a silence": EXAMPLE}),
            answers={
                201: Answer(
                    "The new silence.",
                    ref("Silence"),
                    headers={"Location": "The URL of the silence."},
                    links=_LINKS,
                )
            },
        ),
    },
    "/v2/silences/{silence_id}": {
        "GET": Operation(name="getSilence", summary="Read a silence.", answers={200: _SILENCE}),
        "PUT": Operation(
            name="replaceSilence",
            summary="Replace a silence's definition: shorten, extend or edit it.",
            body=Body(ref("SilenceRequest"), {"a silence": EXAMPLE}),
            answers={200: _SILENCE},
            errors=[409],
        ),
        "DELETE": Operation(
            name="expireSilence",
            summary="Let a silence end now.",
            description="It is listed as expired for some days.",
            answers={204: Answer("The silence is over.")},
            errors=[409],
        ),
    },
}


def schemas() -> dict[str, Any]:
    """Give the schemas of silences."""
    made = plain([silences.Definition, silences.Shown, Term])
    asked, shown = made["Definition"], made["Shown"]
    instants = {name: {**shown["properties"][name], **INSTANT} for name in _INSTANTS}
    asked_for = {
        name: lenient(member) if name == "all_projects" else member
        for name, member in asked["properties"].items()
    }
    term = {**made["Term"], "additionalProperties": False}
    others = {
        name: schema
        for name, schema in made.items()
        if name not in ("Definition", "Shown", "Term", "Status", "Op")
    }
    return {
        **others,
        "SilenceRequest": _pointing({**asked, "properties": asked_for}),
        "Silence": _pointing(
            answered({**shown, "properties": {**shown["properties"], **instants}})
        ),
        "SilenceTerm": _pointing(term),
        "SilenceStatus": made["Status"],
        "SilenceOperator": made["Op"],
    }


_INSTANTS = ("from", "until", "created_at", "updated_at")
_NAMES = {"Term": "SilenceTerm", "Status": "SilenceStatus", "Op": "SilenceOperator"}


def _pointing(node: Any) -> Any:
    """Point to the schemas by the names that they have in the description."""
    if isinstance(node, dict):
        return {
            key: _renamed(value) if key == "$ref" else _pointing(value)
            for key, value in node.items()
        }
    return [_pointing(one) for one in node] if isinstance(node, list) else node


def _renamed(target: str) -> str:
    place, _, name = target.rpartition("/")
    return f"{place}/{_NAMES.get(name, name)}"
