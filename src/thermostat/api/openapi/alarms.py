# SPDX-License-Identifier: Apache-2.0
"""`/v2/alarms` in the description."""

from collections.abc import Mapping
from typing import Any

from thermostat.alarms.model import ACTION_FIELDS, State, TimeConstraint
from thermostat.alarms.query import Operator
from thermostat.alarms.rules import RULE_TYPES
from thermostat.api import alarm_form, alarms, preview
from thermostat.api.actions import MAX_URL
from thermostat.api.openapi import examples, rules
from thermostat.api.openapi.lists import filters, pages
from thermostat.api.openapi.operation import Answer, Body, Operation, Operations, list_of, ref
from thermostat.api.openapi.schemas import answered, nullable, plain, requested
from thermostat.db.history import Change, Event

TAG = "alarms"
INSTANT = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{6})?$",
}
"""An instant in answers: UTC, without an offset."""

_URL = {"type": "string", "maxLength": MAX_URL, "pattern": "^[^\\x00-\\x20\\x7f]+$"}
_ALARM = Answer("The alarm.", ref("Alarm"))
_STATE = Answer("The state, as a JSON string.", ref("State"))
_BY_ID = "$response.body#/alarm_id"
_LINKS = {
    name: {"operationId": name, "parameters": {"alarm_id": _BY_ID}}
    for name in ("getAlarm", "replaceAlarm", "getAlarmState", "getAlarmHistory", "deleteAlarm")
}

OPERATIONS: Operations = {
    "/v2/alarms": {
        "GET": Operation(
            name="listAlarms",
            summary="List alarms, by default the newest first.",
            description="Of the caller's project, unless an administrator asks for "
            "`all_projects`, or for another `project_id`.",
            parameters=[
                *filters(alarms.FILTERS, [Operator.EQ], ("severity", "eq", "moderate")),
                *pages(alarms.SORT_KEYS, "The id of the alarm"),
            ],
            answers={200: Answer("The alarms.", list_of("Alarm"))},
        ),
        "POST": Operation(
            name="createAlarm",
            summary="Create an alarm.",
            body=Body(ref("AlarmRequest"), examples.ALARMS),
            answers={
                201: Answer(
                    "The new alarm.",
                    ref("Alarm"),
                    headers={"Location": "The URL of the alarm."},
                    links=_LINKS,
                )
            },
        ),
    },
    "/v2/alarms/preview": {
        "POST": Operation(
            name="previewAlarm",
            summary="Learn what an alarm would have done.",
            description="The alarm is judged over stored samples; nothing is created or called.",
            body=Body(ref("AlarmPreviewRequest"), examples.PREVIEWS),
            answers={200: Answer("What it would have done.", ref("Preview"))},
        ),
    },
    "/v2/alarms/{alarm_id}": {
        "GET": Operation(name="getAlarm", summary="Read an alarm.", answers={200: _ALARM}),
        "PUT": Operation(
            name="replaceAlarm",
            summary="Replace an alarm's definition.",
            description="What is left out gets its default; the state stays unless the body has "
            "another one.",
            body=Body(ref("AlarmRequest"), examples.ALARMS),
            answers={200: _ALARM},
            errors=[409],
        ),
        "DELETE": Operation(
            name="deleteAlarm",
            summary="Delete an alarm, and its history.",
            answers={204: Answer("It is deleted.")},
        ),
    },
    "/v2/alarms/{alarm_id}/state": {
        "GET": Operation(
            name="getAlarmState", summary="Read an alarm's state.", answers={200: _STATE}
        ),
        "PUT": Operation(
            name="setAlarmState",
            summary="Set an alarm's state.",
            description="It is in the history, and calls no action.",
            body=Body(ref("State"), {"a state": State.OK.value}),
            answers={200: _STATE},
        ),
    },
    "/v2/alarms/{alarm_id}/history": {
        "GET": Operation(
            name="getAlarmHistory",
            summary="List what happened to an alarm, the newest first.",
            parameters=[
                *filters(alarms.EVENT_FIELDS, [Operator.EQ], ("type", "eq", "creation")),
                *pages(alarms.EVENT_SORT_KEYS, "The `event_id` of the event"),
            ],
            answers={200: Answer("The events.", list_of("Event"))},
        ),
    },
}


