# SPDX-License-Identifier: Apache-2.0
"""`/v2/notifications` and `/v2/webhook-secret` in the description."""

from typing import Any

from thermostat.alarms.query import Operator
from thermostat.api import notifications
from thermostat.api.openapi.alarms import INSTANT
from thermostat.api.openapi.lists import filters, pages
from thermostat.api.openapi.operation import Answer, Operation, Operations, list_of, ref
from thermostat.api.openapi.schemas import nullable
from thermostat.db.outbox import Status

TAG = "notifications"
_LIST = Answer("The notifications.", list_of("Notification"))
_PAGES = [
    one
    for one in pages(("timestamp",), "The `notification_id` of the notification")
    if one.name != "sort"
]
_EXAMPLE = ("status", "eq", "dead")
_SECRET = Answer("The secret.", ref("WebhookSecret"))

OPERATIONS: Operations = {
    "/v2/alarms/{alarm_id}/notifications": {
        "GET": Operation(
            name="listAlarmNotifications",
            summary="List what became of an alarm's notifications, the newest first.",
            parameters=[*filters(notifications.ALARM_FILTERS, [Operator.EQ], _EXAMPLE), *_PAGES],
            answers={200: _LIST},
        )
    },
    "/v2/notifications": {
        "GET": Operation(
            name="listNotifications",
            summary="List what became of a project's notifications, the newest first.",
            description="Of the caller's project, unless an administrator asks for "
            "`all_projects`, or for another `project_id`. Those of deleted alarms are there too.",
            parameters=[*filters(notifications.FILTERS, [Operator.EQ], _EXAMPLE), *_PAGES],
            answers={200: _LIST},
        )
    },
    "/v2/notifications/{notification_id}": {
        "GET": Operation(
            name="getNotification",
            summary="Read what became of a notification.",
            answers={200: Answer("The notification.", ref("Notification"))},
            errors=[404],
        ),
        "DELETE": Operation(
            name="dropNotification",
            summary="Give a notification up.",
            description="Its status is `dropped` then. Of a group, the others are still sent, "
            "without it. 409 where it is delivered or dropped.",
            answers={204: Answer("It is given up.")},
            errors=[404, 409],
        ),
    },
    "/v2/notifications/{notification_id}/retry": {
        "POST": Operation(
            name="retryNotification",
            summary="Send a notification again.",
            description="From now on, with a new deadline. Of a group that is pending, all are "
            "sent with it. 409 where it is delivered.",
            answers={200: Answer("The notification.", ref("Notification"))},
            errors=[404, 409],
        )
    },
    "/v2/webhook-secret": {
        "GET": Operation(
            name="getWebhookSecret",
            summary="Read the secret that the project's notifications are signed with.",
            answers={200: _SECRET},
            errors=[400],
        ),
        "POST": Operation(
            name="replaceWebhookSecret",
            summary="Make a new secret for the project's notifications.",
            description="It signs at once; the one before it signs too for a day.",
            answers={200: _SECRET},
            errors=[400],
        ),
    },
}


def schemas() -> dict[str, Any]:
    """Give the schemas of notifications and secrets."""
    text = {"type": "string"}
    properties: dict[str, Any] = {
        "notification_id": {**text, "description": "The `webhook-id` of every attempt."},
        "alarm_id": text,
        "project_id": text,
        "timestamp": {**INSTANT, "description": "When the alarm changed its state."},
        "previous": ref("State"),
        "state": ref("State"),
        "action": {**text, "description": "The URL, without its secrets."},
        "status": {"enum": [status.value for status in Status]},
        "attempts": {"type": "integer", "minimum": 0},
        "last_error": {
            "type": ["string", "null"],
            "description": "Why the last attempt failed; of a delivery, what was odd about it.",
        },
        "next_attempt_timestamp": nullable(INSTANT),
        "finished_timestamp": nullable(INSTANT),
        "request_id": text,
    }
    secret = {"project_id": text, "secret": {**text, "pattern": "^whsec_[A-Za-z0-9+/]+=*$"}}
    return {
        "Notification": {
            "description": "One action of one transition, and what became of it.",
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        },
        "WebhookSecret": {
            "description": "What receivers verify signatures with.",
            "type": "object",
            "properties": secret,
            "required": list(secret),
            "additionalProperties": False,
        },
    }
