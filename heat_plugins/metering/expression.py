# SPDX-License-Identifier: Apache-2.0
"""The rule of a composite alarm as templates write it: rules within and, or and not.

A rule is one of

    {and: [rule, rule, …]}   {or: [rule, rule, …]}   {not: rule}
    {operator: and, rules: [rule, …]}                       as OS::Aodh::CompositeAlarm has it
    {alarm_id: …}                                           the state of another alarm
    {meter_name: …, threshold: …, …}                        a threshold rule
    {type: prometheus, query: …, …}, {type: gnocchi_…, …}   a rule over another store
"""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from heat.common import exception
from heat.common.i18n import _
from heat.engine import constraints, properties

from . import threshold
from .validation import Finite

_Schema = properties.Schema
CONNECTIVES = ("and", "or", "not")
MAX_DEPTH = 20
FEWEST = 1


class RuleError(ValueError):
    """A part of the rule is wrong."""

    def __init__(self, path: Sequence[Any], reason: str) -> None:
        super().__init__(reason)
        self.path = [*path]


def api_rule(rule: Any, context: Any = None) -> dict[str, Any]:
    """Give the API's composite rule. Raises RuleError, which names the part."""
    return _converted(rule, (), context)


def _converted(rule: Any, path: tuple[Any, ...], context: Any) -> dict[str, Any]:
    if not isinstance(rule, Mapping):
        raise RuleError(path, "must be a map: a rule, or one of and, or, not")
    if len(path) > 2 * MAX_DEPTH:
        raise RuleError(path, f"is nested more than {MAX_DEPTH} deep")
    given = {name: value for name, value in rule.items() if value is not None}
    if {"operator", "rules"} <= set(given):
        return _joined(given.pop("operator"), given.pop("rules"), given, (*path, "rules"), context)
    word = next((word for word in CONNECTIVES if word in given), None)
    if word is not None:
        return _joined(word, given.pop(word), given, (*path, word), context)
    if "alarm_id" in given:
        return _reference(given, path)
    return _leaf(given, path, context)


def _joined(
    word: Any, operand: Any, others: Mapping[str, Any], path: tuple[Any, ...], context: Any
) -> dict[str, Any]:
    if others:
        raise RuleError((*path[:-1], min(others)), f"has no place beside {path[-1]}")
    if word not in CONNECTIVES:
        raise RuleError((*path[:-1], "operator"), f"{word} is neither and nor or")
    if word == "not":
        return {"not": _converted(operand, path, context)}
    if not isinstance(operand, list) or len(operand) < FEWEST:
        raise RuleError(path, f"must be a list of at least {FEWEST} rule")
    return {word: [_converted(one, (*path, place), context) for place, one in enumerate(operand)]}


def _reference(given: Mapping[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    for name in given:
        if name not in {"type", "alarm_id"}:
            raise RuleError((*path, name), "has no place beside alarm_id")
    if given.get("type", "alarm") != "alarm":
        raise RuleError((*path, "type"), "must be alarm where there is an alarm_id")
    alarm_id = given["alarm_id"]
    if not isinstance(alarm_id, str) or not alarm_id:
        raise RuleError((*path, "alarm_id"), "must be an alarm's id")
    return {"type": "alarm", "alarm_id": alarm_id}


def _leaf(given: dict[str, Any], path: tuple[Any, ...], context: Any) -> dict[str, Any]:
    kind = given.pop("type", "threshold")
    schema = _SCHEMAS.get(kind) if isinstance(kind, str) else None
    if schema is None:
        known = ", ".join(["alarm", *_SCHEMAS])
        raise RuleError((*path, "type"), f"{reprlib.repr(kind)} is not one of {known}")
    values = properties.Properties(schema, given, context=context)
    try:
        values.validate()
    except exception.StackValidationFailed as refused:
        raise RuleError((*path, *refused.path), refused.error_message) from refused
    if kind == "threshold":
        wrong = threshold.check(values)
        if wrong:
            raise RuleError((*path, wrong[0]), wrong[1])
        return {"type": kind, **threshold.rule(values)}
    return {"type": kind} | {name: values[name] for name in schema if values[name] is not None}


def _text(description: str, **options: Any) -> Any:
    return _Schema(_Schema.STRING, description, **options)


_COMPARED = {
    "threshold": _Schema(
        _Schema.NUMBER,
        _("What a datapoint is compared with."),
        required=True,
        constraints=[Finite()],
    ),
    "comparison_operator": _text(
        _("How a datapoint is compared with the threshold."),
        default="eq",
        constraints=[constraints.AllowedValues(threshold.OPERATORS)],
    ),
    "evaluation_periods": _Schema(
        _Schema.INTEGER,
        _("How many datapoints must breach, one after the other."),
        default=1,
        constraints=[constraints.Range(min=1, max=100)],
    ),
    "granularity": _Schema(
        _Schema.INTEGER,
        _("How many seconds one datapoint covers."),
        default=60,
        constraints=[constraints.Range(min=1, max=31_536_000)],
    ),
}
_GNOCCHI = {
    **_COMPARED,
    "aggregation_method": _text(_("How measures become one datapoint."), required=True),
}
_METRIC = {
    "metric": _text(_("The metric's name."), required=True),
    "resource_type": _text(_("The type of the resources."), required=True),
}
_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "threshold": threshold.properties_schema,
    "prometheus": {
        "query": _text(_("A PromQL query."), required=True),
        "for": _Schema(
            _Schema.INTEGER,
            _("How many seconds a breach must have lasted."),
            default=0,
            constraints=[constraints.Range(min=0, max=31_536_000)],
        ),
        **_COMPARED,
    },
    "gnocchi_resources_threshold": {
        **_GNOCCHI,
        **_METRIC,
        "resource_id": _text(_("The resource."), required=True),
    },
    "gnocchi_aggregation_by_metrics_threshold": {
        **_GNOCCHI,
        "metrics": _Schema(
            _Schema.LIST, _("The ids of the metrics."), schema=_text(_("An id.")), required=True
        ),
    },
    "gnocchi_aggregation_by_resources_threshold": {
        **_GNOCCHI,
        **_METRIC,
        "query": _text(_("Which resources, as JSON text."), required=True),
    },
}
