# SPDX-License-Identifier: Apache-2.0
"""`/v2/quotas`: how many alarms a project may have."""

from typing import Annotated, Literal

import falcon
import msgspec
from msgspec import Meta
from oslo_config import cfg

from thermostat.alarms.texts import Name
from thermostat.api import policies
from thermostat.api.body import read_object
from thermostat.api.context import authorize, own_project
from thermostat.api.conversion import convert
from thermostat.api.params import all_values
from thermostat.api.services import Services
from thermostat.db.quotas import UNLIMITED, Limits

OPTS = [
    cfg.IntOpt(
        "user_alarm_quota",
        default=UNLIMITED,
        min=UNLIMITED,
        help="Alarms that a user may have, over all projects; -1: no limit.",
    ),
    cfg.IntOpt(
        "project_alarm_quota",
        default=UNLIMITED,
        min=UNLIMITED,
        help="Alarms that a project may have for which no quota is set through the API; "
        "-1: no limit.",
    ),
]


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limit of one kind of thing; the only kind is alarms."""

    resource: Literal["alarms"]
    """Of what."""
    limit: Annotated[int, Meta(ge=UNLIMITED, le=2**31 - 1)]
    """How many; -1: any number."""


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of a project."""

    project_id: Name
    """Whose limits they are."""
    quotas: Annotated[tuple[Quota, ...], Meta(max_length=10)] = ()
    """The limits."""


def usual_limits(conf: cfg.ConfigOpts) -> Limits:
    """Give the limits where no quota is set."""
    return Limits(project=conf.api.project_alarm_quota, user=conf.api.user_alarm_quota)


class _QuotaNoun:
    """What the resources about quotas share."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def _authorize(self, req: falcon.Request, rule: str, project_id: str) -> None:
        authorize(self._services.enforcer, req, rule, {"project_id": project_id})

    def _show(self, resp: falcon.Response, project_id: str) -> None:
        limit = self._services.alarms.quota(project_id)
        quotas = [{"resource": "alarms", "limit": limit}]
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode({"project_id": project_id, "quotas": quotas})


class QuotasResource(_QuotaNoun):
    """The quotas of the caller's project, or of the one that is named."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the quota that is in force; nothing is stored."""
        named = all_values(req, "project_id")
        project_id = convert((named and named[-1]) or own_project(req), Name, "project_id")
        self._authorize(req, policies.GET_QUOTAS, project_id)
        self._show(resp, project_id)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Set a project's quota."""
        wanted = convert(read_object(req), Quotas)
        self._authorize(req, policies.UPDATE_QUOTAS, wanted.project_id)
        if wanted.quotas:
            self._services.alarms.set_quota(wanted.project_id, wanted.quotas[-1].limit)
        resp.status = falcon.HTTP_201
        self._show(resp, wanted.project_id)


class ProjectQuotasResource(_QuotaNoun):
    """The quotas of one project."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Show the quota that is in force; nothing is stored."""
        convert(project_id, Name, "project_id")
        self._authorize(req, policies.GET_QUOTAS, project_id)
        self._show(resp, project_id)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Let the project's quota be the configured one again."""
        convert(project_id, Name, "project_id")
        self._authorize(req, policies.DELETE_QUOTAS, project_id)
        self._services.alarms.delete_quota(project_id)
        resp.status = falcon.HTTP_204
