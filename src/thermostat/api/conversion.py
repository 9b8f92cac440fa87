# SPDX-License-Identifier: Apache-2.0
"""From JSON to typed values, with errors that name the field."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

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
        raise bad_field(".".join(filter(None, (name, path))) or "body", reason) from error


def given(document: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Leave out this kind's fields that are null: it means the default.

    A name that the kind does not have stays, to be refused.
    """
    known = kind.__struct_encode_fields__
    return {
        field: value for field, value in document.items() if value is not None or field not in known
    }
