# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.thermostat.openstack.plugins.module_utils._client import (
    ApiError,
    Client,
    signatures,
)
from keystoneauth1 import exceptions


class Response:
    def __init__(self, status_code, body=None):
        self.status_code = status_code
        self.reason = "Some Reason"
        self.content = b"" if body is None else json.dumps(body).encode()

    def json(self):
        return json.loads(self.content)


class Connection:
    """A stand-in for openstacksdk's connection that answers with what it is given."""

    current_project_id = "ours"

    def __init__(self, *responses):
        self.responses = list(responses)
        self.requests = []
        self.config = self
        self.session = self

    def get_interface(self, service_type):
        return "internal"

    def get_region_name(self, service_type):
        return "here"

    def get_endpoint(self, service_type):
        return None

    def request(self, path, method, **arguments):
        self.requests.append((method, path, arguments))
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response


def test_another_project_s_alarms_are_not_meant():
    alarms = [{"project_id": "ours", "name": "a"}, {"project_id": "theirs", "name": "b"}]
    connection = Connection(Response(200, alarms))
    assert Client(connection).list_alarms(name="a") == alarms[:1]
    method, path, arguments = connection.requests[0]
    assert (method, path) == ("GET", "/v2/alarms")
    assert arguments["params"] == [("q.field", "name"), ("q.op", "eq"), ("q.value", "a")]
    assert arguments["endpoint_filter"] == {
        "service_type": "alarming",
        "interface": "internal",
        "region_name": "here",
    }


@pytest.mark.parametrize("error", [exceptions.ConnectFailure, exceptions.ConnectTimeout])
def test_no_answer_is_an_error_without_a_status(error):
    with pytest.raises(ApiError, match="^GET /v2/alarms: refused$") as failed:
        Client(Connection(error("refused"))).list_alarms()
    assert failed.value.status is None


def test_a_missing_alarm_is_none():
    assert Client(Connection(Response(404))).get_alarm("x") is None
    assert Client(Connection(Response(404))).delete_alarm("x") is False
    assert Client(Connection(Response(204))).delete_alarm("x") is True


def test_a_refusal_has_the_service_s_reason():
    body = {"error_message": {"faultstring": "period: must be positive"}}
    with pytest.raises(ApiError, match=r"POST /v2/alarms: period: must be positive \(HTTP 400\)"):
        Client(Connection(Response(400, body))).create_alarm({})
    with pytest.raises(ApiError, match=r"Some Reason \(HTTP 503\)"):
        Client(Connection(Response(503))).get_alarm("x")


def test_ids_and_meters_are_quoted():
    connection = Connection(Response(200, {}), Response(200, []))
    client = Client(connection)
    client.get_alarm("a/b")
    client.statistics("a/b c", [])
    assert [path for method, path, more in connection.requests] == [
        "/v2/alarms/a%2Fb",
        "/v2/meters/a%2Fb%20c/statistics",
    ]


def test_secrets_in_action_urls_are_found_in_both_spellings():
    alarm = {
        "alarm_actions": ["http://heat/v1/signal?Signature=ab%2Bc%3D&Timestamp=1"],
        "ok_actions": ["https://user:pass-word@hooks/x"],
        "insufficient_data_actions": None,
    }
    assert signatures([alarm]) == {"ab+c=", "ab%2Bc%3D", "pass-word"}
