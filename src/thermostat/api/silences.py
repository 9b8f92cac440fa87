# SPDX-License-Identifier: Apache-2.0
"""`/v2/silences`: spans of time in which no action of the alarms that they match is called.

A project's silences are for its own alarms. An administrator may make one for the alarms of all
projects; everybody sees it, since it may be for theirs.
"""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import falcon
import msgspec
from msgspec import UNSET, Meta, UnsetType
from oslo_config import cfg

from thermostat.alarms.model import Severity, State
from thermostat.alarms.rules import RULE_TYPES
from thermostat.alarms.texts import NO_NUL
from thermostat.api import policies
from thermostat.api.body import read_object
from thermostat.api.context import authorize, caller, is_allowed, own_project
from thermostat.api.conversion import convert
from thermostat.api.errors import bad_field
from thermostat.api.params import all_values, boolean, instant_us, positive_int, refuse_unknown
from thermostat.api.services import Services
from thermostat.db.mapping import iso
from thermostat.db.silences import (
    Matcher,
    Op,
    Silence,
    SilenceExpired,
    SilenceNotFound,
    Status,
    Term,
    TooManySilences,
)
from thermostat.patterns import finder

MOST_LISTED = 1_000
LONGEST_DAYS = 366
"""How long a silence may be, in days."""
US_PER_DAY = 86_400_000_000
LAST_US = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
OPTS = [
    cfg.IntOpt(
        "project_silence_quota",
        default=100,
        min=0,
        help="Silences that a project may have that are not over, and as many that are. So many "
        "may be for all projects, too.",
    ),
]

_KNOWN = {
    "severity": [severity.value for severity in Severity],
    "state": [state.value for state in State],
    "type": sorted(RULE_TYPES),
}


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A silence as a request defines it."""

    matcher: Matcher
    """Which alarms it is for: all of these terms must hold."""
    until: str
    """When it ends, an ISO 8601 instant; without an offset it is UTC."""
    comment: Annotated[str, Meta(min_length=1, max_length=1000, pattern=NO_NUL)]
    """Why."""
    from_: str | UnsetType = msgspec.field(default=UNSET, name="from")
    """When it begins; left out: now, or as before."""
    all_projects: bool | UnsetType = UNSET
    """Whether it is for the alarms of all projects, which is for administrators."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A silence in an answer."""

    silence_id: str
    """Its id."""
    project_id: str | None
    """Whose alarms it is for; null: those of all projects."""
    all_projects: bool
    """Whether it is for the alarms of all projects."""
    matcher: tuple[Term, ...]
    """Which alarms it is for: all of these terms must hold."""
    from_: str = msgspec.field(name="from")
    """When it begins, in UTC."""
    until: str
    """When it ends, in UTC."""
    author: str
    """The id of the user who made it."""
    comment: str
    """Why."""
    created_at: str
    """When it was made, in UTC."""
    updated_at: str
    """When it was changed last, in UTC."""
    status: Status
    """Where it stands."""


class SilenceNoun:
    """What the resources about silences share."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def _get(self, req: falcon.Request, silence_id: str, rule: str) -> Silence:
        """Give a silence to which the caller may do this; another project's does not exist."""
        silence = None if "\0" in silence_id else self._services.silences.find(silence_id)
        if silence is None:
            raise _not_found(silence_id)
        enforcer = self._services.enforcer
        if silence.project_id is None:
            if rule != policies.GET_SILENCE:
                authorize(enforcer, req, policies.SILENCE_ALL_PROJECTS)
            authorize(enforcer, req, rule)
            return silence
        target = {"project_id": silence.project_id}
        if not is_allowed(enforcer, req, rule, target):
            if silence.project_id != caller(req).project_id:
                raise _not_found(silence_id)
            authorize(enforcer, req, rule, target)
        return silence

    def _change(self, silence_id: str, change: Callable[[Silence], Silence]) -> Silence:
        try:
            return self._services.silences.change(silence_id, change, self._services.now_us())
        except SilenceNotFound:
            raise _not_found(silence_id) from None
        except SilenceExpired:
            raise falcon.HTTPConflict(
                description=f"Silence {silence_id} is over: create another one"
            ) from None

    def _answer(self, resp: falcon.Response, silence: Silence) -> None:
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode(_shown(silence, self._services.now_us()))