def schemas() -> dict[str, Any]:
    """Give the schemas of alarms, rules and history."""
    made = plain([alarm_form.Definition, TimeConstraint, preview.Span, Event])
    definition = made.pop("Definition")
    span = requested(made.pop("Span"), nulls=True)["properties"]
    made["TimeConstraintRequest"] = requested(made["TimeConstraint"], nulls=True)
    made["TimeConstraint"] = answered(made["TimeConstraint"])
    made["Event"] = _event(made["Event"])
    made["Alarm"] = _alarm(definition)
    made |= _requests("AlarmRequest", definition, {})
    made |= _requests("AlarmPreviewRequest", definition, span)
    made["Preview"], made["PreviewedTransition"] = _PREVIEW, _PREVIEWED
    return made | rules.schemas()


def _requests(name: str, definition: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Give the schema of an alarm in a request, and one for each type of rule."""
    form = requested(definition, nulls=True)
    form["properties"]["time_constraints"]["items"] = ref("TimeConstraintRequest")
    for field in ACTION_FIELDS:
        form["properties"][field]["items"] = _URL
    made: dict[str, Any] = {
        name: {
            "oneOf": [ref(_name(kind, name)) for kind in RULE_TYPES],
            "discriminator": {
                "propertyName": "type",
                "mapping": {
                    kind: f"#/components/schemas/{_name(kind, name)}" for kind in RULE_TYPES
                },
            },
        }
    }
    for kind in RULE_TYPES:
        others = {f"{other}_rule": {"type": "null"} for other in RULE_TYPES if other != kind}
        made[_name(kind, name)] = {
            "type": "object",
            "properties": {
                **form["properties"],
                "type": {"const": kind},
                f"{kind}_rule": ref(rules.request_name_of(kind)),
                **others,
                **more,
            },
            "required": ["name", "type", f"{kind}_rule"],
            "additionalProperties": False,
        }
    return made


def _name(kind: str, ending: str) -> str:
    return rules.name_of(kind).removesuffix("Rule") + ending


def _alarm(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Give the schema of an alarm in an answer."""
    made = answered(definition)
    properties = made["properties"]
    properties["type"] = {**properties["type"], "enum": list(RULE_TYPES)}
    for field in ("timestamp", "state_timestamp", "evaluate_timestamp"):
        properties[field] = {**properties[field], **INSTANT}
    properties["evaluate_timestamp"] = nullable(properties["evaluate_timestamp"])
    for kind in RULE_TYPES:
        properties[f"{kind}_rule"] = ref(rules.name_of(kind))
    made["required"] = [name for name in made["required"] if name != "trust_error"]
    return {
        **made,
        "description": "An alarm; it has the rule of its type and no other.",
        "oneOf": [
            {"properties": {"type": {"const": kind}}, "required": [f"{kind}_rule"]}
            for kind in RULE_TYPES
        ],
    }


def _event(kept: Mapping[str, Any]) -> dict[str, Any]:
    made = answered(kept)
    properties = dict(made["properties"])
    properties["timestamp"] = {**INSTANT, "description": "When it happened."}
    del properties["timestamp_us"]
    properties["type"] = {"enum": list(Change)}
    return {**made, "properties": properties, "required": list(properties)}


_PREVIEWED = {
    "description": "A transition that the alarm would have made.",
    "type": "object",
    "properties": {
        "timestamp": INSTANT,
        "previous": ref("State"),
        "state": ref("State"),
        "suppressed": {"type": "boolean"},
        "reason": {"type": "string"},
        "reason_data": {"type": "object"},
    },
    "required": ["timestamp", "previous", "state", "suppressed", "reason", "reason_data"],
    "additionalProperties": False,
}
_PREVIEW = {
    "description": "What an alarm would have done.",
    "type": "object",
    "properties": {
        "transitions": {"type": "array", "items": ref("PreviewedTransition")},
        "state": ref("State"),
        "state_reason": {"type": "string"},
        "evaluated_from": INSTANT,
        "evaluated_until": INSTANT,
        "samples": {"type": "integer", "minimum": 0},
        "series": {"type": "integer", "minimum": 0},
    },
    "required": [
        "transitions",
        "state",
        "state_reason",
        "evaluated_from",
        "evaluated_until",
        "samples",
        "series",
    ],
    "additionalProperties": False,
}
