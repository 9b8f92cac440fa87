# SPDX-License-Identifier: Apache-2.0
"""The client of the alarm service: Aodh's v2 API at the catalogue's `alarming` endpoint.

heat.common.exception.Error
└── AlarmServiceError      the service refused, failed or could not be reached
    ├── AlarmNotFound      there is no such alarm in the project
    └── AlarmServiceSilent it was asked and did not answer: it may have done what it was asked
"""

from typing import Any
from urllib.parse import urlencode

from heat.common import exception
from heat.engine.clients import client_plugin
from keystoneauth1 import adapter
from keystoneauth1 import exceptions as keystone_exceptions
from oslo_config import cfg
from urllib3.exceptions import NewConnectionError

SERVICE_TYPE = "alarming"
OPTIONS = "aodh"
"""The client's options stand in [clients_aodh], where Heat keeps those of this service type."""
TIMEOUT_S = 60
"""How long one request may take; an alarm with a trust costs the service several calls."""


class AlarmServiceError(exception.Error):
    """The alarm service refused, failed or could not be reached."""


class AlarmNotFound(AlarmServiceError):  # noqa: N818 - named as in Heat's other clients
    """There is no such alarm in the project."""


class AlarmServiceSilent(AlarmServiceError):  # noqa: N818 - it names what the service was
    """The alarm service was asked and did not answer: it may have done what it was asked."""


class AlarmClient:
    """Creates, reads, replaces and deletes alarms; each method is one request."""

    def __init__(self, http: adapter.Adapter) -> None:
        self._http = http

    def create(self, definition: dict[str, Any]) -> dict[str, Any]:
        """Create an alarm and give it back as the service keeps it."""
        # Sent once: a second time would make a second alarm.
        answer: dict[str, Any] = self._call("POST", "/v2/alarms", definition, retries=0).json()
        return answer

    def ids_of(self, name: str) -> list[str]:
        """Give the ids of the project's alarms of this name."""
        query = urlencode({"q.field": "name", "q.op": "eq", "q.value": name})
        return [alarm["alarm_id"] for alarm in self._call("GET", f"/v2/alarms?{query}").json()]

    def get(self, alarm_id: str) -> dict[str, Any]:
        """Give the alarm as it is now."""
        answer: dict[str, Any] = self._call("GET", f"/v2/alarms/{alarm_id}").json()
        return answer

    def replace(self, alarm_id: str, definition: dict[str, Any]) -> None:
        """Replace the whole definition of an alarm."""
        self._call("PUT", f"/v2/alarms/{alarm_id}", definition)

    def delete(self, alarm_id: str) -> None:
        """Delete the alarm with its history."""
        self._call("DELETE", f"/v2/alarms/{alarm_id}")

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        retries: int | None = None,
    ) -> Any:
        options: dict[str, Any] = {} if body is None else {"json": body}
        if retries is not None:
            options["connect_retries"] = retries
        try:
            # Not logged, even at debug level: actions carry the signatures of pre-signed URLs.
            answer = self._http.request(
                path, method, raise_exc=False, log=False, timeout=TIMEOUT_S, **options
            )
        except keystone_exceptions.CatalogException as error:
            raise AlarmServiceError(
                f"The alarm service is not in the catalogue: {error}"
            ) from error
        except keystone_exceptions.ClientException as error:
            kind = AlarmServiceSilent if _was_sent(error) else AlarmServiceError
            raise kind(f"The alarm service cannot be reached: {error}") from error
        if answer.status_code == 404:
            raise AlarmNotFound(_fault(answer))
        if answer.status_code >= 400:
            raise AlarmServiceError(
                f"The alarm service answered {answer.status_code}: {_fault(answer)}"
            )
        return answer


class AlarmingClientPlugin(client_plugin.ClientPlugin):
    """Makes clients from a Heat context: its session, its region, the configured interface."""

    service_types = [SERVICE_TYPE]  # noqa: RUF012 - Heat's own form

    def _create(self, version: str | None = None) -> AlarmClient:  # noqa: ARG002 - Heat's signature
        return AlarmClient(
            adapter.Adapter(
                self.context.keystone_session,
                service_type=SERVICE_TYPE,
                interface=self._interface,
                region_name=self._get_region_name(),
                connect_retries=cfg.CONF.client_retry_limit,
            )
        )

    def absence(self) -> str | None:
        """Say why the catalogue offers this user no alarm service; None: it does."""
        if self.does_endpoint_exist(SERVICE_TYPE, OPTIONS):
            return None
        region = self._get_region_name()
        where = f" in region {region}" if region else ""
        return (
            f"the catalogue has no endpoint of service type {SERVICE_TYPE} "
            f"with interface {self._interface}{where}"
        )

    def is_client_exception(self, ex: BaseException) -> bool:
        """Tell whether an exception came from this client."""
        return isinstance(ex, AlarmServiceError)

    def is_not_found(self, ex: BaseException) -> bool:
        """Tell whether an exception says that there is no such alarm."""
        return isinstance(ex, AlarmNotFound)

    @property
    def _interface(self) -> str:
        return str(self._get_client_option(OPTIONS, "endpoint_type"))


def _was_sent(error: Exception) -> bool:
    """Tell whether a request may have gone out: whether a connection was made."""
    cause = error.__cause__ or error.__context__
    inner = cause.args[0] if cause is not None and cause.args else None
    return not isinstance(getattr(inner, "reason", None), NewConnectionError)


def _fault(answer: Any) -> str:
    """Give the service's own sentence: Aodh's faultstring, or how an error says it elsewhere."""
    try:
        body = answer.json()
        if "error_message" in body:
            return str(body["error_message"]["faultstring"])
        return str(body["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)
