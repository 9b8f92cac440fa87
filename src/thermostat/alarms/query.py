# SPDX-License-Identifier: Apache-2.0
"""Queries: the conditions that select a group of resources.

A field is `resource_id`, `project_id`, `user_id`, `source`, or `metadata.<path>`. Both prefixes
that users of Ceilometer wrote for the keys of Nova's `metering.*`, `metadata.user_metadata.`
and `metadata.metering.`, mean the same here.
"""

import operator
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

PLAIN_FIELDS = ("resource_id", "project_id", "user_id", "source")
METADATA_PREFIXES = ("metadata.", "resource_metadata.")


class Operator(StrEnum):
    """A comparison; the values are Aodh's and Ceilometer's."""

    LT = "lt"
    LE = "le"
    EQ = "eq"
    NE = "ne"
    GE = "ge"
    GT = "gt"

    def holds(self, left: Any, right: Any) -> bool:
        """Tell whether `left <operator> right`."""
        return bool(_FUNCTIONS[self](left, right))

    @property
    def symbol(self) -> str:
        """The mathematical sign, for sentences."""
        return _SYMBOLS[self]


_FUNCTIONS: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.GE: operator.ge,
    Operator.GT: operator.gt,
}
_SYMBOLS = {
    Operator.LT: "<",
    Operator.LE: "≤",
    Operator.EQ: "=",
    Operator.NE: "≠",
    Operator.GE: "≥",
    Operator.GT: ">",
}


class QueryError(ValueError):
    """A condition cannot be understood; the message names the field and the reason."""


class Condition(msgspec.Struct, frozen=True):
    """One term of a query: `field op value`. A query matches when all its conditions do."""

    field: str
    """`resource_id`, `project_id`, `user_id`, `source`, or `metadata.<key>`."""
    op: Operator
    """How the resource's value is compared."""
    value: str
    """What it is compared with, as text."""

    def __post_init__(self) -> None:
        if self.field not in PLAIN_FIELDS and not self.field.startswith(METADATA_PREFIXES):
            fields = ", ".join(PLAIN_FIELDS)
            raise QueryError(
                f"query field {self.field!r} is unknown: use one of {fields}, or metadata.<key>"
            )

    def matches(
        self,
        *,
        resource_id: str,
        project_id: str | None,
        user_id: str | None,
        source: str,
        metadata: Mapping[str, Any],
    ) -> bool:
        """Tell whether a resource meets this condition; an absent value meets none but `ne`."""
        if self.field.startswith(METADATA_PREFIXES):
            path = self.field.split(".", 1)[1]
            actual = find_metadata(metadata, path)
        else:
            actual = {
                "resource_id": resource_id,
                "project_id": project_id,
                "user_id": user_id,
                "source": source,
            }[self.field]
        if actual is None:
            return self.op is Operator.NE
        return self.op.holds(*_comparable(actual, self.value))


def find_metadata(metadata: Mapping[str, Any], path: str) -> Any | None:
    """Give the value at a dotted path, or None. A key may contain dots itself."""
    if path.startswith("metering."):
        path = "user_metadata." + path.removeprefix("metering.")
    if path in metadata:
        return metadata[path]
    parts = path.split(".")
    for cut in range(1, len(parts)):
        inner = metadata.get(".".join(parts[:cut]))
        if isinstance(inner, Mapping):
            found = find_metadata(inner, ".".join(parts[cut:]))
            if found is not None:
                return found
    return None


def _comparable(actual: Any, wanted: str) -> tuple[Any, Any]:
    """Bring both sides to one type: the actual value's, or text."""
    if isinstance(actual, bool):
        return str(actual).lower(), wanted.lower()
    if isinstance(actual, int | float):
        try:
            return float(actual), float(wanted)
        except (ValueError, OverflowError):  # no number, or one beyond every float
            return str(actual), wanted
    return str(actual), wanted
