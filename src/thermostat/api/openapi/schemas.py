# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of the code's own types: what a request may have, and what an answer has.

Requests are read leniently (`api.conversion`): numbers and booleans may be text, and where the
decoder leaves nulls out, null means the default. A request's schema says so.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from thermostat.api.openapi.operation import Schema

NUMBER_TEXT = "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?$"
NUMBER_TEXT_OR_NULL = f"{NUMBER_TEXT}|^[nN][uU][lL][lL]$"
BOOLEAN_TEXT = "^([01]|[tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$"
_TEMPLATE = "#/components/schemas/{name}"
_LENIENT: Mapping[str, Schema] = {
    "integer": {"type": ["integer", "string"], "pattern": NUMBER_TEXT},
    "number": {"type": ["number", "string"], "pattern": NUMBER_TEXT},
    "boolean": {
        "type": ["boolean", "integer", "string"],
        "minimum": 0,
        "maximum": 1,
        "pattern": BOOLEAN_TEXT,
    },
}


def plain(kinds: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Give the schemas of these types and of all that they are made of, by name.

    They are strict, as answers are; the descriptions are the docstrings of types and fields.
    """
    kinds = list(kinds)
    _, components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    named = {name.lstrip("_"): schema for name, schema in components.items()}
    for struct in _structs(msgspec.inspect.multi_type_info(kinds)):
        schema = named[struct.__name__.lstrip("_")]
        said = field_docs(struct)
        for field in msgspec.structs.fields(struct):
            if field.name in said and field.encode_name in schema["properties"]:
                schema["properties"][field.encode_name].setdefault("description", said[field.name])
    return {name: _renamed(schema) for name, schema in named.items()}


def answered(schema: Schema) -> dict[str, Any]:
    """Give the schema of an object that always has all its members and no others."""
    properties = {
        name: {key: value for key, value in member.items() if key != "default"}
        for name, member in schema["properties"].items()
    }
    return {
        **schema,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def requested(schema: Schema, *, nulls: bool) -> dict[str, Any]:
    """Give the schema of an object in a request; with `nulls`, null means the default."""
    required = schema.get("required", [])
    properties = {}
    for name, member in schema["properties"].items():
        given = lenient(member)
        if nulls and name not in required:
            given = nullable(given)
        if given.get("default", "") is None:
            del given["default"]
        properties[name] = given
    return {**schema, "properties": properties}


def lenient(schema: Schema) -> dict[str, Any]:
    """Give the schema of what is read for this: numbers and booleans may be text."""
    made = dict(schema)
    kind = made.get("type")
    if "enum" not in made and isinstance(kind, str) and kind in _LENIENT:
        made |= _LENIENT[kind]
    if "items" in made:
        made["items"] = lenient(made["items"])
    if "anyOf" in made:
        others = [one for one in made["anyOf"] if one != {"type": "null"}]
        if len(others) == len(made["anyOf"]) or len(others) != 1:
            return made  # text is one of its own kinds
        del made["anyOf"]
        made = nullable({**made, **lenient(others[0])})
        if made.get("pattern") == NUMBER_TEXT:
            made["pattern"] = NUMBER_TEXT_OR_NULL
    return made


def nullable(schema: Schema) -> dict[str, Any]:
    """Give the schema of the same, or null."""
    made = dict(schema)
    kinds = made.get("type")
    if kinds is None or "enum" in made:
        said: dict[str, Any] = {
            key: made.pop(key) for key in ("description", "default") if key in made
        }
        if "anyOf" in made and len(made) == 1:
            return {"anyOf": [*made["anyOf"], {"type": "null"}], **said}
        return {"anyOf": [made, {"type": "null"}], **said}
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    return {**made, "type": kinds if "null" in kinds else [*kinds, "null"]}


def field_docs(struct: type) -> dict[str, str]:
    """Give the docstrings of a struct's fields, those it inherits too, by name."""
    said: dict[str, str] = {}
    for cls in reversed(struct.__mro__):
        if cls.__module__.partition(".")[0] == "thermostat":
            said |= _own_docs(cls)
    return said


def _own_docs(cls: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - for the type checker
    said = {}
    for field, following in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            said[field.target.id] = inspect.cleandoc(str(following.value.value))
    return said


def _structs(infos: Iterable[Any]) -> Iterator[type[msgspec.Struct]]:
    """Give each struct within these types."""
    seen: set[type] = set()
    waiting = list(infos)
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info.cls
            waiting += [field.type for field in info.fields]
        for inner in ("types", "item_types"):
            waiting += getattr(info, inner, ())
        for inner in ("type", "item_type", "key_type", "value_type"):
            if hasattr(info, inner):
                waiting.append(getattr(info, inner))


def _renamed(node: Any) -> Any:
    """Leave out the underscore of private types' names, and titles, which only repeat names."""
    if isinstance(node, dict):
        return {
            key: value.replace("schemas/_", "schemas/") if key == "$ref" else _renamed(value)
            for key, value in node.items()
            if key != "title" or not isinstance(value, str)
        }
    return [_renamed(one) for one in node] if isinstance(node, list) else node
