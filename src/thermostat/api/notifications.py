# SPDX-License-Identifier: Apache-2.0
"""`/v2/notifications`: what became of notifications; the dead ones can be sent again.

`/v2/alarms/{alarm_id}/notifications` has those of one alarm.
"""

from typing import Any

import falcon
import msgspec

from thermostat.api import policies
from thermostat.api.alarms import AlarmNoun
from thermostat.api.context import authorize, caller, is_allowed, own_project
from thermostat.api.errors import bad_field
from thermostat.api.listing import alarm_filters, page
from thermostat.api.params import query_terms, refuse_unknown
from thermostat.api.services import Services
from thermostat.db.deliveries import NEWEST_FIRST, Chosen, Deliveries, Delivery
from thermostat.db.mapping import iso
from thermostat.db.paging import UnknownMarker
from thermostat.redaction import hidden

PARAMETERS = ("q.field", "q.op", "q.value", "q.type", "limit", "marker")
ALARM_FILTERS = ("status", "scheme", "target")
FILTERS = ("all_projects", "project_id", "alarm_id", *ALARM_FILTERS)


def encode(delivery: Delivery) -> dict[str, Any]:
    """Give the notification object of an answer; the secrets of its URL are not in it."""
    body = msgspec.json.decode(delivery.body)
    body = body.get("alarms", [body])[0]  # the body for a group begins with its own
    return {
        "notification_id": delivery.notification_id,
        "alarm_id": delivery.alarm_id,
        "project_id": delivery.project_id,
        "timestamp": iso(delivery.created_us),
        "previous": body["previous"],
        "state": body["current"],
        "action": hidden(delivery.action),
        "status": delivery.status,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
        "next_attempt_timestamp": None if delivery.due_us is None else iso(delivery.due_us),
        "finished_timestamp": None if delivery.finished_us is None else iso(delivery.finished_us),
        "request_id": delivery.request_id,
    }


def _list(req: falcon.Request, deliveries: Deliveries, where: dict[str, Any]) -> Any:
    try:
        found = deliveries.list(Chosen(where), page(req, (), NEWEST_FIRST))
    except UnknownMarker as error:
        raise bad_field("marker", f"there is no notification {error}") from error
    return [encode(one) for one in found]


class AlarmNotificationsResource(AlarmNoun):
    """The notifications of one alarm."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, alarm_id: str) -> None:
        """List them, the newest first."""
        self._get(req, alarm_id, policies.GET_NOTIFICATIONS)
        refuse_unknown(req, *PARAMETERS)
        where = alarm_filters(query_terms(req), ALARM_FILTERS)
        found = _list(req, self._services.deliveries, {**where, "alarm_id": alarm_id})
        _answer(resp, found)


class NotificationsResource:
    """The notifications of a project."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List them, the newest first: of the caller's project, or for administrators of any."""
        refuse_unknown(req, *PARAMETERS)
        where = alarm_filters(query_terms(req), FILTERS)
        everything = where.pop("all_projects", False)
        own = caller(req).project_id
        if everything or where.get("project_id", own) != own:
            authorize(self._services.enforcer, req, policies.GET_ALL_NOTIFICATIONS)
        else:
            where["project_id"] = own_project(req)
            authorize(self._services.enforcer, req, policies.GET_NOTIFICATIONS)
        _answer(resp, _list(req, self._services.deliveries, where))


class _OneNotification:
    """What the resources about one notification share."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def _get(self, req: falcon.Request, notification_id: str, rule: str) -> Delivery:
        """Give a notification to which the caller may do this; others' do not exist."""
        deliveries = self._services.deliveries
        found = None if "\0" in notification_id else deliveries.find(notification_id)
        if found is None:
            raise _not_found(notification_id)
        enforcer = self._services.enforcer
        target = {"project_id": found.project_id, "user_id": None}
        if not is_allowed(enforcer, req, rule, target):
            if found.project_id != caller(req).project_id:
                raise _not_found(notification_id)
            authorize(enforcer, req, rule, target)
        return found

    def _show(self, resp: falcon.Response, notification_id: str) -> None:
        found = self._services.deliveries.find(notification_id)
        if found is None:
            raise _not_found(notification_id)
        _answer(resp, encode(found))


class NotificationResource(_OneNotification):
    """One notification."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, notification_id: str) -> None:
        """Show what became of it."""
        _answer(resp, encode(self._get(req, notification_id, policies.GET_NOTIFICATIONS)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, notification_id: str) -> None:
        """Give it up; its status then says so."""
        self._get(req, notification_id, policies.CHANGE_NOTIFICATION)
        chosen = Chosen(ids=[notification_id])
        if not self._services.deliveries.drop(chosen, self._services.now_us()):
            raise falcon.HTTPConflict(description="The notification is delivered or dropped.")
        resp.status = falcon.HTTP_204


class RetryResource(_OneNotification):
    """Sending a notification again."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, notification_id: str) -> None:
        """Have it sent again from now on, with a new deadline."""
        self._get(req, notification_id, policies.CHANGE_NOTIFICATION)
        chosen = Chosen(ids=[notification_id])
        if not self._services.deliveries.retry(chosen, self._services.now_us()):
            raise falcon.HTTPConflict(description="The notification is delivered or silenced.")
        self._show(resp, notification_id)


class WebhookSecretResource:
    """The secret that a project's notifications are signed with."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        refuse_unknown(req)
        project_id = own_project(req)
        authorize(self._services.enforcer, req, policies.GET_WEBHOOK_SECRET)
        secret = self._services.webhook_secrets.secret(project_id)
        _answer(resp, {"project_id": project_id, "secret": secret})

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a new one; the one before it signs too for a day."""
        refuse_unknown(req)
        project_id = own_project(req)
        authorize(self._services.enforcer, req, policies.REPLACE_WEBHOOK_SECRET)
        secret = self._services.webhook_secrets.replace(project_id)
        _answer(resp, {"project_id": project_id, "secret": secret})


def _not_found(notification_id: str) -> falcon.HTTPNotFound:
    return falcon.HTTPNotFound(description=f"Notification {notification_id} not found")


def _answer(resp: falcon.Response, document: Any) -> None:
    resp.content_type = falcon.MEDIA_JSON
    resp.data = msgspec.json.encode(document)
