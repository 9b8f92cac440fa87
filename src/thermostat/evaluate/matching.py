# SPDX-License-Identifier: Apache-2.0
"""Which windows a series feeds, found through an index and not by asking every window."""

from collections.abc import Collection, Iterable, Sequence
from math import isnan
from typing import Any

from thermostat.alarms.query import METADATA_PREFIXES, Condition, Operator, find_metadata
from thermostat.alarms.rules import ThresholdRule
from thermostat.store.base import Series

_SIGNS_OF_A_NUMBER = 2
_FIRST_OF_A_NUMBER = "nNiItTfF"
"""The letters that nan, inf, true and false begin with."""
_Key = str | float | tuple[str, str]
_Windows = int | list[int]


class _Scope:
    """The windows of one meter and project, by the value that their first equality asks for."""

    __slots__ = ("by_field", "without_equality")

    def __init__(self) -> None:
        self.by_field: dict[str, dict[_Key, _Windows]] = {}
        self.without_equality: set[int] = set()


class WindowIndex:
    """Selections by meter, project and value.

    A selection of one equality, which most are, takes one entry of a dictionary and no more.
    """

    def __init__(self) -> None:
        self._scopes: dict[tuple[str, str | None], _Scope] = {}
        self._others: dict[int, tuple[Condition, ...]] = {}
        """What windows ask for beyond their first equality."""

    def add(
        self, window: int, meter: str, project_id: str, conditions: Sequence[Condition]
    ) -> None:
        """Index what a window selects; its number must not be in the index."""
        scope = self._scopes.get((meter, project_id))
        if scope is None:
            scope = self._scopes[meter, project_id] = _Scope()
        equality = None
        for condition in conditions:
            if condition.op is Operator.EQ:
                equality = condition
                break
        if len(conditions) > (equality is not None):
            self._others[window] = tuple(one for one in conditions if one is not equality)
        if equality is None:
            scope.without_equality.add(window)
            return
        by_value = scope.by_field.get(equality.field)
        if by_value is None:
            by_value = scope.by_field[equality.field] = {}
        for key in _keys(equality.value):
            if key in by_value:
                _also(by_value, key, window)
            else:
                by_value[key] = window

    def add_all(
        self, windows: Iterable[int], rules: Iterable[ThresholdRule], projects: Iterable[str]
    ) -> None:
        """Index what the rules of many windows select, each in its project."""
        for window, rule, project_id in zip(windows, rules, projects, strict=True):
            conditions = rule.query
            scope = self._scopes.get((rule.meter_name, project_id))
            if scope is not None and len(conditions) == 1 and _is_one_text(conditions[0]):
                by_value = scope.by_field.get(conditions[0].field)
                if by_value is not None:
                    value = conditions[0].value
                    known = by_value.setdefault(value, window)
                    if known is not window:
                        _also(by_value, value, window)
                    continue
            self.add(window, rule.meter_name, project_id, conditions)

    def drop(self, windows: Collection[int]) -> None:
        """Take windows out; it walks the whole index."""
        dead = set(windows)
        for number in dead:
            self._others.pop(number, None)
        for key, scope in list(self._scopes.items()):
            scope.without_equality -= dead
            for field, by_value in list(scope.by_field.items()):
                for value, known in list(by_value.items()):
                    kept = [one for one in _as_list(known) if one not in dead]
                    if kept:
                        by_value[value] = kept[0] if len(kept) == 1 else kept
                    else:
                        del by_value[value]
                if not by_value:
                    del scope.by_field[field]
            if not scope.by_field and not scope.without_equality:
                del self._scopes[key]

    def matching(self, series: Series) -> list[int]:
        """Give the windows whose meter, project and query this series meets."""
        key = series.key
        scope = self._scopes.get((key.meter, key.project_id))
        if scope is None:
            return []
        found: list[int] = []
        for field, by_value in scope.by_field.items():
            actual = key.resource_id if field == "resource_id" else _actual(series, field)
            if actual is None:
                continue
            known = by_value.get(actual if type(actual) is str else _key(actual))
            if known is None:
                continue
            if isinstance(known, int):
                found.append(known)
            else:
                found.extend(known)
        found.extend(scope.without_equality)
        if not self._others:
            return found
        return [window for window in found if self._meets(series, window)]

    def _meets(self, series: Series, window: int) -> bool:
        return all(
            condition.matches(
                resource_id=series.key.resource_id,
                project_id=series.key.project_id,
                user_id=series.user_id,
                source=series.source,
                metadata=series.metadata,
            )
            for condition in self._others.get(window, ())
        )


def _also(by_value: dict[_Key, _Windows], key: _Key, window: int) -> None:
    """Add a window to those that ask for a value already."""
    known = by_value[key]
    if isinstance(known, int):
        by_value[key] = [known, window]
    else:
        known.append(window)


def _is_one_text(condition: Condition) -> bool:
    """Tell at a glance whether a condition asks for one text and for nothing else that equals it.

    Numbers and truth values equal texts, too; an id or a name is none of them.
    """
    value = condition.value
    return condition.op is Operator.EQ and (
        value.count("-") > _SIGNS_OF_A_NUMBER
        or (value[:1].isalpha() and value[0] not in _FIRST_OF_A_NUMBER)
    )


def _as_list(windows: _Windows) -> list[int]:
    return [windows] if isinstance(windows, int) else windows


def _keys(wanted: str) -> Iterable[_Key]:
    """Give the keys of every actual value that `Condition.matches` calls equal to this text."""
    keys: list[_Key] = [wanted]
    if wanted.count("-") > _SIGNS_OF_A_NUMBER:  # as an id has: trying it as a number takes longer
        return keys
    if wanted.lower() in ("true", "false"):
        keys.append(("bool", wanted.lower()))
    try:
        number = float(wanted)
    except ValueError:
        return keys
    if not isnan(number):
        keys.append(number)
    return keys


def _key(actual: Any) -> _Key:
    if isinstance(actual, bool):
        return "bool", str(actual).lower()
    if isinstance(actual, int | float):
        try:
            return float(actual)
        except OverflowError:  # a whole number beyond every float
            return str(actual)
    return str(actual)


def _actual(series: Series, field: str) -> Any:
    if field.startswith(METADATA_PREFIXES):
        return find_metadata(series.metadata, field.split(".", 1)[1])
    return {
        "resource_id": series.key.resource_id,
        "project_id": series.key.project_id,
        "user_id": series.user_id,
        "source": series.source,
    }[field]
