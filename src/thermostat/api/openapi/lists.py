# SPDX-License-Identifier: Apache-2.0
"""The query parameters of lists."""

from collections.abc import Collection, Sequence

from thermostat.alarms.query import Operator
from thermostat.alarms.texts import NO_NUL
from thermostat.api.listing import MAX_LIMIT
from thermostat.api.openapi.operation import Parameter, Schema
from thermostat.api.params import VALUE_TYPES

COUNT = {"type": "integer", "minimum": 1}


def filters(
    fields: Collection[str] | None, operators: Sequence[Operator], example: tuple[str, str, str]
) -> list[Parameter]:
    """Give the parameters of a query: `q.field`, `q.op` and `q.value` are given equally often."""
    field: Schema = {"type": "string"} if fields is None else {"enum": list(fields)}
    words = ", ".join(f"`{operator}`" for operator in operators)
    return [
        Parameter("q.field", "What to compare.", field, repeated=True, example=[example[0]]),
        Parameter(
            "q.op",
            f"How: {words}. Left out of all terms, or empty, it is `eq`.",
            {"enum": [*operators, ""]},
            repeated=True,
            example=[example[1]],
        ),
        Parameter(
            "q.value",
            "With what; as many as there are `q.field`.",
            {"type": "string", "pattern": NO_NUL},
            repeated=True,
            example=[example[2]],
        ),
        Parameter(
            "q.type",
            "Of what type the value is; left out, or empty, it is what its field is.",
            {"enum": [*VALUE_TYPES, ""]},
            repeated=True,
        ),
    ]


def pages(keys: Collection[str], marker: str) -> list[Parameter]:
    """Give the parameters that sort a list and cut it into pages."""
    words = "|".join(keys)
    return [
        Parameter(
            "sort",
            f"`key`, `key:asc` or `key:desc`, repeated or with commas; keys are "
            f"{', '.join(f'`{key}`' for key in keys)}.",
            {
                "type": "string",
                "pattern": f"^(({words})(:(asc|desc)?)?)?(,(({words})(:(asc|desc)?)?)?)*$",
            },
            repeated=True,
            example=[f"{next(iter(keys))}:asc"],
        ),
        Parameter("limit", "How many to give.", {**COUNT, "maximum": MAX_LIMIT}, example=1),
        Parameter("marker", f"{marker} after which to go on.", {"type": "string"}),
    ]
