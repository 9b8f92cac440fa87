# SPDX-License-Identifier: Apache-2.0
"""Judges of examples that are sent to the API."""

import json
import re
import uuid

from tests.service.alarm_support import make_alarm, make_transition
from tests.service.description import is_valid
from thermostat.api import alarm_form
from thermostat.api.openapi import examples
from thermostat.api.openapi.document import document
from thermostat.db.history import Author
from thermostat.db.outbox import notification_rows
from thermostat.events.forms import Notifications

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
HEADERS = {"X-User-Id": "alice", "X-Project-Id": "p1", "X-Roles": "admin,member,reader"}
METADATA = {"message_id": "5d1f7c7e", "timestamp": "2026-01-01 00:00:00.000000"}
POSTED = {
    "AlarmRequest": "/v2/alarms",
    "QueryRequest": "/v2/query/alarms",
    "QuotasRequest": "/v2/quotas",
    "SilenceRequest": "/v2/silences",
}


def http(block, client, alarms):
    """Send the request: a line with method and path, and a body after an empty line."""
    first, _, body = block.text.strip().partition("\n\n")
    method, path = first.split(" ")
    path, _, query = path.partition("?")
    answer = _sent(client, alarms, block, (method, path, query), body)
    assert answer.status_code < 400, answer.text


def json_(block, client, alarms):
    """Send what is a request's body; else it must be an object of the description."""
    value = json.loads(block.text)
    for name, path in POSTED.items():
        if is_valid({"$ref": f"#/components/schemas/{name}"}, value):
            answer = _sent(client, alarms, block, ("POST", path, ""), block.text)
            assert answer.status_code < 400, answer.text
            return
    if isinstance(value, dict) and {"type", f"{value.get('type')}_rule"} <= value.keys():
        named = {"name": "example", **value}  # what the text speaks of may leave out its name
        answer = _sent(client, alarms, block, ("POST", "/v2/alarms", ""), json.dumps(named))
        assert answer.status_code < 400, answer.text
        return
    if "alarm_name" in value:
        (row, *_) = notification_rows(make_alarm(), make_transition(make_alarm()))
        assert value.keys() <= json.loads(row["body"]).keys()
        return
    if {"event_type", "publisher_id", "payload"} <= value.keys():
        event = Notifications().event({**value, "metadata": METADATA}, "info")
        assert event.event_type == value["event_type"]
        return
    known = [
        name
        for name in document()["components"]["schemas"]
        if is_valid({"$ref": f"#/components/schemas/{name}"}, value)
    ]
    assert known, "no request and no answer of the API looks like this"


def _sent(client, alarms, block, request, body):
    """Send a request, once the alarms are there whose ids the example has."""
    for alarm_id in dict.fromkeys(UUID.findall(block.text)):
        if alarms.find(alarm_id) is None:
            _create(alarms, alarm_id)
    method, path, query = request
    return client.simulate_request(
        method,
        path,
        query_string=query,
        body=body or None,
        headers={**HEADERS, **({"Content-Type": "application/json"} if body else {})},
    )


def _create(alarms, alarm_id):
    assert uuid.UUID(alarm_id)
    definition = dict(examples.ALARMS["threshold"])
    _, alarm = alarm_form.decode(
        definition, alarm_id=alarm_id, user_id="alice", project_id="p1", now_us=1
    )
    alarms.create(alarm, Author(user_id="alice", project_id="p1"))
