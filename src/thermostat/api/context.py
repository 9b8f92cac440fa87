# SPDX-License-Identifier: Apache-2.0
"""Who asks: the request's context, made from what keystonemiddleware verified."""

import re
from collections.abc import Mapping
from typing import Any

import falcon
from oslo_context.context import RequestContext

from thermostat.api.enforcing import QuickEnforcer
from thermostat.api.request_ids import REQUEST_ID

REQUEST_ID_FORM = re.compile(r"req-[0-9a-zA-Z-]{1,60}")


class ContextMiddleware:
    """Gives each request a context and each answer its request id."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Make the context; it is also the one that log lines of this thread carry."""
        req.context.decided = {}
        global_id = req.get_header(REQUEST_ID) or ""
        req.context.caller = RequestContext.from_environ(
            req.env,
            request_id=None,
            global_request_id=global_id if REQUEST_ID_FORM.fullmatch(global_id) else None,
        )

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """Tell the request id, which the server's log lines carry too."""
        resp.set_header(REQUEST_ID, caller(req).request_id)


def caller(req: falcon.Request) -> RequestContext:
    """Give the context of the request: user, project, roles, request id."""
    context: RequestContext = req.context.caller
    return context


def own_project(req: falcon.Request) -> str:
    """Give the caller's project, or raise the 403 for a token of a domain or of the system."""
    project_id = caller(req).project_id
    if not project_id:
        raise falcon.HTTPForbidden(description="This needs a token of a project.")
    return str(project_id)


def authorize(
    enforcer: QuickEnforcer, req: falcon.Request, rule: str, target: Mapping[str, Any] | None = None
) -> None:
    """Raise PolicyNotAuthorized (a 403) unless the caller may do this.

    Without a target the caller's own project and user are meant.
    """
    context = caller(req)
    own = {"project_id": context.project_id, "user_id": context.user_id}
    enforcer.require(rule, target or own, context)


def is_allowed(
    enforcer: QuickEnforcer, req: falcon.Request, rule: str, target: Mapping[str, Any]
) -> bool:
    """Tell whether the caller may do this to the target; asked once in a request."""
    decided: dict[object, bool] = req.context.decided
    question = (rule, *target.items())
    if question not in decided:
        decided[question] = enforcer.decide(rule, target, caller(req))
    return decided[question]
