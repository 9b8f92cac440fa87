# SPDX-License-Identifier: Apache-2.0
"""`/v2/alarms`: the alarms of a project, in Aodh's v2 form."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import falcon
import msgspec
from msgspec import UNSET

from thermostat.alarms.lending import trust_actions
from thermostat.alarms.model import Alarm, State
from thermostat.api import alarm_form, policies
from thermostat.api.actions import check_actions, with_secrets
from thermostat.api.body import read_json, read_object
from thermostat.api.context import authorize, caller, is_allowed, own_project
from thermostat.api.errors import bad_field
from thermostat.api.listing import PARAMETERS, alarm_filters, event_filters, page
from thermostat.api.outside import check_with_stores
from thermostat.api.params import instant_us, query_terms, refuse_unknown
from thermostat.api.services import Services
from thermostat.api.trust_steps import ensured_trust
from thermostat.db.alarms import MANUALLY_SET, AlarmNotFound
from thermostat.db.history import Author
from thermostat.db.paging import SortKey, UnknownMarker
from thermostat.db.references import BadReference

FILTERS = (
    "all_projects",
    "project_id",
    "user_id",
    "type",
    "name",
    "enabled",
    "state",
    "severity",
    "timestamp",
    "repeat_actions",
)
SORT_KEYS = (
    "alarm_id",
    "name",
    "type",
    "enabled",
    "severity",
    "state",
    "repeat_actions",
    "user_id",
    "project_id",
    "timestamp",
    "state_timestamp",
)
_NEWEST_FIRST = (SortKey("timestamp_us", descending=True), SortKey("alarm_id", descending=True))
EVENT_FIELDS = (
    "event_id",
    "type",
    "user_id",
    "project_id",
    "on_behalf_of",
    "severity",
    "timestamp",
)
EVENT_SORT_KEYS = (*EVENT_FIELDS, "alarm_id")
_NEWEST_EVENT_FIRST = (SortKey("position", descending=True),)


class AlarmNoun:
    """What the resources about alarms share."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def _get(self, req: falcon.Request, alarm_id: str, rule: str) -> Alarm:
        """Give an alarm to which the caller may do this.

        The alarm of another project does not exist for a caller who may not.
        """
        alarm = None if "\0" in alarm_id else self._services.alarms.find(alarm_id)
        if alarm is None:
            raise _not_found(alarm_id)
        enforcer, target = self._services.enforcer, _owner(alarm)
        if not is_allowed(enforcer, req, rule, target):
            if alarm.project_id != caller(req).project_id:
                raise _not_found(alarm_id)
            authorize(enforcer, req, rule, target)
        return alarm

    def _defined(self, req: falcon.Request, document: dict[str, Any], alarm_id: str) -> Alarm:
        """Give the new alarm that a request defines, checked in all that creation checks."""
        context = caller(req)
        own = {"user_id": str(context.user_id), "project_id": own_project(req)}
        _, alarm = alarm_form.decode(
            document, alarm_id=alarm_id, now_us=self._services.now_us(), **own
        )
        alarm = with_secrets(alarm, None)
        if field := self._not_allowed_owner(req, alarm, own):
            raise _not_authorized(field.removesuffix("_id"), str(getattr(alarm, field)))
        self._check_actions(req, alarm)
        check_with_stores(alarm.rule, alarm.project_id, self._services.outside)
        return alarm

    def _shown_all(self, req: falcon.Request, alarms: Sequence[Alarm]) -> list[dict[str, Any]]:
        """Give the alarm objects of an answer.

        URLs with their secrets are for those of the alarm's own project who may change it.
        """
        faults = self._services.alarms.trust_faults(alarms)
        shown = []
        for alarm in alarms:
            whole = alarm.project_id == caller(req).project_id and is_allowed(
                self._services.enforcer, req, policies.CHANGE_ALARM, _owner(alarm)
            )
            fault = faults.get(alarm.trust_id or "")
            shown.append(alarm_form.encode(alarm, whole=whole, trust_error=fault))
        return shown

    def _shown(self, req: falcon.Request, alarm: Alarm) -> dict[str, Any]:
        """Give the alarm object of an answer, with what `_shown_all` says."""
        return self._shown_all(req, [alarm])[0]

    def _not_allowed_owner(
        self, req: falcon.Request, alarm: Alarm, known: Mapping[str, Any]
    ) -> str | None:
        """Give the field by which the caller, who may not, would give the alarm to another."""
        for field, owner in known.items():
            if getattr(alarm, field) != owner and not is_allowed(
                self._services.enforcer, req, policies.SET_OWNER, _owner(alarm)
            ):
                return field
        return None

    def _check_actions(self, req: falcon.Request, alarm: Alarm) -> None:
        check_actions(
            alarm,
            self._services.schemes,
            is_admin=lambda: is_allowed(
                self._services.enforcer, req, policies.USE_ADMIN_ACTIONS, _owner(alarm)
            ),
            egress=self._services.egress,
            most=self._services.max_actions,
        )

    def _is_admin(self, req: falcon.Request) -> bool:
        return is_allowed(self._services.enforcer, req, policies.GET_ALL_ALARMS, {})


