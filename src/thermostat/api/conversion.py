# SPDX-License-Identifier: Apache-2.0
"""From JSON to typed values, with errors that name the field."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from thermostat.api.errors import bad_field

Value = TypeVar("Value")


def convert(document: Any, kind: type[Value], name: str = "") -> Value:
    """Give a typed value; numbers and booleans may be text. Raises the 400 that names the field."""
    try:
        return msgspec.convert(document, kind, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        path = path.rstrip("`").lstrip(".")
        missing = reason.removeprefix("Object missing required field `").rstrip("`")
        if missing != reason.rstrip("`"):
            path, reason = ".".join(filter(None, (path, missing))), "Mandatory field missing."
        unknown = reason.removeprefix("Object contains unknown field `").rstrip("`")
        if unknown != reason.rstrip("`"):
            path, reason = ".".join(filter(None, (path, unknown))), "Unknown attribute."
        if reason.startswith("Invalid enum value"):
            allowed = dict.fromkeys(_words(inspect.type_info(kind), re.findall(r"\w+|\[", path)))
            reason = f"{reason}: it is none of {', '.join(allowed)}"
        raise bad_field(".".join(filter(None, (name, path))) or "body", reason) from error


def given(document: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Leave out this kind's fields that are null: it means the default.

    A name that the kind does not have stays, to be refused.
    """
    known = kind.__struct_encode_fields__
    return {
        field: value for field, value in document.items() if value is not None or field not in known
    }


def _words(kind: inspect.Type, path: list[str]) -> Iterator[str]:
    """Give what may stand at this path of a type; its parts are names of fields, and brackets."""
    match kind:
        case inspect.Metadata():
            yield from _words(kind.type, path)
        case inspect.UnionType():
            for one in kind.types:
                yield from _words(one, path)
        case inspect.EnumType() if not path:
            yield from (str(member.value) for member in kind.cls)
        case inspect.LiteralType() if not path:
            yield from map(str, kind.values)
        case inspect.StructType():
            for field in kind.fields:
                if path[:1] == [field.encode_name]:
                    yield from _words(field.type, path[1:])
        case inspect.VarTupleType() | inspect.ListType() if path:
            yield from _words(kind.item_type, path[1:] if path[0] != "[" else path[2:])
