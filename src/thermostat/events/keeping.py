# SPDX-License-Identifier: Apache-2.0
"""What is kept of an event in histories and notifications: the whole, if it is not too large."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

MAX_BYTES = 16_384
"""How long an event's JSON may be; of a longer one the rest is left out."""
MAX_TEXT = 255
"""Characters that are then left of a text."""
MAX_NUMBER = 2**63
MAX_DEPTH = 20


def kept(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give a document that can be written as JSON of at most `MAX_BYTES`.

    One from which something was left out says so, in a field `truncated`.
    """
    if (length := _length(document)) is not None and length <= MAX_BYTES:
        return dict(document)
    short: dict[str, Any] = {
        name: _plain(value)
        for name, value in document.items()
        if name != "traits" and isinstance(value, str | int | float)
    }
    short |= {"traits": [], "truncated": True}
    length = _length(short) or 0
    for trait in document.get("traits") or ():
        plain = _plain(trait)
        length += (_length(plain) or 0) + 1
        if length > MAX_BYTES:
            break
        short["traits"].append(plain)
    return short


def _length(value: Any) -> int | None:
    """Give the bytes of a value's JSON; None if it has none."""
    try:
        return len(msgspec.json.encode(value))
    except (ValueError, OverflowError, RecursionError):
        return None


def _plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Give a value with short texts and small numbers only, or null for what cannot be told."""
    if isinstance(value, str):
        return value[:MAX_TEXT].encode("utf-8", "replace").decode()
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) and abs(value) < MAX_NUMBER else None
    if isinstance(value, list | tuple) and depth:
        return [_plain(item, depth - 1) for item in value]
    return None
