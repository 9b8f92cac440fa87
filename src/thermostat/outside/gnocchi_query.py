# SPDX-License-Identifier: Apache-2.0
"""Gnocchi's query language for resources, as JSON. Pure: no I/O, no clock."""

from collections.abc import Mapping
from typing import Any

import msgspec

DEEPEST = 20
"""How deep the parts of a query may be nested."""
_COMPARISONS = frozenset(
    ("=", "==", "eq", "<", "lt", ">", "gt", "<=", "≤", "le", ">=", "≥", "ge", "!=", "≠", "ne")
)
_JOINS = frozenset(("and", "or", "\u2227", "\u2228"))  # the signs of logic too


class GnocchiQueryError(ValueError):
    """A query that Gnocchi would not take; the message says why."""


def parsed(query: str) -> dict[str, Any]:
    """Give the query of JSON text. Raises GnocchiQueryError."""
    try:
        document = msgspec.json.decode(query)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise GnocchiQueryError(f"is no JSON: {error}") from None
    return _checked(document, 1)


def of_project(query: Mapping[str, Any], project_id: str, owner_id: str) -> dict[str, Any]:
    """Give the query for those of its resources that belong to the project, as Aodh scopes it.

    They were created by the project, or for it by the project of the agents, `owner_id`.
    """
    for_it = [{"=": {"created_by_project_id": owner_id}}, {"=": {"project_id": project_id}}]
    own = {"or": [{"=": {"created_by_project_id": project_id}}, {"and": for_it}]}
    return {"and": [own, query]} if query else own


def _checked(document: Any, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise GnocchiQueryError(f"is nested more than {DEEPEST} deep")
    if not isinstance(document, dict):
        raise GnocchiQueryError(f"has {_shown(document)} where an object must be")
    if not document:
        return document
    if len(document) > 1:
        raise GnocchiQueryError(f"has {len(document)} operators in one object: {_shown(document)}")
    [(operator, operand)] = document.items()
    if operator in _JOINS:
        if not isinstance(operand, list) or not operand:
            raise GnocchiQueryError(f"has no list of queries after {_shown(operator)}")
        for part in operand:
            _checked(part, depth + 1)
    elif operator == "not":
        _checked(operand, depth + 1)
    else:
        _check_comparison(operator, operand)
    return document


def _check_comparison(operator: str, operand: Any) -> None:
    if operator not in _COMPARISONS and operator not in ("like", "in"):
        raise GnocchiQueryError(f"has the unknown operator {_shown(operator)}")
    if not isinstance(operand, dict) or len(operand) != 1:
        raise GnocchiQueryError(f"must have one attribute and its value after {_shown(operator)}")
    [(attribute, value)] = operand.items()
    values = value if operator == "in" else [value]
    if not isinstance(values, list) or not values:
        raise GnocchiQueryError(f"must have a list of values for {_shown(attribute)}")
    for one in values:
        if isinstance(one, dict | list):
            raise GnocchiQueryError(f"has {_shown(one)} as a value of {_shown(attribute)}")
    if attribute == "id" and (operator == "like" or not all(isinstance(v, str) for v in values)):
        raise GnocchiQueryError("can compare id with texts only, and not by like")


def _shown(value: Any) -> str:
    return f"{msgspec.json.encode(value).decode():.100}"
