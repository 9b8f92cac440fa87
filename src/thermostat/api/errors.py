# SPDX-License-Identifier: Apache-2.0
"""Errors in Aodh's shape: `{"error_message": {"debuginfo", "faultcode", "faultstring"}}`.

A resource raises Falcon's `HTTPError` classes with a `description` that names the field and the
reason; everything else that it lets through becomes a 403 (policy, quota), a 503 (store, database)
or a 500 without internals.
"""

import logging
from typing import Any

import falcon
import msgspec
from oslo_policy.policy import InvalidScope, PolicyNotAuthorized
from sqlalchemy.exc import OperationalError

from thermostat.db.quotas import OverQuota
from thermostat.db.searching import TooLong
from thermostat.store.base import StoreFull, StoreUnavailable

LOG = logging.getLogger(__name__)
RETRY_AFTER_S = 5


def error_body(status: int, message: str) -> dict[str, Any]:
    """Give the body of an error answer with this HTTP status."""
    code = "Server" if status >= 500 else "Client"
    return {"error_message": {"debuginfo": None, "faultcode": code, "faultstring": message}}


def bad_field(field: str, reason: str) -> falcon.HTTPBadRequest:
    """Give the 400 for an invalid input: Aodh's words, with the field and the reason."""
    return falcon.HTTPBadRequest(description=f"Invalid input for field/attribute {field}: {reason}")


def install(app: falcon.App[Any, Any]) -> None:
    """Make the application answer every error in Aodh's shape."""
    app.set_error_serializer(_serialize)
    # Falcon looks for the most specific class, so that its own errors keep their handler.
    app.add_error_handler(Exception, _unexpected)
    for refused in (PolicyNotAuthorized, InvalidScope, OverQuota):
        app.add_error_handler(refused, _forbidden)
    app.add_error_handler(TooLong, _too_long)
    for unavailable in (StoreFull, StoreUnavailable):
        app.add_error_handler(unavailable, _store_unavailable)
    app.add_error_handler(OperationalError, _database_unavailable)


def _serialize(_req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    status = falcon.http_status_to_code(error.status)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = msgspec.json.encode(error_body(status, error.description or error.title or ""))


def _unexpected(
    req: falcon.Request, _resp: falcon.Response, error: Exception, _params: Any
) -> None:
    LOG.error("%s %s failed", req.method, req.path, exc_info=error)
    raise falcon.HTTPInternalServerError(description="Internal error; the server's log has more.")


def _forbidden(
    _req: falcon.Request, _resp: falcon.Response, error: Exception, _params: Any
) -> None:
    raise falcon.HTTPForbidden(description=str(error)) from error


def _too_long(_req: falcon.Request, _resp: falcon.Response, error: Exception, _params: Any) -> None:
    raise falcon.HTTPBadRequest(
        description=f"Filter expression not valid: filter: {error}; ask for less"
    ) from error


def _store_unavailable(
    req: falcon.Request, _resp: falcon.Response, error: Exception, _params: Any
) -> None:
    LOG.warning("%s %s: %s", req.method, req.path, error)
    raise falcon.HTTPServiceUnavailable(
        description=f"The sample store cannot do this now: {error}", retry_after=RETRY_AFTER_S
    ) from error


def _database_unavailable(
    req: falcon.Request, _resp: falcon.Response, error: Exception, _params: Any
) -> None:
    LOG.error("%s %s: the alarm database failed", req.method, req.path, exc_info=error)
    # Without Retry-After: aodhclient, and so Heat, makes a TypeError of a 503 that has one.
    raise falcon.HTTPServiceUnavailable(
        description="The alarm database cannot be used now."
    ) from error
