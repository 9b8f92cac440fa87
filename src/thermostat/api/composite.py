# SPDX-License-Identifier: Apache-2.0
"""Composite and combination rules as requests have them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from thermostat.alarms.outside import OUTSIDE_TYPES
from thermostat.alarms.rules import (
    AlarmRef,
    AllOf,
    AnyOf,
    CombinationRule,
    Combine,
    CompositeRule,
    Expression,
    Leaf,
    Not,
    OutsideLeaf,
)
from thermostat.alarms.texts import Name
from thermostat.api.conversion import convert, given
from thermostat.api.errors import bad_field
from thermostat.api.outside import decode_outside
from thermostat.api.threshold import decode_threshold

MAX_DEPTH = 20
"""How deep the parts of a rule may be nested."""
MAX_PARTS = 100
"""How many sub-rules and references a rule may have."""
FEWEST_OPERANDS = 1
CONNECTIVES = ("and", "or", "not")
SUB_TYPES = ("threshold", "alarm", *OUTSIDE_TYPES)
"""What a part of a rule may be, by its `type`."""

AlarmId = Name


class CombinationForm(msgspec.Struct, forbid_unknown_fields=True):
    """A combination as clients send it."""

    alarm_ids: Annotated[tuple[AlarmId, ...], Meta(min_length=2, max_length=MAX_PARTS)]
    """Alarms of the same project."""
    operator: Combine = Combine.AND
    """How their states are joined."""


class _Reference(msgspec.Struct, forbid_unknown_fields=True):
    alarm_id: AlarmId


def decode_combination(name: str, document: Mapping[str, Any]) -> CombinationRule:
    """Give the rule of a JSON object that stands in this field. Raises the 400 that names it."""
    rule = convert(given(document, CombinationForm), CombinationForm, name)
    for position, alarm_id in enumerate(rule.alarm_ids):
        if alarm_id in rule.alarm_ids[:position]:
            raise bad_field(f"{name}.alarm_ids[{position}]", f"{alarm_id} is there already")
    return CombinationRule(alarm_ids=rule.alarm_ids, operator=rule.operator)


def decode_composite(name: str, document: Mapping[str, Any]) -> CompositeRule:
    """Give the rule of a JSON object that stands in this field. Raises the 400 that names it."""
    fields = dict(document)
    suppressor = fields.pop("suppressor", None)
    if suppressor is not None:
        suppressor = convert(suppressor, AlarmId, f"{name}.suppressor")
    return CompositeRule(
        expression=_Expressions(name).decode(name, fields, depth=1), suppressor=suppressor
    )


class _Expressions:
    """Decodes the parts of one rule, and counts them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts = 0

    def decode(self, name: str, document: Any, depth: int) -> Expression:
        """Give the expression that stands in this field."""
        if not isinstance(document, dict):
            raise bad_field(name, "must be an object: a sub-rule, or one of and, or, not")
        if depth > MAX_DEPTH:
            raise bad_field(name, f"is nested more than {MAX_DEPTH} deep")
        fields = {
            field: value
            for field, value in document.items()
            if value is not None or field not in CONNECTIVES
        }
        word = next((word for word in CONNECTIVES if word in fields), None)
        if word is None:
            return self._part(name, fields)
        operand = fields.pop(word)
        if fields:
            raise bad_field(f"{name}.{min(fields)}", f"has no place beside {word!r}")
        name = f"{name}.{word}"
        if word == "not":
            return Not(self.decode(name, operand, depth + 1))
        operands = self._operands(name, operand, depth + 1)
        return AllOf(operands) if word == "and" else AnyOf(operands)

    def _operands(self, name: str, documents: Any, depth: int) -> tuple[Expression, ...]:
        if not isinstance(documents, list) or len(documents) < FEWEST_OPERANDS:
            raise bad_field(name, f"must be a list of at least {FEWEST_OPERANDS} rule")
        return tuple(
            self.decode(f"{name}[{position}]", document, depth)
            for position, document in enumerate(documents)
        )

    def _part(self, name: str, fields: dict[str, Any]) -> Expression:
        """Give a sub-rule or a reference."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise bad_field(self._name, f"has more than {MAX_PARTS} sub-rules and references")
        match fields.pop("type", None):
            case None:
                raise bad_field(f"{name}.type", "Mandatory field missing.")
            case "threshold":
                return Leaf(decode_threshold(name, fields))
            case "alarm":
                return AlarmRef(convert(fields, _Reference, name).alarm_id)
            case str(kind) if kind in OUTSIDE_TYPES:
                return OutsideLeaf(decode_outside(kind, name, fields))
            case other:
                raise bad_field(f"{name}.type", f"{other!r:.100} is not one of {_words(SUB_TYPES)}")


def _words(words: Sequence[str]) -> str:
    return ", ".join(words)
