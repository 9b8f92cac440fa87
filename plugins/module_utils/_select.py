# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# SPDX-License-Identifier: BSD-2-Clause
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)

# Private to this collection.
"""Select alarms by what their definitions say. No I/O."""

from __future__ import annotations

import fnmatch
import operator

OPERATORS = {
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
    "ge": operator.ge,
    "gt": operator.gt,
}
METADATA_PREFIXES = ("resource_metadata.", "metadata.")
# Both are what Ceilometer's users wrote for the keys of Nova's metering.*.
USER_PREFIXES = ("user_metadata.", "metering.")


def metadata_query(matching_metadata):
    """Give the query that a template's C(matching_metadata) stands for."""
    return [
        {"field": _prefixed(key), "op": "eq", "value": str(value)}
        for key, value in (matching_metadata or {}).items()
    ]


def matches(alarm, name=None, query=(), matching_metadata=None):
    """Tell whether an alarm meets all that is given.

    A query's fields are those of the alarm or of its rule. A field C(metadata.<key>) stands for the
    values that the rule's own query requires of that key.
    """
    if name is not None and not fnmatch.fnmatchcase(alarm["name"], name):
        return False
    conditions = list(query) + metadata_query(matching_metadata)
    return all(_meets(alarm, condition) for condition in conditions)


def _meets(alarm, condition):
    field, op, wanted = condition["field"], condition.get("op") or "eq", condition["value"]
    values = [_comparable(value, wanted) for value in _values(alarm, field)]
    if op == "ne":
        return not any(left == right for left, right in values)
    return any(OPERATORS[op](left, right) for left, right in values)


def _values(alarm, field):
    """Give what an alarm has in this field: nothing, a value, or several."""
    rule = alarm.get(f"{alarm.get('type')}_rule") or {}
    if field.startswith(METADATA_PREFIXES):
        key = _bare(field)
        terms = rule.get("query") or []
        return [
            term["value"]
            for term in terms
            if isinstance(term, dict)
            and term.get("op", "eq") == "eq"
            and term["field"].startswith(METADATA_PREFIXES)
            and _bare(term["field"]) == key
        ]
    if field in alarm:
        return [alarm[field]]
    return [rule[field]] if field in rule else []


def _comparable(actual, wanted):
    """Bring both sides to one type: the actual value's, or text."""
    if isinstance(actual, bool):
        return str(actual).lower(), str(wanted).lower()
    if isinstance(actual, (int, float)):
        try:
            return float(actual), float(wanted)
        except ValueError:
            pass
    return str(actual), str(wanted)


def _prefixed(key):
    """Give the field for a key; a bare key is one of Nova's metering.*, as in a Heat template."""
    if key.startswith(METADATA_PREFIXES):
        return key
    return f"metadata.{key}" if key.startswith(USER_PREFIXES) else f"metadata.user_metadata.{key}"


def _bare(field):
    """Give a metadata field's key; both names of Nova's metering.* keys become one."""
    key = field.split(".", 1)[1]
    return f"user_metadata.{key[len('metering.'):]}" if key.startswith("metering.") else key
