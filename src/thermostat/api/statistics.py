# SPDX-License-Identifier: Apache-2.0
"""`GET /v2/meters/{meter}/statistics`, in Ceilometer's shape."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import falcon
import msgspec

from thermostat.alarms.query import Condition, Operator, QueryError
from thermostat.alarms.rules import MAX_PERIOD_S
from thermostat.api import policies
from thermostat.api.context import authorize, caller, own_project
from thermostat.api.errors import bad_field
from thermostat.api.params import Term, all_values, positive_int, query_terms
from thermostat.api.services import Services
from thermostat.store.base import InvalidSelection, PeriodStatistics, Selection

MOST_OBJECTS = 100_000
"""The largest `limit`."""

FUNCTIONS: Mapping[str, Callable[[PeriodStatistics], float]] = {
    "count": lambda one: one.count,
    "min": lambda one: one.minimum,
    "max": lambda one: one.maximum,
    "avg": lambda one: one.average,
    "sum": lambda one: one.total,
    "stddev": lambda one: one.stddev,
    "last": lambda one: one.last,
}
DEFAULT_FUNCTIONS = ("count", "min", "max", "avg", "sum")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Statistics:
    """The statistics of one meter."""

    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._enforcer = services.enforcer

    def on_get(self, req: falcon.Request, resp: falcon.Response, meter: str) -> None:
        """Give an object per period and group that has samples, oldest first."""
        terms = query_terms(req)
        project_id = self._scope(req, terms)
        selection = _selection(meter, project_id, terms)
        period_s = _period(req)
        functions = _functions(req)
        limit = positive_int(req, "limit", most=MOST_OBJECTS)
        try:
            statistics = self._store.statistics(
                selection, period_s=period_s, group_by=all_values(req, "groupby")
            )
        except InvalidSelection as error:
            field, _, reason = str(error).partition(": ")
            raise bad_field(field, reason) from error
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode(
            [_shape(one, period_s, functions) for one in statistics[:limit]]
        )

    def _scope(self, req: falcon.Request, terms: Sequence[Term]) -> str | None:
        """Give the project whose samples are asked for; None for all projects'.

        It is the caller's own unless the query names another one, which takes an administrator.
        """
        everything = _only(terms, "all_projects")
        if everything is not None and everything.lower() not in {"true", "false"}:
            raise bad_field("all_projects", f"{everything!r} is neither true nor false")
        wanted = _only(terms, "project_id")
        is_of_all = (everything or "").lower() == "true"
        project_id = None if is_of_all else wanted or own_project(req)
        if project_id is not None and project_id == caller(req).project_id:
            authorize(self._enforcer, req, policies.GET_STATISTICS)
        else:
            target = {"project_id": project_id}
            authorize(self._enforcer, req, policies.GET_ALL_STATISTICS, target)
        return wanted if project_id is None else project_id


def _selection(meter: str, project_id: str | None, terms: Sequence[Term]) -> Selection:
    starts, ends, conditions = [], [], []
    for term in terms:
        if term.field == "timestamp":
            instant_us = _instant_us(term.value)
            match term.op:
                case Operator.GT:
                    starts.append(instant_us)
                case Operator.GE:
                    starts.append(instant_us - 1)
                case Operator.LT:
                    ends.append(instant_us - 1)
                case Operator.LE:
                    ends.append(instant_us)
                case _:
                    raise bad_field("timestamp", f"cannot be compared with {term.op.value}")
        elif term.field not in {"project_id", "all_projects"}:
            try:
                conditions.append(Condition(term.field, term.op, term.value))
            except QueryError as error:
                raise bad_field("q.field", str(error)) from error
    return Selection(
        meter=meter,
        project_id=project_id,
        conditions=conditions,
        start_us=max(starts, default=None),
        end_us=min(ends, default=None),
    )


def _only(terms: Sequence[Term], field: str) -> str | None:
    """Give the one value that this field is to equal; None if the query does not name it."""
    found = [term for term in terms if term.field == field]
    if len(found) > 1:
        raise bad_field(field, "may be given only once")
    if found and found[0].op is not Operator.EQ:
        raise bad_field(field, f"cannot be compared with {found[0].op.value}, only with eq")
    return found[0].value if found else None


def _instant_us(text: str) -> int:
    """Give microseconds since the epoch for an ISO 8601 instant; without an offset it is UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise bad_field("timestamp", f"{text!r} is not a date and time in ISO 8601") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - _EPOCH) // _MICROSECOND


def _period(req: falcon.Request) -> int | None:
    """Give the period in seconds; None, as Ceilometer's 0, makes one period of everything."""
    if req.params.get("period") == "0":
        return None
    return positive_int(req, "period", most=MAX_PERIOD_S)


def _functions(req: falcon.Request) -> Sequence[str] | None:
    """Give the chosen functions; None when none was chosen."""
    if any(all_values(req, "aggregate.param")):
        raise bad_field("aggregate.param", "no function takes a parameter here")
    chosen = all_values(req, "aggregate.func")
    for function in chosen:
        if function not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise bad_field("aggregate.func", f"{function!r} is not one of {known}")
    return chosen or None


def _shape(
    one: PeriodStatistics, period_s: int | None, functions: Sequence[str] | None
) -> dict[str, Any]:
    """Give Ceilometer's object; chosen functions also stand under `aggregate`, as there."""
    values = {name: FUNCTIONS[name](one) for name in functions or DEFAULT_FUNCTIONS}
    return {
        **values,
        **({"aggregate": values} if functions else {}),
        "unit": one.unit,
        "period": period_s or 0,
        "period_start": _iso(one.period_start_us),
        "period_end": _iso(one.period_end_us),
        "duration": (one.duration_end_us - one.duration_start_us) / 1_000_000,
        "duration_start": _iso(one.duration_start_us),
        "duration_end": _iso(one.duration_end_us),
        "groupby": dict(one.group) or None,
    }


def _iso(instant_us: int) -> str:
    """Give an instant in UTC without its offset, as Ceilometer does."""
    return (_EPOCH + instant_us * _MICROSECOND).replace(tzinfo=None).isoformat()
