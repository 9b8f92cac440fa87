# SPDX-License-Identifier: Apache-2.0
"""Gnocchi's HTTP API: one request, and what its answer means.

GnocchiError
├── Refused   Gnocchi did its work and will not answer this request
└── Failed    Gnocchi could not be asked, or could not answer
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import requests
from keystoneauth1 import exceptions, loading
from keystoneauth1.adapter import Adapter
from oslo_config import cfg

from thermostat import trusts
from thermostat.outside.drivers._together import Deadline

_CHUNK = 1 << 18
_SHORTEST_S = 0.05
_MOST_REASON = 500


class GnocchiError(Exception):
    """A request that brought no answer; the message is a sentence without secrets."""


class Refused(GnocchiError):  # noqa: N818 - it names Gnocchi's answer
    """Gnocchi's 400 or 404."""

    def __init__(self, status: int, description: Any) -> None:
        self.status = status
        self.cause = ""
        """Gnocchi's own name of the problem, such as `Unknown metrics`."""
        self.detail: Any = None
        if isinstance(description, Mapping):
            self.cause = str(description.get("cause", ""))
            self.detail = description.get("detail")
            words = (self.cause, description.get("reason"), self.detail)
            description = ": ".join(str(word) for word in words if word)
        super().__init__(f"Gnocchi refuses it: {description or status}"[:_MOST_REASON])


class Failed(GnocchiError):  # noqa: N818 - it says what happened
    """Gnocchi, or Keystone before it, does not work for us now."""

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable
        """Whether asking anything else is of no use now."""


class GnocchiApi:
    """Asks Gnocchi in the server's own name. It may be used from any thread."""

    def __init__(self, conf: cfg.ConfigOpts, group: str, *, timeout_s: float, max_bytes: int):
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        session = loading.load_session_from_conf_options(conf, group)
        auth = loading.load_auth_from_conf_options(conf, group)
        if auth is None:
            trusts.register_options(conf)
            auth = loading.load_auth_from_conf_options(conf, trusts.GROUP)
        self._auth = auth
        self._session = session
        self._adapter: Adapter = loading.load_adapter_from_conf_options(
            conf, group, session=session, auth=auth
        )

    def ask(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """Give what Gnocchi answers. Raises Refused or Failed."""
        status, content = self._answer(method, path, deadline, body, query)
        try:
            decoded: Any = msgspec.json.decode(content) if content else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            decoded = None
            if status < HTTPStatus.BAD_REQUEST:
                raise Failed("Gnocchi's answer is no JSON") from None
        if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            if not isinstance(decoded, dict) or "description" not in decoded:
                raise Failed(f"what answers {status} is not Gnocchi")
            raise Refused(status, decoded["description"])
        if status >= HTTPStatus.BAD_REQUEST:
            raise Failed(f"Gnocchi answers {status}")
        return decoded

    def project_named(self, name: str, domain_name: str, deadline: Deadline) -> str | None:
        """Give the id of a project; None if Keystone knows, or shows us, none. Raises Failed."""
        access = getattr(self._auth, "get_access", None)
        if access is None:
            return None
        try:
            own = access(self._session)
            if own.project_name == name and own.project_domain_name == domain_name:
                return str(own.project_id)
            projects = self._keystone("projects", name, deadline)
            if len(projects) > 1:  # of several domains
                domains = {one["id"] for one in self._keystone("domains", domain_name, deadline)}
                projects = [one for one in projects if one["domain_id"] in domains]
        except (exceptions.Forbidden, exceptions.NotFound):
            return None
        except (exceptions.ClientException, KeyError, ValueError) as error:
            reason = f"Keystone cannot be asked: {type(error).__name__}"
            raise Failed(reason, unreachable=True) from None
        return str(projects[0]["id"]) if projects else None

    def _keystone(self, noun: str, name: str, deadline: Deadline) -> list[dict[str, Any]]:
        """Give Keystone's projects or domains of this name."""
        answer = self._session.get(
            f"/{noun}",
            params={"name": name},
            auth=self._auth,
            endpoint_filter={
                "service_type": "identity",
                "interface": "public",
                "version": (3, "latest"),
            },
            timeout=max(_SHORTEST_S, min(self._timeout_s, deadline.left_s())),
            log=False,
        )
        found: list[dict[str, Any]] = answer.json()[noun]
        return found

    def _answer(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        body: Any,
        query: Mapping[str, Any] | None,
    ) -> tuple[int, bytes]:
        left_s = max(_SHORTEST_S, min(self._timeout_s, deadline.left_s()))
        try:
            response = self._adapter.request(
                f"/v1/{path}",
                method,
                json=body,
                params=query,
                headers={"Accept": "application/json"},
                timeout=left_s,
                stream=True,
                raise_exc=False,
                redirect=False,
                log=False,
            )
            return response.status_code, self._content(response, deadline)
        except exceptions.ConnectTimeout:
            raise Failed("Gnocchi, or Keystone, does not answer in time") from None
        except exceptions.ConnectFailure:
            raise Failed("Gnocchi, or Keystone, cannot be connected to", unreachable=True) from None
        except exceptions.ClientException as error:
            reason = f"Gnocchi cannot be asked: {type(error).__name__}"
            raise Failed(reason, unreachable=True) from None
        except requests.RequestException as error:
            raise Failed(f"the connection to Gnocchi broke: {type(error).__name__}") from None

    def _content(self, response: requests.Response, deadline: Deadline) -> bytes:
        with response:
            content = bytearray()
            for chunk in response.iter_content(_CHUNK):
                content += chunk
                if len(content) > self._max_bytes:
                    megabytes = self._max_bytes >> 20
                    raise Refused(0, f"the answer is longer than {megabytes} MiB")
                if not deadline.left_s():
                    raise Failed("Gnocchi does not answer in time")
        return bytes(content)
