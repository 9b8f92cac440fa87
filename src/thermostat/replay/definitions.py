# SPDX-License-Identifier: Apache-2.0
"""Alarm definitions from files: as they are POSTed to /v2/alarms, or as they were read from there.

A definition without an `alarm_id` has its name for an id. Rules that name other alarms may do it by
id or by name.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import falcon
import msgspec
import yaml

from thermostat.alarms.model import Alarm
from thermostat.alarms.query import METADATA_PREFIXES, PLAIN_FIELDS
from thermostat.alarms.rules import (
    AlarmRef,
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
)
from thermostat.alarms.wire import references
from thermostat.api import alarm_form
from thermostat.replay.documents import Document, load_all
from thermostat.replay.rules import unrecorded

_RULE_FIELDS = frozenset(ThresholdRule.__struct_fields__)
_OPERATORS = {"<": "lt", "<=": "le", "=": "eq", "!=": "ne", ">=": "ge", ">": "gt"}
_FIELD = "|".join([*PLAIN_FIELDS, *(rf"{re.escape(prefix)}\S+" for prefix in METADATA_PREFIXES)])
_SHOWN_TERM = re.compile(rf"(?P<field>{_FIELD}) (?P<op><=|>=|!=|<|>|=) (?P<value>.*)", re.S)
_REFUSAL = re.compile(
    r"(?:Invalid input for field/attribute (?P<field>\S+): )?(?P<reason>.*)", re.S
)


def documents_of(path: Path) -> Iterator[Document]:
    """Give the definitions in a file: one, a list, several documents, or a list under `alarms`.

    Raises DocumentError, or OSError where the file cannot be read.
    """
    for document in load_all(path):
        inner = document
        if isinstance(inner.value, dict) and set(inner.value) == {"alarms"}:
            inner = inner.part("alarms")
        if isinstance(inner.value, list):
            yield from (inner.part(index) for index in range(len(inner.value)))
        elif inner.value is not None:
            yield inner


def make_alarms(documents: Sequence[Document], *, project_id: str, now_us: int) -> list[Alarm]:
    """Give the alarms of these definitions; one that names no project gets this one.

    Raises DocumentError.
    """
    alarms = [_make(document, project_id, now_us) for document in documents]
    ids = Counter(alarm.alarm_id for alarm in alarms)
    names = _ids_by_name(alarms)
    made = []
    for document, alarm in zip(documents, alarms, strict=True):
        if ids[alarm.alarm_id] > 1:
            field = "alarm_id" if "alarm_id" in document.value else "name"
            raise document.error(field, f"{alarm.alarm_id!r} is given to more than one alarm")
        for field, reason in unrecorded(alarm.rule):
            raise document.error(field, reason)
        for field, named in references(alarm.rule):
            if named not in ids and len(names.get(named, ())) != 1:
                known = (
                    "more than one alarm has the name" if named in names else "there is no alarm"
                )
                raise document.error(field, f"{known} {named!r}")
        known_ids = {name: found[0] for name, found in names.items()} | {one: one for one in ids}
        made.append(msgspec.structs.replace(alarm, rule=_with_ids(alarm.rule, known_ids)))
    _check_cycles(documents, made)
    return made


def _check_cycles(documents: Sequence[Document], alarms: Sequence[Alarm]) -> None:
    """Raise DocumentError for alarms that depend on themselves."""
    named = {alarm.alarm_id: [to for _, to in references(alarm.rule)] for alarm in alarms}
    settled: set[str] = set()
    while len(settled) < len(named):
        free = {one for one in named if one not in settled and settled.issuperset(named[one])}
        if not free:
            index = next(i for i, alarm in enumerate(alarms) if alarm.alarm_id not in settled)
            raise documents[index].error("", f"{alarms[index].name!r} depends on a cycle of alarms")
        settled |= free


def _make(document: Document, project_id: str, now_us: int) -> Alarm:
    if not isinstance(document.value, dict):
        raise document.error("", "an alarm is a mapping, with name, type and a rule")
    given = _nested(document.plain())
    alarm_id = given.get("alarm_id") or given.get("name") or ""
    try:
        _, alarm = alarm_form.decode(
            given, alarm_id=str(alarm_id), user_id="replay", project_id=project_id, now_us=now_us
        )
    except falcon.HTTPError as error:
        refusal = _REFUSAL.fullmatch(error.description or str(error.title))
        field, reason = (refusal["field"] or "", refusal["reason"]) if refusal else ("", str(error))
        raise document.error("" if field == "body" else field, reason) from error
    return alarm


def _ids_by_name(alarms: Iterable[Alarm]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for alarm in alarms:
        names.setdefault(alarm.name, []).append(alarm.alarm_id)
    return names


def _nested(given: dict[str, Any]) -> dict[str, Any]:
    """Give a definition with its rule in its place.

    `openstack alarm show -f json` has a threshold rule's fields beside the alarm's own, the query
    as text such as `resource_id = a AND…`, and other lists and maps as JSON text.
    """
    shown = dict(given)
    for field in ("time_constraints", "composite_rule"):
        if isinstance(shown.get(field), str):
            shown[field] = yaml.safe_load(shown[field])
    if shown.get("type") == "threshold" and "threshold_rule" not in shown:
        rule = {field: shown.pop(field) for field in list(shown) if field in _RULE_FIELDS}
        if isinstance(rule.get("query"), str):
            rule["query"] = [_term(text) for text in rule["query"].split(" AND\n") if text]
        if rule:
            shown["threshold_rule"] = rule
    return shown


def _term(text: str) -> Any:
    found = _SHOWN_TERM.fullmatch(text)
    return {**found.groupdict(), "op": _OPERATORS[found["op"]]} if found else text


def _with_ids(rule: Rule, ids: dict[str, str]) -> Rule:
    """Give a rule that names other alarms by their ids."""
    if not isinstance(rule, JoinedRule):
        return rule
    if isinstance(rule, CombinationRule):
        return msgspec.structs.replace(rule, alarm_ids=tuple(ids[one] for one in rule.alarm_ids))
    suppressor = rule.suppressor
    return CompositeRule(
        expression=_renamed(rule.expression, ids),
        suppressor=None if suppressor is None else ids[suppressor],
    )


def _renamed(expression: Expression, ids: dict[str, str]) -> Expression:
    match expression:
        case Leaf() | OutsideLeaf():
            return expression
        case AlarmRef(alarm_id):
            return AlarmRef(ids[alarm_id])
        case Not(operand):
            return Not(_renamed(operand, ids))
        case AllOf(operands):
            return AllOf(tuple(_renamed(one, ids) for one in operands))
        case AnyOf(operands):
            return AnyOf(tuple(_renamed(one, ids) for one in operands))
