# SPDX-License-Identifier: Apache-2.0
"""Between rows and alarms."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import add
from typing import Any

import msgspec
from sqlalchemy import case, func

from thermostat.alarms.model import NOT_EVALUATED, Alarm, Severity, Standing, State, TimeConstraint
from thermostat.alarms.rules import RULE_TYPES, Rule, rule_type
from thermostat.alarms.wire import shown
from thermostat.db.tables import ALARM

_EPOCH = datetime(1970, 1, 1)
_JSON_COLUMNS = frozenset(
    {
        "rule",
        "ok_actions",
        "alarm_actions",
        "insufficient_data_actions",
        "time_constraints",
        "rule_states",
    }
)
_PRIVATE = frozenset({"trust_id", "revision", "judged_us", "rule_states", "suppressed"})
_STATES = {state.value: state for state in State}
_SEVERITIES = {severity.value: severity for severity in Severity}
_RULES: dict[str, Callable[[str], Rule]] = {
    name: msgspec.json.Decoder(kind).decode for name, kind in RULE_TYPES.items()
}
_strings = msgspec.json.Decoder(tuple[str, ...]).decode
_constraints = msgspec.json.Decoder(tuple[TimeConstraint, ...]).decode
_rule_states = msgspec.json.Decoder(tuple[State, ...]).decode
MOST_SHARED = 10_000
"""How many different values of one kind are remembered, to be shared."""


def to_row(alarm: Alarm) -> dict[str, Any]:
    """Give the column values of an alarm."""
    values = {
        field: to_json(value) if field in _JSON_COLUMNS else value
        for field, value in msgspec.structs.asdict(alarm).items()
    }
    return values | {
        "type": rule_type(alarm.rule),
        "severity": alarm.severity.value,
        "state": alarm.state.value,
    }


class Reader:
    """Makes alarms of rows of the table, in its own order of columns.

    Equal actions, constraints, owners and descriptions in them are the same objects: a million
    alarms repeat few of them.
    """

    def __init__(self) -> None:
        self._texts = _Shared(str)
        self._actions = _Shared(_strings)
        self._constraints = _Shared(_constraints)
        self._rule_states = _Shared(_rule_states)

    def alarm(self, row: Sequence[Any]) -> Alarm:
        """Give the alarm of a row."""
        (
            alarm_id,
            name,
            description,
            enabled,
            severity,
            kind,
            rule,
            ok_actions,
            alarm_actions,
            insufficient_data_actions,
            repeat_actions,
            time_constraints,
            user_id,
            project_id,
            trust_id,
            state,
            state_reason,
            state_timestamp_us,
            timestamp_us,
            evaluate_timestamp_us,
            revision,
            judged_us,
            rule_states,
            suppressed,
        ) = row
        texts, actions = self._texts, self._actions
        return Alarm(
            alarm_id,
            name,
            texts[description],
            enabled,
            _SEVERITIES[severity],
            _RULES[kind](rule),
            texts[user_id],
            texts[project_id],
            state_timestamp_us,
            timestamp_us,
            actions[ok_actions],
            actions[alarm_actions],
            actions[insufficient_data_actions],
            repeat_actions,
            self._constraints[time_constraints],
            trust_id,
            _STATES[state],
            state_reason,
            evaluate_timestamp_us,
            revision,
            judged_us,
            self._rule_states[rule_states],
            suppressed,
        )


_FLAGS = (
    ALARM.c.repeat_actions.is_(True),
    ALARM.c.suppressed.is_(True),
    ALARM.c.state_reason != NOT_EVALUATED,
    ALARM.c.ok_actions != "[]",
    ALARM.c.alarm_actions != "[]",
    ALARM.c.insufficient_data_actions != "[]",
)
STANDING_COLUMNS = (
    ALARM.c.alarm_id,
    ALARM.c.project_id,
    ALARM.c.type,
    ALARM.c.rule,
    func.nullif(ALARM.c.time_constraints, "[]"),
    ALARM.c.state,
    ALARM.c.revision,
    # fetching a column takes longer than testing it: all that is true or false comes as one
    reduce(add, (case((flag, 1 << bit), else_=0) for bit, flag in enumerate(_FLAGS))),
    ALARM.c.judged_us,
    func.nullif(ALARM.c.rule_states, "[]"),
)
"""What a `StandingReader` reads, in its order."""


class StandingReader:
    """Makes standings of rows of `STANDING_COLUMNS`; equal parts of them are the same objects."""

    def __init__(self) -> None:
        self._texts = _Shared(str)
        self._constraints = _Shared(_constraints)
        self._rule_states = _Shared(_rule_states)

    def standing(self, row: Sequence[Any]) -> Standing:
        """Give the standing of a row."""
        (
            alarm_id,
            project_id,
            kind,
            rule,
            time_constraints,
            state,
            revision,
            flags,
            judged_us,
            rule_states,
        ) = row
        repeat_actions, suppressed, is_told, acts_on = _MEANINGS[flags]
        return Standing(
            alarm_id,
            self._texts[project_id],
            _RULES[kind](rule),
            self._constraints[time_constraints] if time_constraints else (),
            _STATES[state],
            is_told,
            revision,
            repeat_actions,
            acts_on,
            judged_us,
            self._rule_states[rule_states] if rule_states else (),
            suppressed,
        )


def _meaning(flags: int) -> tuple[bool, bool, bool, tuple[State, ...]]:
    """Give what `_FLAGS` say: the first three, and the states with actions."""
    repeats, suppressed, is_told, *acts = (bool(flags >> bit & 1) for bit in range(len(_FLAGS)))
    acting = (State.OK, State.ALARM, State.INSUFFICIENT_DATA)
    acts_on = tuple(state for state, has in zip(acting, acts, strict=True) if has)
    return repeats, suppressed, is_told, acts_on


_MEANINGS = [_meaning(flags) for flags in range(1 << len(_FLAGS))]


class _Shared(dict[str, Any]):
    """What texts mean, each decoded once; forgotten when there are too many."""

    def __init__(self, decode: Callable[[str], Any]) -> None:
        super().__init__()
        self._decode = decode

    def __missing__(self, text: str) -> Any:
        if len(self) >= MOST_SHARED:
            self.clear()
        value = self[text] = self._decode(text)
        return value


def from_row(row: Sequence[Any]) -> Alarm:
    """Give the alarm of a row of the table, in its own order of columns."""
    return Reader().alarm(row)


def describe(alarm: Alarm) -> dict[str, Any]:
    """Give an alarm as its history shows it: Aodh's field names, without the trust."""
    fields: dict[str, Any] = {"type": rule_type(alarm.rule)}
    for field, value in msgspec.structs.asdict(alarm).items():
        if field.endswith("timestamp_us"):
            fields[field.removesuffix("_us")] = None if value is None else iso(value)
        elif field not in _PRIVATE:
            fields[field] = shown(value) if field == "rule" else msgspec.to_builtins(value)
    return fields


def iso(instant_us: int) -> str:
    """Give an instant in UTC without its offset, as Aodh does."""
    return (_EPOCH + timedelta(microseconds=instant_us)).isoformat()


def to_json(value: Any) -> str:
    """Give the JSON text of a value."""
    return msgspec.json.encode(value).decode()