class AlarmsResource(AlarmNoun):
    """All alarms."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the project's alarms that the query matches, by default the newest first."""
        refuse_unknown(req, *PARAMETERS)
        where = alarm_filters(query_terms(req), FILTERS)
        own = caller(req).project_id
        everything = where.pop("all_projects", False)
        asked = where.get("project_id", own)
        if asked != own and not self._is_admin(req):
            raise _not_authorized("project", str(asked))
        if everything or asked != own:
            authorize(self._services.enforcer, req, policies.GET_ALL_ALARMS)
        else:
            authorize(self._services.enforcer, req, policies.GET_ALARMS)
            where["project_id"] = own
        try:
            found = self._services.alarms.list(where, page(req, SORT_KEYS, _NEWEST_FIRST))
        except UnknownMarker as error:
            raise bad_field("marker", f"there is no alarm {error}") from error
        _answer(resp, self._shown_all(req, found))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create an alarm."""
        services, context = self._services, caller(req)
        authorize(services.enforcer, req, policies.CREATE_ALARM)
        alarm = self._defined(req, read_object(req), str(uuid.uuid4()))
        with ensured_trust(services, context, wanted=bool(trust_actions(alarm))) as trust_id:
            alarm = msgspec.structs.replace(alarm, trust_id=trust_id)
            with references_checked():
                services.alarms.create(alarm, _author(req))
        services.alarm_changed(alarm.alarm_id)
        resp.status = falcon.HTTP_201
        resp.location = f"{req.prefix}/v2/alarms/{alarm.alarm_id}"
        _answer(resp, self._shown(req, alarm))


class AlarmResource(AlarmNoun):
    """One alarm."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, alarm_id: str) -> None:
        """Show the alarm."""
        _answer(resp, self._shown(req, self._get(req, alarm_id, policies.GET_ALARM)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, alarm_id: str) -> None:
        """Replace the alarm's definition."""
        services = self._services
        known = self._get(req, alarm_id, policies.CHANGE_ALARM)
        definition, wanted = alarm_form.decode(
            read_object(req),
            alarm_id=alarm_id,
            user_id=known.user_id,
            project_id=known.project_id,
            now_us=services.now_us(),
        )
        if self._not_allowed_owner(req, wanted, _owner(known)):
            # As in Aodh, who may name no owner may send one: it is not looked at.
            wanted = msgspec.structs.replace(wanted, **_owner(known))
        # Another project's members may not read what was written for this one's.
        is_moved = wanted.project_id != known.project_id
        wanted = with_secrets(wanted, None if is_moved else known)
        self._check_actions(req, wanted)
        if (wanted.rule, wanted.project_id) != (known.rule, known.project_id):
            check_with_stores(wanted.rule, wanted.project_id, self._services.outside)
        lent = trust_actions(wanted)
        # Whoever names a URL lends the rights to call it: never those of an earlier author.
        needs_new = bool(lent) and (
            known.trust_id is None
            or not _may_keep_trust(known, wanted)
            or bool(services.alarms.trust_faults([known]))
        )

        def change(current: Alarm) -> Alarm:
            alarm = _with_state_of(current, wanted, definition)
            kept_id = current.trust_id if lent and _may_keep_trust(current, wanted) else None
            if lent and not (trust_id or kept_id):
                raise falcon.HTTPConflict(description="The alarm was edited meanwhile; try again.")
            return msgspec.structs.replace(alarm, trust_id=trust_id or kept_id)

        with ensured_trust(services, caller(req), wanted=needs_new) as trust_id:
            try:
                with references_checked():
                    alarm = services.alarms.replace(
                        alarm_id, change, _author(req), services.now_us()
                    )
            except AlarmNotFound:
                raise _not_found(alarm_id) from None
        services.alarm_changed(alarm_id)
        _answer(resp, self._shown(req, alarm))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, alarm_id: str) -> None:
        """Delete the alarm."""
        self._get(req, alarm_id, policies.DELETE_ALARM)
        try:
            self._services.alarms.delete(alarm_id, _author(req), self._services.now_us())
        except AlarmNotFound:
            raise _not_found(alarm_id) from None
        self._services.alarm_changed(alarm_id)
        resp.status = falcon.HTTP_204


