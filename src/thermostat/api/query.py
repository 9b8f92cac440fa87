# SPDX-License-Identifier: Apache-2.0
"""`/v2/query/alarms` and `/v2/query/alarms/history`: searches in Aodh's filter language.

`filter` and `orderby` are JSON within a string. A caller who may not read every project's alarms
finds those of the own project only, and may not name another one.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

import falcon
import msgspec

from thermostat.api import alarm_form, policies
from thermostat.api.alarms import AlarmNoun
from thermostat.api.body import read_object
from thermostat.api.context import authorize, caller, own_project
from thermostat.api.conversion import convert
from thermostat.api.filters import ALARM_FIELDS, EVENT_FIELDS, Field, decode_filter, decode_order
from thermostat.api.services import Services
from thermostat.api.turns import Turns
from thermostat.db.filters import (
    EVERYTHING,
    Compare,
    Comparison,
    Every,
    Filter,
    Matches,
    OneOf,
    Opposite,
    Some,
)
from thermostat.db.paging import Page, SortKey

MOST_ROWS = 2**31 - 1
MOST_AT_ONCE = 2
"""Searches that one project may do at the same time."""
WAIT_S = 2.0
"""How long one more waits for its turn."""


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is searched for."""

    filter: str | None = None
    """A filter, as JSON text; without it everything is found."""
    orderby: str | None = None
    """Sort keys, as JSON text: `[{"timestamp": "desc"}]`; without it the newest come first."""
    limit: int | None = None
    """How many to give."""


def search_resources(services: Services) -> tuple["QueryAlarmsResource", "QueryHistoryResource"]:
    """Give the resources of both searches, which share their turns."""
    turns = Turns(MOST_AT_ONCE, WAIT_S)
    return QueryAlarmsResource(services, turns), QueryHistoryResource(services, turns)


class _Search(AlarmNoun):
    """What the searches share."""

    def __init__(self, services: Services, turns: Turns) -> None:
        super().__init__(services)
        self._turns = turns

    def _turn(self, req: falcon.Request) -> AbstractContextManager[None]:
        return self._turns.of(caller(req).project_id or "", "searches")

    def _wanted(
        self, req: falcon.Request, fields: Mapping[str, Field], owner: str, last: SortKey
    ) -> tuple[Filter, Page]:
        """Give the rows that the caller asks for and may see; `owner` is the projects' column."""
        query = convert(read_object(req), Query)
        wanted: Filter = EVERYTHING
        if query.filter is not None:
            wanted = decode_filter(query.filter, fields)
        if not self._is_admin(req):
            own = own_project(req)
            _check_projects(wanted, owner, own)
            wanted = Every((Compare(owner, Comparison.EQ, own), wanted))
        order = [SortKey("timestamp_us", descending=True)]
        if query.orderby is not None:
            order = decode_order(query.orderby, fields)
        if query.limit is not None and query.limit <= 0:
            raise falcon.HTTPBadRequest(description="Limit should be positive: limit is too low.")
        limit = None if query.limit is None else min(query.limit, MOST_ROWS)
        return wanted, Page(sort=[*order, last], limit=limit)


class QueryAlarmsResource(_Search):
    """Alarms that a filter asks for."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Find them."""
        authorize(self._services.enforcer, req, policies.QUERY_ALARMS)
        last = SortKey("alarm_id", descending=True)
        wanted, page = self._wanted(req, ALARM_FIELDS, "project_id", last)
        with self._turn(req):
            found = self._services.alarms.search(wanted, page)
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode(self._shown_all(req, found))


class QueryHistoryResource(_Search):
    """What a filter asks for of the history of all alarms, those that are deleted too."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Find it."""
        authorize(self._services.enforcer, req, policies.QUERY_HISTORY)
        last = SortKey("position", descending=True)
        wanted, page = self._wanted(req, EVENT_FIELDS, "on_behalf_of", last)
        with self._turn(req):
            found = self._services.alarms.search_history(wanted, page)
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode([alarm_form.encode_event(event) for event in found])


def _check_projects(wanted: Filter, owner: str, own: str) -> None:
    """Raise the 401 for a filter that names another project than the caller's own."""
    for name in _named(wanted, owner):
        if name != own:
            # Aodh's status for it, of a project that exists and of one that does not.
            raise falcon.HTTPUnauthorized(
                description=f"Not Authorized to access project {name:.255}"
            )


def _named(wanted: Filter, owner: str) -> Iterator[str]:
    """Give what a filter compares the owner's column with."""
    match wanted:
        case Every(parts) | Some(parts):
            for part in parts:
                yield from _named(part, owner)
        case Opposite(part):
            yield from _named(part, owner)
        case Compare(column, _, value) if column == owner:
            yield str(value)
        case OneOf(column, values) if column == owner:
            yield from map(str, values)
        case Matches(column, pattern, _) if column == owner:
            yield pattern
