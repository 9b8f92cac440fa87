# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# SPDX-License-Identifier: BSD-2-Clause
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)

# Private to this collection.
"""Talk to the services of types alarming and metering through an openstacksdk connection.

Errors are raised as ApiError, those of the network and of the login included.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlsplit

ACTION_OPTIONS = ("alarm_actions", "ok_actions", "insufficient_data_actions")
SECRET_PARAMETERS = ("signature", "x-amz-signature", "temp_url_sig", "token")


class ApiError(Exception):
    """A request failed; the message has the reason. The status is None if there was no answer."""

    def __init__(self, request, status, reason):
        answer = "" if status is None else f" (HTTP {status})"
        super().__init__(f"{request}: {reason}{answer}")
        self.status = status


class Client:
    """The alarms and statistics of one project, that of the connection's login."""

    def __init__(self, connection):
        self._connection = connection

    def list_alarms(self, **filters):
        """Give the project's alarms whose attributes equal these filters, as dicts."""
        params = [("q.field", field) for field in filters]
        params += [("q.op", "eq") for field in filters]
        params += [("q.value", value) for value in filters.values()]
        alarms = self._send("alarming", "GET", "/v2/alarms", params=params)
        # An administrator may see those of others, which are never meant.
        project = self._connection.current_project_id
        return [alarm for alarm in alarms if alarm["project_id"] == project]

    def get_alarm(self, alarm_id):
        """Give an alarm, or None where the project has none with this id."""
        try:
            return self._send("alarming", "GET", _alarm_path(alarm_id))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create_alarm(self, alarm):
        """Create an alarm and give it as it was created."""
        return self._send("alarming", "POST", "/v2/alarms", json=alarm)

    def replace_alarm(self, alarm):
        """Replace the definition of the alarm with its id, and give it as it is now."""
        return self._send("alarming", "PUT", _alarm_path(alarm["alarm_id"]), json=alarm)

    def delete_alarm(self, alarm_id):
        """Delete an alarm, and tell whether it was still there."""
        try:
            self._send("alarming", "DELETE", _alarm_path(alarm_id))
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def statistics(self, meter, params):
        """Give a meter's statistics in Ceilometer's form, oldest period first."""
        path = f"/v2/meters/{quote(meter, safe='')}/statistics"
        return self._send("metering", "GET", path, params=params)

    def list_silences(self, all_projects=False):
        """Give the project's silences that are not over, or those for all projects."""
        silences = self._send("alarming", "GET", "/v2/silences")
        # The project's and those for all projects come together.
        return [
            silence
            for silence in silences
            if silence["all_projects"] == all_projects and silence["status"] != "expired"
        ]

    def create_silence(self, silence):
        """Create a silence and give it as it was created."""
        return self._send("alarming", "POST", "/v2/silences", json=silence)

    def replace_silence(self, silence_id, silence):
        """Replace the definition of a silence, and give it as it is now."""
        return self._send("alarming", "PUT", _silence_path(silence_id), json=silence)

    def expire_silence(self, silence_id):
        """Let a silence end, and tell whether it was not over yet."""
        try:
            self._send("alarming", "DELETE", _silence_path(silence_id))
        except ApiError as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    def _send(self, service_type, method, path, **arguments):
        from keystoneauth1 import exceptions

        config = self._connection.config
        try:
            response = self._connection.session.request(
                path,
                method,
                endpoint_filter={
                    "service_type": service_type,
                    "interface": config.get_interface(service_type) or "public",
                    "region_name": config.get_region_name(service_type),
                },
                endpoint_override=config.get_endpoint(service_type),
                headers={"Accept": "application/json"},
                raise_exc=False,
                **arguments,
            )
        except exceptions.ClientException as error:
            raise ApiError(f"{method} {path}", None, str(error)) from error
        if response.status_code >= 400:
            raise ApiError(f"{method} {path}", response.status_code, _reason(response))
        return response.json() if response.content else None


def enable(client, alarm, enabled):
    """Enable or disable an alarm as it was read, and give it as it is now."""
    return client.replace_alarm(dict(alarm, enabled=enabled))


def signatures(alarms):
    """Give the secret parts of these alarms' action URLs: who has them may call the actions."""
    found = set()
    for alarm in alarms:
        for option in ACTION_OPTIONS:
            for url in alarm.get(option) or ():
                parts = urlsplit(url)
                if parts.password:
                    found.add(parts.password)
                for name, value in parse_qsl(parts.query):
                    if name.lower() in SECRET_PARAMETERS and value:
                        # Ansible looks for the very text, so both spellings are needed.
                        found.update((value, quote(value, safe=""), quote(value)))
    return found


def _alarm_path(alarm_id):
    return f"/v2/alarms/{quote(alarm_id, safe='')}"


def _silence_path(silence_id):
    return f"/v2/silences/{quote(silence_id, safe='')}"


def _reason(response):
    try:
        return response.json()["error_message"]["faultstring"]
    except (KeyError, TypeError, ValueError):
        return response.reason
