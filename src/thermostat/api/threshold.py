# SPDX-License-Identifier: Apache-2.0
"""Threshold rules as requests have them."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from thermostat.alarms.query import Condition, Operator, QueryError
from thermostat.alarms.rules import MAX_CONDITIONS, ThresholdRule
from thermostat.alarms.texts import Name, Value, Word
from thermostat.api.conversion import convert, given
from thermostat.api.errors import bad_field

_HOLDING_SIDE: Mapping[Operator, Operator] = {
    Operator.GT: Operator.LE,
    Operator.GE: Operator.LE,
    Operator.LT: Operator.GE,
    Operator.LE: Operator.GE,
}
"""On which side of the threshold an alarm may clear, by how datapoints are compared with it."""


class QueryTerm(msgspec.Struct, forbid_unknown_fields=True):
    """One condition as clients send it; `type` is Ceilometer's and not needed."""

    field: Name
    """`resource_id`, `project_id`, `user_id`, `source`, or `metadata.<key>`."""
    value: Value | int | float | bool
    """What the resource's value is compared with."""
    op: Operator = Operator.EQ
    """How it is compared; empty: `eq`."""
    type: Word = ""
    """Ceilometer's; it may be there and changes nothing."""


def decode_threshold(name: str, document: Mapping[str, Any]) -> ThresholdRule:
    """Give the rule of a JSON object that stands in this field. Raises the 400 that names it."""
    fields = given(document, ThresholdRule)
    query = fields.get("query", [])
    if not isinstance(query, list):
        raise bad_field(f"{name}.query", "must be a list of conditions")
    if len(query) > MAX_CONDITIONS:
        raise bad_field(f"{name}.query", f"has more than {MAX_CONDITIONS} conditions")
    fields["query"] = [
        _condition(f"{name}.query[{position}]", term) for position, term in enumerate(query)
    ]
    rule = convert(fields, ThresholdRule, name)
    _check_numbers(name, rule)
    if rule.needed > rule.evaluation_periods:
        raise bad_field(
            f"{name}.datapoints_to_alarm",
            f"{rule.needed} is more than evaluation_periods, {rule.evaluation_periods}",
        )
    return rule


def _check_numbers(name: str, rule: ThresholdRule) -> None:
    for field in ("threshold", "clear_threshold", "min_reporting_ratio"):
        value = getattr(rule, field)
        if value is not None and not math.isfinite(value):
            raise bad_field(f"{name}.{field}", "must be a finite number")
    if rule.clear_threshold is None:
        return
    compared = rule.comparison_operator
    side = _HOLDING_SIDE.get(compared)
    if side is None:
        raise bad_field(
            f"{name}.clear_threshold", f"makes no sense with comparison_operator {compared}"
        )
    if not side.holds(rule.clear_threshold, rule.threshold):
        raise bad_field(
            f"{name}.clear_threshold",
            f"with comparison_operator {compared} it must be {side.symbol} threshold, "
            f"{rule.threshold:g}, but it is {rule.clear_threshold:g}",
        )


def _condition(name: str, document: Any) -> Condition:
    if isinstance(document, dict):
        document = given(document, QueryTerm)
        if document.get("op") == "":  # it means the default
            del document["op"]
    term = convert(document, QueryTerm, name)
    value = str(term.value).lower() if isinstance(term.value, bool) else str(term.value)
    try:
        return Condition(term.field, term.op, value)
    except QueryError as error:
        raise bad_field(f"{name}.field", str(error)) from error
