# SPDX-License-Identifier: Apache-2.0
"""Rules over an outside store's datapoints as requests have them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import falcon

from thermostat.alarms.outside import (
    AGGREGATION_METHODS,
    MOST_INSTANTS,
    OUTSIDE_TYPES,
    GnocchiResourceGroupRule,
    OutsideRule,
    PrometheusRule,
    is_aggregation_method,
)
from thermostat.alarms.rules import (
    AllOf,
    AnyOf,
    CompositeRule,
    Expression,
    Not,
    OutsideLeaf,
    Rule,
    rule_type,
)
from thermostat.api.conversion import convert, given
from thermostat.api.errors import bad_field
from thermostat.outside import gnocchi_query, promql
from thermostat.outside.base import InvalidOutsideRule, OutsideStore, OutsideUnavailable


def decode_outside(kind: str, name: str, document: Mapping[str, Any]) -> OutsideRule:
    """Give the rule of this type that stands in this field. Raises the 400 that names it."""
    fields = given(document, OUTSIDE_TYPES[kind])
    if "type" in fields:
        raise bad_field(f"{name}.type", "Unknown attribute.")
    rule = convert({**fields, "type": kind}, OUTSIDE_TYPES[kind], name)
    if not math.isfinite(rule.threshold):
        raise bad_field(f"{name}.threshold", "must be a finite number")
    if not isinstance(rule, PrometheusRule) and not is_aggregation_method(rule.aggregation_method):
        raise bad_field(
            f"{name}.aggregation_method",
            f"{rule.aggregation_method!r} is not one of {AGGREGATION_METHODS}",
        )
    if rule.points > MOST_INSTANTS:
        raise bad_field(
            f"{name}.for",
            f"spans {rule.points} instants of its granularity, more than {MOST_INSTANTS}",
        )
    try:
        _check_query(rule)
    except (promql.PromQLError, gnocchi_query.GnocchiQueryError) as error:
        raise bad_field(f"{name}.query", str(error)) from None
    return rule


def check_with_stores(rule: Rule, project_id: str, stores: Mapping[str, OutsideStore]) -> None:
    """Raise the 400 for a rule, or a part of one, that its store could never answer.

    A 503 if that needs the store and it cannot be asked now. What no store is set up for is let
    pass: its alarm has insufficient data until there is one.
    """
    kind = rule_type(rule)
    for name, own in _outside_parts(f"{kind}_rule", rule):
        store = stores.get(rule_type(own))
        if store is None:
            continue
        try:
            store.check_rule(own, project_id)
        except InvalidOutsideRule as error:
            raise bad_field(f"{name}.{error.field}", error.reason) from None
        except OutsideUnavailable as error:
            raise falcon.HTTPServiceUnavailable(
                description=f"{name} cannot be checked now: {error}"
            ) from None


def _check_query(rule: OutsideRule) -> None:
    if isinstance(rule, PrometheusRule):
        promql.scoped(rule.query, None, "")
    elif isinstance(rule, GnocchiResourceGroupRule):
        gnocchi_query.parsed(rule.query)


def _outside_parts(name: str, rule: Rule | Expression) -> Iterator[tuple[str, OutsideRule]]:
    """Yield the rules over outside stores, with the fields in which they stand."""
    match rule:
        case OutsideLeaf(rule=own):
            yield name, own
        case CompositeRule(expression=expression):
            yield from _outside_parts(name, expression)
        case Not(operand=operand):
            yield from _outside_parts(f"{name}.not", operand)
        case AllOf(operands=operands) | AnyOf(operands=operands):
            word = "and" if isinstance(rule, AllOf) else "or"
            for position, operand in enumerate(operands):
                yield from _outside_parts(f"{name}.{word}[{position}]", operand)
        case _ if isinstance(rule, OutsideRule):
            yield name, rule
