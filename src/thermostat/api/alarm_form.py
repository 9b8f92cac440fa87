# SPDX-License-Identifier: Apache-2.0
"""The alarm object on the wire, as Aodh's v2 API has it."""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from thermostat.alarms.constraints import ConstraintError, check
from thermostat.alarms.events import EventRule
from thermostat.alarms.model import ACTION_FIELDS, Alarm, Severity, State, TimeConstraint
from thermostat.alarms.rules import Rule
from thermostat.alarms.texts import Description, Name
from thermostat.api.conversion import convert, given
from thermostat.api.errors import bad_field
from thermostat.api.rules import decode_rule, encode_rule
from thermostat.db.history import Event
from thermostat.db.mapping import iso
from thermostat.redaction import hidden

MAX_ACTIONS = 100
"""How many actions each state may have."""

_Actions = Annotated[tuple[str, ...], Meta(max_length=MAX_ACTIONS)]


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request says of an alarm, but for its rule.

    The members that the server sets may be there too, since clients send back what they have read.
    """

    name: Name
    """It need not be unique."""
    type: str
    """Which rule the alarm has."""
    description: Description | UnsetType = UNSET
    """Left out: a sentence about the rule."""
    enabled: bool = True
    """Whether the alarm is evaluated."""
    severity: Severity = Severity.LOW
    """How much it matters; sent with notifications."""
    ok_actions: _Actions = ()
    """URLs to call when the state becomes `ok`."""
    alarm_actions: _Actions = ()
    """URLs to call when the state becomes `alarm`."""
    insufficient_data_actions: _Actions = ()
    """URLs to call when the state becomes `insufficient data`."""
    repeat_actions: bool = False
    """Whether actions are called again at each evaluation."""
    time_constraints: Annotated[tuple[TimeConstraint, ...], Meta(max_length=100)] = ()
    """When the alarm is evaluated; none: always."""
    state: State | UnsetType = UNSET
    """The state that the alarm is in. Left out: `insufficient data`, or what it was."""
    state_timestamp: str | UnsetType = UNSET
    """When the state changed last; set by the server."""
    user_id: Name | UnsetType = UNSET
    """The owner; only administrators may name another."""
    project_id: Name | UnsetType = UNSET
    """The owner's project; only administrators may name another."""
    alarm_id: str | UnsetType = UNSET
    """The id; set by the server."""
    state_reason: str | UnsetType = UNSET
    """Why it is in this state; set by the server."""
    timestamp: str | UnsetType = UNSET
    """When the definition changed last; set by the server."""
    evaluate_timestamp: str | UnsetType = UNSET
    """When it was evaluated last; set by the server."""
    trust_error: str | UnsetType = UNSET
    """Why Keystone refuses the trust that `trust+` actions are called with; only there if it does,
    set by the server."""


def decode(
    document: dict[str, Any], *, alarm_id: str, user_id: str, project_id: str, now_us: int
) -> tuple[Definition, Alarm]:
    """Give what a request says, and the new alarm that it makes for this owner.

    Raises the 400 that names the field and the reason.
    """
    fields = given(document, Definition)
    if isinstance(constraints := fields.get("time_constraints"), list):
        fields["time_constraints"] = [_without_null(one) for one in constraints]
    for field in ACTION_FIELDS:
        if not isinstance(fields.get(field, []), list):
            raise bad_field(field, "must be a list of URLs")
    rules = {key: fields.pop(key) for key in list(fields) if key.endswith("_rule")}
    definition = convert(fields, Definition)
    _check_names(definition.time_constraints)
    for position, constraint in enumerate(definition.time_constraints):
        try:
            check(constraint)
        except ConstraintError as error:
            field, _, reason = str(error).partition(": ")
            raise bad_field(f"time_constraints[{position}].{field}", reason) from error
    rule = decode_rule(definition.type, rules)
    return definition, Alarm(
        alarm_id=alarm_id,
        name=definition.name,
        description=_given(definition.description, _description(definition.type, rule)),
        enabled=definition.enabled,
        severity=definition.severity,
        rule=rule,
        ok_actions=_distinct(definition.ok_actions),
        alarm_actions=_distinct(definition.alarm_actions),
        insufficient_data_actions=_distinct(definition.insufficient_data_actions),
        repeat_actions=definition.repeat_actions,
        time_constraints=tuple(map(_described, definition.time_constraints)),
        user_id=_given(definition.user_id, user_id),
        project_id=_given(definition.project_id, project_id),
        state=State.INSUFFICIENT_DATA if definition.state is UNSET else definition.state,
        state_timestamp_us=now_us,
        timestamp_us=now_us,
    )


def encode(alarm: Alarm, *, whole: bool = False, trust_error: str | None = None) -> dict[str, Any]:
    """Give the alarm object of an answer; the trust is not in it, but what is wrong with it.

    Unless it is to be whole, the secrets in the URLs of its actions are not either.
    """
    seen = (lambda urls: urls) if whole else _hidden_all
    return {
        "alarm_id": alarm.alarm_id,
        "name": alarm.name,
        "description": alarm.description,
        "enabled": alarm.enabled,
        "severity": alarm.severity,
        **encode_rule(alarm.rule),
        "ok_actions": seen(alarm.ok_actions),
        "alarm_actions": seen(alarm.alarm_actions),
        "insufficient_data_actions": seen(alarm.insufficient_data_actions),
        "repeat_actions": alarm.repeat_actions,
        "time_constraints": alarm.time_constraints,
        "user_id": alarm.user_id,
        "project_id": alarm.project_id,
        "state": alarm.state,
        "state_reason": alarm.state_reason,
        "state_timestamp": iso(alarm.state_timestamp_us),
        "timestamp": iso(alarm.timestamp_us),
        "evaluate_timestamp": (
            None if alarm.evaluate_timestamp_us is None else iso(alarm.evaluate_timestamp_us)
        ),
        **({} if trust_error is None else {"trust_error": trust_error}),
    }


def encode_event(event: Event) -> dict[str, Any]:
    """Give one object of an alarm's history."""
    shown = msgspec.structs.asdict(event)
    return shown | {"timestamp": iso(shown.pop("timestamp_us"))}


def _hidden_all(urls: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(hidden, urls))


def _without_null(constraint: Any) -> Any:
    """Leave out null members, with which Heat says that a property was not given."""
    return given(constraint, TimeConstraint) if isinstance(constraint, dict) else constraint


def _check_names(constraints: tuple[TimeConstraint, ...]) -> None:
    names = [constraint.name for constraint in constraints]
    for position, name in enumerate(names):
        if name in names[:position]:
            field = f"time_constraints[{position}].name"
            raise bad_field(field, "Time constraint names must be unique for a given alarm.")


def _described(constraint: TimeConstraint) -> TimeConstraint:
    if constraint.description:
        return constraint
    description = f"Time constraint at {constraint.start} lasting for {constraint.duration} seconds"
    return msgspec.structs.replace(constraint, description=description)


def _description(kind: str, rule: Rule) -> str:
    if isinstance(rule, EventRule):
        return f"Alarm when {rule.event_type} event occurred."
    return f"{kind} alarm rule"


def _distinct(actions: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out repetitions; `log://` becomes `log:`, as Aodh shows it."""
    return tuple(
        dict.fromkeys(
            action.removesuffix("//") if action.endswith("://") else action for action in actions
        )
    )


def _given(value: str | UnsetType, default: str) -> str:
    return default if value is UNSET else value