class SilencesResource(SilenceNoun):
    """All silences."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the project's silences and those for all projects, those that end last first."""
        refuse_unknown(req, "status", "all_projects", "limit")
        wanted, services = _wanted_status(req), self._services
        limit = positive_int(req, "limit", most=MOST_LISTED)
        project_id: str | None = None
        if _wants_all(req):
            authorize(services.enforcer, req, policies.GET_ALL_SILENCES)
        else:
            authorize(services.enforcer, req, policies.GET_SILENCES)
            project_id = own_project(req)
        now_us = services.now_us()
        found = [
            _shown(silence, now_us)
            for silence in services.silences.list(project_id)
            if wanted in (None, silence.status(now_us))
        ]
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode(found[: limit or MOST_LISTED])

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create a silence."""
        services, context = self._services, caller(req)
        authorize(services.enforcer, req, policies.CREATE_SILENCE)
        own, now_us = own_project(req), services.now_us()
        wanted = convert(read_object(req), Definition)
        if wanted.all_projects is True:
            authorize(services.enforcer, req, policies.SILENCE_ALL_PROJECTS)
        from_us, until_us = _span(wanted, now_us, now_us)
        _check(wanted.matcher)
        silence = Silence(
            silence_id=str(uuid.uuid4()),
            project_id=None if wanted.all_projects is True else own,
            matcher=wanted.matcher,
            from_us=from_us,
            until_us=until_us,
            user_id=str(context.user_id),
            comment=wanted.comment,
            created_us=now_us,
            updated_us=now_us,
        )
        try:
            services.silences.create(silence)
        except TooManySilences as error:
            raise falcon.HTTPForbidden(description=f"Silence quota exceeded: {error}") from error
        resp.status = falcon.HTTP_201
        resp.location = f"{req.prefix}/v2/silences/{silence.silence_id}"
        self._answer(resp, silence)


class SilenceResource(SilenceNoun):
    """One silence."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, silence_id: str) -> None:
        """Show the silence."""
        self._answer(resp, self._get(req, silence_id, policies.GET_SILENCE))

    def on_put(self, req: falcon.Request, resp: falcon.Response, silence_id: str) -> None:
        """Replace the silence's definition: shorten, extend or edit it."""
        known = self._get(req, silence_id, policies.CHANGE_SILENCE)
        wanted = convert(read_object(req), Definition)
        is_of_all = known.project_id is None
        if wanted.all_projects not in (UNSET, is_of_all):
            raise bad_field("all_projects", f"is {str(is_of_all).lower()} and cannot be changed")
        _check(wanted.matcher)
        now_us = self._services.now_us()

        def change(current: Silence) -> Silence:
            from_us, until_us = _span(wanted, now_us, current.from_us)
            return msgspec.structs.replace(
                current,
                matcher=wanted.matcher,
                from_us=from_us,
                until_us=until_us,
                comment=wanted.comment,
            )

        self._answer(resp, self._change(silence_id, change))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, silence_id: str) -> None:
        """Let the silence end now; it is listed as expired for some days."""
        self._get(req, silence_id, policies.DELETE_SILENCE)
        now_us = self._services.now_us()

        def end(current: Silence) -> Silence:
            return msgspec.structs.replace(
                current, from_us=min(current.from_us, now_us), until_us=now_us
            )

        self._change(silence_id, end)
        resp.status = falcon.HTTP_204


def _span(wanted: Definition, now_us: int, usual_from_us: int) -> tuple[int, int]:
    """Give when a silence begins and ends, in microseconds. Raises the 400."""
    until_us = _instant(wanted.until, "until")
    from_us = usual_from_us if wanted.from_ is UNSET else _instant(wanted.from_, "from")
    if until_us <= now_us:
        raise bad_field("until", "must be in the future")
    if until_us <= from_us:
        raise bad_field("until", "must be after from")
    if until_us - max(from_us, now_us) > LONGEST_DAYS * US_PER_DAY:
        raise bad_field("until", f"must be at most {LONGEST_DAYS} days after from")
    return from_us, until_us


def _instant(text: str, field: str) -> int:
    try:
        instant = instant_us(text)
    except (ValueError, OverflowError):
        raise bad_field(field, f"{text!r:.100} is not an ISO 8601 instant") from None
    if not 0 <= instant < LAST_US:
        raise bad_field(field, "must be from 1970 to 9998")
    return instant


def _check(matcher: tuple[Term, ...]) -> None:
    """Raise the 400 for a term that can mean nothing."""
    for position, term in enumerate(matcher):
        where = f"matcher[{position}].value"
        if term.op is Op.REGEX:
            try:
                finder(term.value)
            except (ValueError, UnicodeEncodeError) as error:
                raise bad_field(where, str(error)) from error
        elif term.field in _KNOWN and term.value not in _KNOWN[term.field]:
            known = ", ".join(_KNOWN[term.field])
            raise bad_field(where, f"{term.value!r:.100} is not one of {known}")


def _wanted_status(req: falcon.Request) -> Status | None:
    given = all_values(req, "status")
    try:
        return Status(given[-1]) if given else None
    except ValueError:
        known = ", ".join(Status)
        raise bad_field("status", f"{given[-1]!r:.100} is not one of {known}") from None


def _wants_all(req: falcon.Request) -> bool:
    given = all_values(req, "all_projects")
    try:
        return bool(given) and boolean(given[-1])
    except ValueError as error:
        raise bad_field("all_projects", str(error)) from error


def _shown(silence: Silence, now_us: int) -> Shown:
    return Shown(
        silence_id=silence.silence_id,
        project_id=silence.project_id,
        all_projects=silence.project_id is None,
        matcher=silence.matcher,
        from_=iso(silence.from_us),
        until=iso(silence.until_us),
        author=silence.user_id,
        comment=silence.comment,
        created_at=iso(silence.created_us),
        updated_at=iso(silence.updated_us),
        status=silence.status(now_us),
    )


def _not_found(silence_id: str) -> falcon.HTTPNotFound:
    return falcon.HTTPNotFound(description=f"Silence {silence_id} not found")
