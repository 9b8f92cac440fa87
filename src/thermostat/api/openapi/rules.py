# SPDX-License-Identifier: Apache-2.0
"""The rules of alarms in the description: one schema per type, for requests and for answers."""

import re
from collections.abc import Mapping
from typing import Any

from thermostat.alarms.events import EventCondition
from thermostat.alarms.query import METADATA_PREFIXES, PLAIN_FIELDS
from thermostat.alarms.rules import RULE_TYPES
from thermostat.alarms.texts import NO_NUL
from thermostat.api.composite import (
    CONNECTIVES,
    FEWEST_OPERANDS,
    MAX_DEPTH,
    MAX_PARTS,
    SUB_TYPES,
    CombinationForm,
)
from thermostat.api.openapi.operation import ref
from thermostat.api.openapi.schemas import (
    answered,
    nullable,
    plain,
    requested,
)
from thermostat.api.threshold import QueryTerm

_ID = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": NO_NUL}
_FIELD = "^({}|{})".format(
    "|".join(f"{name}$" for name in PLAIN_FIELDS),
    "|".join(re.escape(prefix) for prefix in METADATA_PREFIXES),
)
_TERMS = {"threshold": "QueryTerm", "event": "EventTerm"}
"""The types whose conditions are read more leniently than they are kept."""

Schemas = dict[str, dict[str, Any]]


def name_of(kind: str) -> str:
    """Give the name of the schema of this type's rule in answers."""
    return RULE_TYPES[kind].__name__


def request_name_of(kind: str) -> str:
    """Give the name of the schema of this type's rule in requests."""
    return f"{name_of(kind)}Request"


def schemas() -> Schemas:
    """Give the schemas of all rules, and of what they are made of."""
    made = plain([*RULE_TYPES.values(), QueryTerm, EventCondition, CombinationForm])
    kept = {
        name: schema
        for name, schema in made.items()
        if "enum" in schema or name in {"Condition", "EventCondition"}
    }
    kept["QueryTerm"] = _term(made["QueryTerm"])
    kept["QueryTerm"]["properties"]["field"] |= {"pattern": _FIELD}
    kept["EventTerm"] = _term(kept["EventCondition"])
    kept["EventTerm"]["properties"]["value"]["type"] = ["string", "number", "boolean"]
    for name in ("Condition", "EventCondition"):
        kept[name] = answered(kept[name])
    for kind, rule in RULE_TYPES.items():
        schema = made[rule.__name__]
        if kind == "composite":
            continue
        kept[name_of(kind)] = _without_tag(answered(schema))
        form = made["CombinationForm"] if kind == "combination" else schema
        wanted = _without_tag(requested(form, nulls=True))
        if kind == "combination":
            wanted["properties"]["alarm_ids"] |= {"uniqueItems": True}
        if kind == "event":  # an empty one means every type
            wanted["properties"]["event_type"] |= {"minLength": 0}
        if kind in _TERMS:
            wanted["properties"]["query"] |= {"items": ref(_TERMS[kind])}
        kept[request_name_of(kind)] = wanted
    return kept | _composite(kept)


def _term(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give the schema of a condition; an empty operator means the default, as null does."""
    made = requested(schema, nulls=True)
    made["properties"]["op"]["anyOf"].append({"const": ""})
    made["properties"]["field"] |= {"minLength": 1}
    return made


def _without_tag(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out the member that tells types apart in the database only."""
    return {
        **schema,
        "properties": {name: one for name, one in schema["properties"].items() if name != "type"},
        "required": [name for name in schema["required"] if name != "type"],
    }


def _composite(rules: Schemas) -> Schemas:
    """Give the schemas of composite rules, in Aodh's nested form."""
    made: Schemas = {}
    for ending in ("Request", ""):
        parts = []
        for kind in SUB_TYPES:
            if kind == "alarm":
                continue
            name = name_of(kind) + ending
            rule = rules[name]
            made[f"Sub{name}"] = {
                **rule,
                "properties": {"type": {"const": kind}, **rule["properties"]},
                "required": ["type", *rule["required"]],
            }
            parts.append(f"Sub{name}")
        parts += [f"{word}{ending}" for word in ("And", "Or", "Not", "Reference")]
        part = f"CompositePart{ending}"
        made[part] = {
            "description": f"Parts are nested at most {MAX_DEPTH} deep; a rule has at most "
            f"{MAX_PARTS} sub-rules and references.",
            "oneOf": [ref(name) for name in parts],
        }
        made |= _connectives(part, ending)
        for name in parts:
            if ending:
                made[name] = _with_nulls(made[name])
        made[f"CompositeRule{ending}"] = {
            "description": "Combine the states of sub-rules and of other alarms.",
            "oneOf": [_with_suppressor(made[name], may_be_null=bool(ending)) for name in parts],
        }
    return made


def _connectives(part: str, ending: str) -> Schemas:
    many = {"type": "array", "items": ref(part), "minItems": FEWEST_OPERANDS}
    operands = {
        "And": ("and", many, "In state alarm where all parts are, ok where one is."),
        "Or": ("or", many, "In state alarm where one part is, ok where all are."),
        "Not": ("not", ref(part), "The opposite of its part: ok for alarm, alarm for ok."),
    }
    made: Schemas = {
        f"{name}{ending}": {
            "description": text,
            "type": "object",
            "properties": {word: operand},
            "required": [word],
            "additionalProperties": False,
        }
        for name, (word, operand, text) in operands.items()
    }
    made[f"Reference{ending}"] = {
        "description": "The state of another alarm of the same project.",
        "type": "object",
        "properties": {
            "type": {"const": "alarm"},
            "alarm_id": {**_ID, "description": "The id of the alarm."},
        },
        "required": ["type", "alarm_id"],
        "additionalProperties": False,
    }
    return made


def _with_nulls(part: Mapping[str, Any]) -> dict[str, Any]:
    """Give the part of a request, in which the words that join parts may be null."""
    absent = {word: {"type": "null"} for word in CONNECTIVES}
    return {**part, "properties": absent | part["properties"]}


def _with_suppressor(part: Mapping[str, Any], *, may_be_null: bool) -> dict[str, Any]:
    """Give the outermost part of a rule, beside which there may be a suppressor."""
    suppressor = {
        **_ID,
        "description": "The id of an alarm: while it is in state alarm, actions are withheld.",
    }
    if may_be_null:
        suppressor = nullable(suppressor)
    return {**part, "properties": {**part["properties"], "suppressor": suppressor}}
