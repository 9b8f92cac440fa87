# SPDX-License-Identifier: Apache-2.0
"""What a rule is made of: its threshold rules, and the alarms that it depends on."""

from collections.abc import Callable, Iterator

from thermostat.alarms.model import Alarm
from thermostat.alarms.rules import (
    AllOf,
    AnyOf,
    CombinationRule,
    CompositeRule,
    Expression,
    JoinedRule,
    Leaf,
    Not,
    OutsideLeaf,
    Rule,
    ThresholdRule,
    rule_type,
)
from thermostat.alarms.wire import parts, references


def threshold_rules(rule: Rule) -> Iterator[ThresholdRule]:
    """Give the threshold rules of a rule, from left to right."""
    if isinstance(rule, ThresholdRule):
        yield rule
    elif isinstance(rule, JoinedRule):
        yield from _leaves(rule.expression)


def unrecorded(rule: Rule) -> Iterator[tuple[str, str]]:
    """Give what recorded samples cannot decide of a rule: its field, and a sentence why."""
    if isinstance(rule, CompositeRule):
        for field, part in parts(rule):
            if isinstance(part, OutsideLeaf):
                yield field, _elsewhere(part.rule)
    elif not isinstance(rule, (ThresholdRule, CombinationRule)):
        yield f"{rule_type(rule)}_rule", _elsewhere(rule)


def _elsewhere(rule: Rule) -> str:
    return f"a {rule_type(rule)} rule cannot be judged over recorded samples: it needs other data"


def named_by(alarm: Alarm, find: Callable[[str], Alarm | None]) -> Iterator[Alarm]:
    """Give the alarms whose states an alarm depends on, directly or not.

    As when it is evaluated, one that is not there, disabled or of another project is left out.
    """
    seen = {alarm.alarm_id}
    waiting = [alarm]
    while waiting:
        for _, alarm_id in references(waiting.pop().rule):
            other = None if alarm_id in seen else find(alarm_id)
            seen.add(alarm_id)
            if other is not None and other.enabled and other.project_id == alarm.project_id:
                waiting.append(other)
                yield other


def _leaves(expression: Expression) -> Iterator[ThresholdRule]:
    match expression:
        case Leaf(rule=rule):
            yield rule
        case Not(operand=operand):
            yield from _leaves(operand)
        case AllOf(operands=operands) | AnyOf(operands=operands):
            for operand in operands:
                yield from _leaves(operand)
