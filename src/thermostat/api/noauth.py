# SPDX-License-Identifier: Apache-2.0
"""No authentication: requests say themselves who they are. For tests on one machine.

It takes the headers that Aodh's `noauth` takes, and is refused unless the server listens on a
loopback address only.
"""

import ipaddress
import logging
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oslo_config import cfg

from thermostat.api.refusal import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)
_NEEDED = {"X-User-Id": "HTTP_X_USER_ID", "X-Project-Id": "HTTP_X_PROJECT_ID"}
_TOKENS = frozenset({"HTTP_X_AUTH_TOKEN", "HTTP_X_STORAGE_TOKEN", "HTTP_X_SERVICE_TOKEN"})


class NotLoopback(cfg.Error):
    """The server would let anybody in who reaches it over a network."""


class Believing:
    """Believes what requests say of themselves."""

    def __init__(self, app: "WSGIApplication", host: str) -> None:
        """Raise NotLoopback unless only this machine can reach what listens on this host."""
        if not _is_loopback(host):
            raise NotLoopback(
                "[api] auth_mode = noauth lets everybody do everything, so it needs [api] host to "
                f"be a loopback address, such as 127.0.0.1; {host} is none"
            )
        LOG.warning(
            "NO AUTHENTICATION: [api] auth_mode is noauth, so that whoever reaches %s may do "
            "everything in any project's name",
            host,
        )
        self._app = app

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on with its headers, but for tokens, which nobody has checked."""
        missing = [name for name, key in _NEEDED.items() if not environ.get(key)]
        if missing:
            return refuse(start_response, 401, f"Without Keystone, name {' and '.join(missing)}.")
        if not _is_local_name(environ.get("HTTP_HOST", "")):
            # Else a web page could have its own name resolve to this machine.
            return refuse(start_response, 403, "Without Keystone, Host must be a loopback address.")
        rest = {key: value for key, value in environ.items() if key not in _TOKENS}
        return self._app(rest, start_response)


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(one[4][0]).is_loopback for one in found)


def _is_local_name(authority: str) -> bool:
    try:
        name = urlsplit(f"//{authority}").hostname or "localhost"
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
