# SPDX-License-Identifier: Apache-2.0
"""Rules as requests, answers and the history have them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from thermostat.alarms.rules import (
    AlarmRef,
    AllOf,
    AnyOf,
    CombinationRule,
    CompositeRule,
    Expression,
    Leaf,
    Not,
    OutsideLeaf,
    Rule,
    ThresholdRule,
    rule_type,
)


class Reference(NamedTuple):
    """Another alarm that a rule names."""

    field: str
    """Where the rule names it, such as `composite_rule.or[1].alarm_id`."""
    alarm_id: str


def references(rule: Rule) -> Iterator[Reference]:
    """Give the other alarms that a rule names, from left to right."""
    field = f"{rule_type(rule)}_rule"
    if isinstance(rule, CombinationRule):
        for position, alarm_id in enumerate(rule.alarm_ids):
            yield Reference(f"{field}.alarm_ids[{position}]", alarm_id)
    elif isinstance(rule, CompositeRule):
        for place, part in parts(rule):
            if isinstance(part, AlarmRef):
                yield Reference(f"{place}.alarm_id", part.alarm_id)
        if rule.suppressor is not None:
            yield Reference(f"{field}.suppressor", rule.suppressor)


def parts(rule: CompositeRule) -> Iterator[tuple[str, Expression]]:
    """Give the sub-rules and references of a rule, and where it has them, from left to right."""
    yield from _within(rule.expression, f"{rule_type(rule)}_rule")


def _within(expression: Expression, field: str) -> Iterator[tuple[str, Expression]]:
    match expression:
        case Not(operand=operand):
            yield from _within(operand, f"{field}.not")
        case AllOf(operands=operands) | AnyOf(operands=operands):
            word = _word(expression)
            for position, operand in enumerate(operands):
                yield from _within(operand, f"{field}.{word}[{position}]")
        case _:
            yield field, expression


def encodable(rule: Rule) -> Any:
    """Give what becomes the same JSON as `shown`, sooner."""
    return rule if isinstance(rule, ThresholdRule) else shown(rule)


def shown(rule: Rule) -> dict[str, Any]:
    """Give the JSON object of a rule; a composite's is Aodh's nested form."""
    if not isinstance(rule, CompositeRule):
        document: dict[str, Any] = msgspec.to_builtins(rule)
        document.pop("type", None)  # an outside rule's own, which the alarm has already
        return document
    suppressor = {} if rule.suppressor is None else {"suppressor": rule.suppressor}
    return _shown(rule.expression) | suppressor


def _shown(expression: Expression) -> dict[str, Any]:
    match expression:
        case Leaf(rule=rule) | OutsideLeaf(rule=rule):
            return {"type": rule_type(rule), **msgspec.to_builtins(rule)}
        case AlarmRef(alarm_id=alarm_id):
            return {"type": "alarm", "alarm_id": alarm_id}
        case Not(operand=operand):
            return {"not": _shown(operand)}
        case AllOf(operands=operands) | AnyOf(operands=operands):
            return {_word(expression): [_shown(operand) for operand in operands]}


def _word(expression: Expression) -> str:
    return str(expression.__struct_config__.tag)
