# SPDX-License-Identifier: Apache-2.0
"""What the description says of one operation: a small table per resource is made of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]
"""A JSON schema, as OpenAPI 3.1 has it."""

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter; those of the path are found in the path."""

    name: str
    description: str
    schema: Schema
    repeated: bool = False
    """Whether it may be given several times."""
    example: Any = None


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body."""

    schema: Schema
    examples: Mapping[str, Any] = field(default_factory=dict)
    """By a word or two that say what it is, bodies that are accepted."""
    also: Mapping[str, Schema] = field(default_factory=dict)
    """Other media types that are taken, with their schemas."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer."""

    description: str
    schema: Schema | None = None
    """None: there is no body."""
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name, what a header says."""
    links: Mapping[str, Schema] = field(default_factory=dict)
    """OpenAPI's links: what to do with the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    name: str
    """The `operationId`."""
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    errors: Sequence[int] = ()
    """Statuses of refusals, beside those that follow from the rest."""
    is_public: bool = False
    """Whether it needs no token."""
    takes_password: bool = False
    """Whether HTTP Basic may stand in place of the token, where the operator allows it."""


Operations = Mapping[str, Mapping[str, Operation]]
"""The operations of a noun, by path and method."""


def ref(name: str) -> Schema:
    """Point to a schema of the description by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(name: str) -> Schema:
    """Describe an array of what has this name."""
    return {"type": "array", "items": ref(name)}
