# SPDX-License-Identifier: Apache-2.0
"""Lists: filters, order and pages, as Aodh's query strings ask for them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import falcon

from thermostat.alarms.model import Severity, State
from thermostat.alarms.query import Operator
from thermostat.api.errors import bad_field
from thermostat.api.params import Term, all_values, boolean, instant_us, positive_int
from thermostat.db.filters import Compare, Comparison, Every, Filter
from thermostat.db.history import Change
from thermostat.db.outbox import Status
from thermostat.db.paging import Page, SortKey

PARAMETERS = ("q.field", "q.op", "q.value", "q.type", "sort", "limit", "marker")
"""The query parameters that a list takes."""
MAX_LIMIT = 2**31 - 1
_ALIASES = {"user": "user_id", "project": "project_id"}
_TIMES = frozenset({"timestamp", "state_timestamp"})

_VALUES: Mapping[str, Callable[[str], Any]] = {
    "enabled": boolean,
    "repeat_actions": boolean,
    "all_projects": boolean,
    "state": lambda text: State(text).value,
    "severity": lambda text: Severity(text).value,
    "timestamp": instant_us,
    "status": lambda text: Status(text).value,
}
_EVENT_VALUES: Mapping[str, Callable[[str], Any]] = {
    **_VALUES,
    "type": lambda text: Change(text).value,
}
_COMPARISONS = {
    Operator.LT: Comparison.LT,
    Operator.LE: Comparison.LE,
    Operator.EQ: Comparison.EQ,
    Operator.GE: Comparison.GE,
    Operator.GT: Comparison.GT,
}
_MINUTE_US = 60_000_000
_MOST_MINUTES = 10**6


def alarm_filters(terms: Iterable[Term], known: Collection[str]) -> dict[str, Any]:
    """Give the wanted values by field, of a list of alarms."""
    return _filters(terms, known, _VALUES)


def event_filters(terms: Iterable[Term], known: Collection[str]) -> tuple[dict[str, Any], Filter]:
    """Give the wanted values by field, of a list of history events, and the wanted times.

    `user` and `project` mean the fields with `_id`; `search_offset` is how many minutes earlier a
    span begins than its timestamp says, and how many later it ends.
    """
    terms = [Term(_ALIASES.get(term.field, term.field), term.op, term.value) for term in terms]
    offsets = [_minutes(term) for term in terms if term.field == "search_offset"]
    times = [term for term in terms if term.field == "timestamp"]
    if offsets and not times:
        raise bad_field("q.field", "search_offset cannot be used without timestamp")
    offset_us = offsets[-1] * _MINUTE_US if offsets else 0
    others = [term for term in terms if term.field not in ("search_offset", "timestamp")]
    where = _filters(others, known, _EVENT_VALUES)
    return where, Every([_time(term, offset_us) for term in times])


def _minutes(term: Term) -> int:
    if term.op is not Operator.EQ:
        raise bad_field("q.op", "search_offset can only be compared with eq")
    if not term.value.isdecimal() or int(term.value[:20]) > _MOST_MINUTES:
        raise bad_field("q.value of search_offset", f"must be 0 to {_MOST_MINUTES} minutes")
    return int(term.value)


def _time(term: Term, offset_us: int) -> Compare:
    comparison = _COMPARISONS.get(term.op)
    if comparison is None:
        raise bad_field("q.op", "timestamp cannot be compared with ne")
    try:
        wanted_us = instant_us(term.value)
    except (ValueError, OverflowError) as error:
        raise bad_field("q.value of timestamp", str(error)) from error
    if term.op in (Operator.GT, Operator.GE):
        wanted_us -= offset_us
    elif term.op in (Operator.LT, Operator.LE):
        wanted_us += offset_us
    return Compare("timestamp_us", comparison, wanted_us)


def column(field: str) -> str:
    """Give the name of the column behind a field of the API."""
    return f"{field}_us" if field in _TIMES else field


def page(req: falcon.Request, known: Collection[str], default: tuple[SortKey, ...]) -> Page:
    """Give which part of a list the request's `sort`, `marker` and `limit` ask for.

    The default order's last key, which is unique, always comes last.
    """
    keys = [
        _sort_key(part, known)
        for value in all_values(req, "sort")
        for part in value.split(",")
        if part
    ] or list(default)
    if default[-1].column not in {key.column for key in keys}:
        keys.append(default[-1])
    marker = all_values(req, "marker")
    return Page(
        sort=keys,
        marker=marker[-1] if marker else None,
        limit=positive_int(req, "limit", most=MAX_LIMIT),
    )


def _filters(
    terms: Iterable[Term], known: Collection[str], values: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for term in terms:
        if term.field not in known:
            raise bad_field("q.field", f"{term.field!r} is not one of {', '.join(known)}")
        if term.op is not Operator.EQ:
            raise bad_field("q.op", f"{term.field} can only be compared with eq")
        try:
            value = values.get(term.field, str)(term.value)
        except (ValueError, OverflowError) as error:
            raise bad_field(f"q.value of {term.field}", str(error)) from error
        found[column(term.field)] = value  # of a field that is given again, the last
    return found


def _sort_key(text: str, known: Collection[str]) -> SortKey:
    field, _, direction = text.partition(":")
    if field not in known:
        raise bad_field("sort", f"{field!r} is not one of {', '.join(known)}")
    if direction not in ("", "asc", "desc"):
        raise bad_field("sort", f"the direction {direction!r} is neither asc nor desc")
    return SortKey(column(field), descending=direction == "desc")
