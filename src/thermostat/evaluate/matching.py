# SPDX-License-Identifier: Apache-2.0
"""Which alarms a series feeds, found through an index and not by asking every alarm."""

from collections import defaultdict
from math import isnan
from typing import Any

from thermostat.alarms.query import METADATA_PREFIXES, Condition, Operator, find_metadata
from thermostat.store import selecting
from thermostat.store.base import Selection, Series

_Key = tuple[str, Any]
_Scope = tuple[str, str | None]
"""A meter and a project."""


class AlarmIndex:
    """Selections by meter, project, and the value that their first equality asks for."""

    def __init__(self) -> None:
        self._by_value: dict[tuple[_Scope, str, _Key], dict[str, Selection]] = defaultdict(dict)
        self._without_equality: dict[_Scope, dict[str, Selection]] = defaultdict(dict)
        self._fields: dict[_Scope, dict[str, int]] = defaultdict(dict)
        """How many alarms are indexed by each field."""

    def add(self, alarm_id: str, selection: Selection) -> None:
        """Index what an alarm selects; the alarm must not be in the index."""
        scope = (selection.meter, selection.project_id)
        equality = _first_equality(selection)
        if equality is None:
            self._without_equality[scope][alarm_id] = selection
            return
        for key in _keys(equality.value):
            self._by_value[scope, equality.field, key][alarm_id] = selection
        fields = self._fields[scope]
        fields[equality.field] = fields.get(equality.field, 0) + 1

    def remove(self, alarm_id: str, selection: Selection) -> None:
        """Take out an alarm, with what it selected when it was added."""
        scope = (selection.meter, selection.project_id)
        equality = _first_equality(selection)
        if equality is None:
            del self._without_equality[scope][alarm_id]
            return
        for key in _keys(equality.value):
            place = (scope, equality.field, key)
            del self._by_value[place][alarm_id]
            if not self._by_value[place]:
                del self._by_value[place]
        fields = self._fields[scope]
        fields[equality.field] -= 1
        if not fields[equality.field]:
            del fields[equality.field]

    def matching(self, series: Series) -> tuple[str, ...]:
        """Give the ids of the alarms whose meter, project and query this series meets."""
        scope = (series.key.meter, series.key.project_id)
        candidates = dict(self._without_equality.get(scope, {}))
        for field in self._fields.get(scope, ()):
            key = _key(_actual(series, field))
            candidates.update(self._by_value.get((scope, field, key), {}))
        return tuple(
            alarm_id
            for alarm_id, selection in candidates.items()
            if selecting.matches(series, selection)
        )


def _first_equality(selection: Selection) -> Condition | None:
    equalities = (condition for condition in selection.conditions if condition.op is Operator.EQ)
    return next(equalities, None)


def _keys(wanted: str) -> set[_Key]:
    """Give the keys of every actual value that `Condition.matches` calls equal to this text."""
    keys: set[_Key] = {("text", wanted), ("bool", wanted.lower())}
    try:
        number = float(wanted)
    except ValueError:
        return keys
    return keys if isnan(number) else keys | {("number", number)}


def _key(actual: Any) -> _Key:
    if isinstance(actual, bool):
        return "bool", str(actual).lower()
    if isinstance(actual, int | float):
        return "number", float(actual)
    return "text", str(actual)


def _actual(series: Series, field: str) -> Any:
    if field.startswith(METADATA_PREFIXES):
        return find_metadata(series.metadata, field.split(".", 1)[1])
    return {
        "resource_id": series.key.resource_id,
        "project_id": series.key.project_id,
        "user_id": series.user_id,
        "source": series.source,
    }[field]
