# SPDX-License-Identifier: Apache-2.0
"""The wire form of each type of rule: one entry per type, as `<type>_rule` shows it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from thermostat.alarms.query import Condition, Operator, QueryError
from thermostat.alarms.rules import ThresholdRule, rule_type
from thermostat.api.errors import bad_field

Value = TypeVar("Value")


class _Term(msgspec.Struct, forbid_unknown_fields=True):
    """One condition as clients send it; `type` is Ceilometer's and not needed."""

    field: str
    value: str | int | float | bool
    op: Operator = Operator.EQ
    type: str = ""


@dataclass(frozen=True, slots=True)
class RuleForm:
    """How one type of rule is read from a request and shown in an answer."""

    decode: Callable[[str, Mapping[str, Any]], ThresholdRule]
    """Takes the field's name, for errors, and the JSON object."""
    encode: Callable[[ThresholdRule], dict[str, Any]]


def _decode_threshold(name: str, document: Mapping[str, Any]) -> ThresholdRule:
    fields = {key: value for key, value in document.items() if value is not None}
    query = fields.get("query", [])
    if not isinstance(query, list):
        raise bad_field(f"{name}.query", "must be a list of conditions")
    fields["query"] = [
        _condition(f"{name}.query[{position}]", term) for position, term in enumerate(query)
    ]
    rule = convert(fields, ThresholdRule, name)
    if not math.isfinite(rule.threshold):
        raise bad_field(f"{name}.threshold", "must be a finite number")
    if rule.needed > rule.evaluation_periods:
        raise bad_field(
            f"{name}.datapoints_to_alarm",
            f"{rule.needed} is more than evaluation_periods, {rule.evaluation_periods}",
        )
    return rule


def _condition(name: str, document: Any) -> Condition:
    if isinstance(document, dict):  # a null or empty operator means the default
        document = {key: value for key, value in document.items() if value not in (None, "")}
    term = convert(document, _Term, name)
    value = str(term.value).lower() if isinstance(term.value, bool) else str(term.value)
    try:
        return Condition(term.field, term.op, value)
    except QueryError as error:
        raise bad_field(f"{name}.field", str(error)) from error


def _encode_threshold(rule: ThresholdRule) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(rule)
    return shown


FORMS: Mapping[str, RuleForm] = {
    "threshold": RuleForm(decode=_decode_threshold, encode=_encode_threshold),
}


def decode_rule(kind: str, document: Mapping[str, Any]) -> ThresholdRule:
    """Give the rule of an alarm object, which must have the one for its type and no other."""
    form = FORMS.get(kind)
    if form is None:
        raise bad_field("type", f"{kind!r} is not one of {', '.join(FORMS)}")
    name = f"{kind}_rule"
    for other in document:
        if other.endswith("_rule") and other != name and document[other] is not None:
            raise bad_field(other, f"an alarm of type {kind} has only {name}")
    rule = document.get(name)
    if not isinstance(rule, dict):
        raise bad_field(name, f"an alarm of type {kind} needs it, as an object")
    return form.decode(name, rule)


def encode_rule(rule: ThresholdRule) -> dict[str, Any]:
    """Give the members of an alarm object that show its rule: `type` and `<type>_rule`."""
    kind = rule_type(rule)
    return {"type": kind, f"{kind}_rule": FORMS[kind].encode(rule)}


def convert(document: Any, kind: type[Value], name: str = "") -> Value:
    """Give a typed value; numbers and booleans may be text. Raises the 400 that names the field."""
    try:
        return msgspec.convert(document, kind, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        path = path.rstrip("`").lstrip(".")
        missing = reason.removeprefix("Object missing required field `").rstrip("`")
        if missing != reason.rstrip("`"):
            path, reason = ".".join(filter(None, (path, missing))), "Mandatory field missing."
        unknown = reason.removeprefix("Object contains unknown field `").rstrip("`")
        if unknown != reason.rstrip("`"):
            path, reason = ".".join(filter(None, (path, unknown))), "Unknown attribute."
        raise bad_field(".".join(filter(None, (name, path))) or "body", reason) from error