class StateResource(AlarmNoun):
    """One alarm's state: a JSON string."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, alarm_id: str) -> None:
        """Show the state."""
        _answer(resp, self._get(req, alarm_id, policies.GET_ALARM_STATE).state)

    def on_put(self, req: falcon.Request, resp: falcon.Response, alarm_id: str) -> None:
        """Set the state by hand; it is in the history and fires no action."""
        self._get(req, alarm_id, policies.CHANGE_ALARM_STATE)
        document = read_json(req)
        try:
            state = State(document)
        except ValueError:
            known = ", ".join(State)
            raise bad_field("state", f"{document!r:.100} is not one of {known}") from None
        services = self._services
        try:
            alarm = services.alarms.set_state(alarm_id, state, _author(req), services.now_us())
        except AlarmNotFound:
            raise _not_found(alarm_id) from None
        services.alarm_changed(alarm_id)
        _answer(resp, alarm.state)


class HistoryResource(AlarmNoun):
    """What happened to one alarm."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, alarm_id: str) -> None:
        """List the events that the query matches, the newest first."""
        self._get(req, alarm_id, policies.ALARM_HISTORY)
        refuse_unknown(req, *PARAMETERS)
        terms = query_terms(req)
        where, times = event_filters(terms, EVENT_FIELDS)
        if not self._is_admin(req):
            own = caller(req).project_id
            for term in terms:
                if term.field in ("project", "project_id") and term.value != own:
                    raise _not_authorized("project", term.value)
            if where.setdefault("on_behalf_of", own) != own:
                raise bad_field("q.value of on_behalf_of", "must be your own project")
        wanted = page(req, EVENT_SORT_KEYS, _NEWEST_EVENT_FIRST)
        try:
            events = self._services.alarms.history(alarm_id, where, wanted, times)
        except UnknownMarker as error:
            raise bad_field("marker", f"there is no event {error}") from error
        _answer(resp, [alarm_form.encode_event(event) for event in events])


def _with_state_of(current: Alarm, wanted: Alarm, definition: alarm_form.Definition) -> Alarm:
    """Give the wanted alarm in the state that it is to have.

    It keeps the current one, unless the request names another: clients send back what they have
    read, so a state that has changed since (its timestamp tells) is old and not a wish.
    """
    alarm = msgspec.structs.replace(
        wanted,
        state=current.state,
        state_reason=current.state_reason,
        state_timestamp_us=current.state_timestamp_us,
        timestamp_us=current.timestamp_us,
        evaluate_timestamp_us=current.evaluate_timestamp_us,
        revision=current.revision,
    )
    if definition.state in (UNSET, current.state) or _is_old(definition, current):
        return alarm
    return msgspec.structs.replace(
        alarm,
        state=wanted.state,
        state_reason=MANUALLY_SET,
        state_timestamp_us=wanted.state_timestamp_us,
    )


def _is_old(definition: alarm_form.Definition, current: Alarm) -> bool:
    if definition.state_timestamp is UNSET:
        return False
    try:
        return instant_us(definition.state_timestamp) != current.state_timestamp_us
    except (ValueError, OverflowError):
        raise bad_field(
            "state_timestamp", f"{definition.state_timestamp!r:.100} is not an ISO 8601 instant"
        ) from None


@contextmanager
def references_checked() -> Iterator[None]:
    """Raise the 400 for a rule that names an alarm which it may not."""
    try:
        yield
    except BadReference as error:
        raise bad_field(error.field, error.reason) from error


def _owner(alarm: Alarm) -> dict[str, Any]:
    return {"project_id": alarm.project_id, "user_id": alarm.user_id}


def _may_keep_trust(current: Alarm, wanted: Alarm) -> bool:
    """Tell whether the trust serves the same owner, and calls nothing that it was not lent for."""
    is_lent_for = trust_actions(wanted) <= trust_actions(current)
    return is_lent_for and _owner(wanted) == _owner(current)


def _author(req: falcon.Request) -> Author:
    context = caller(req)
    return Author(user_id=context.user_id, project_id=context.project_id)


def _not_authorized(kind: str, owner: str) -> falcon.HTTPUnauthorized:
    """Give Aodh's refusal of a project or user, of one that exists and of one that does not."""
    return falcon.HTTPUnauthorized(description=f"Not Authorized to access {kind} {owner:.255}")


def _not_found(alarm_id: str) -> falcon.HTTPNotFound:
    return falcon.HTTPNotFound(description=f"Alarm {alarm_id} not found")


def _answer(resp: falcon.Response, document: Any) -> None:
    resp.content_type = falcon.MEDIA_JSON
    resp.data = msgspec.json.encode(document)
