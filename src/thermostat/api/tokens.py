# SPDX-License-Identifier: Apache-2.0
"""keystonemiddleware's token check, and a memory for what it found out.

The check of a token that keystonemiddleware knows already costs 0.3 ms: it decodes the token's JSON
anew and writes some forty headers through WebOb. So the headers that it made are kept beside what
its cache keeps, and for as long: the next request with that token gets them at once.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import webob.exc
from keystonemiddleware.auth_token import AuthProtocol
from oslo_config import cfg

from thermostat.api.errors import error_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)
CACHE_KEY = "thermostat.token_cache"
MAX_TOKENS = 10_000
"""How many validated tokens are remembered; each takes a few kilobytes."""
_TOKEN = "HTTP_X_AUTH_TOKEN"  # noqa: S105 - a header's name
_OTHER_TOKENS = ("HTTP_X_SERVICE_TOKEN", "HTTP_X_STORAGE_TOKEN")
_REQUEST_ID = "HTTP_X_OPENSTACK_REQUEST_ID"
_IDENTITY = (
    "HTTP_X_IDENTITY_STATUS",
    "HTTP_X_ROLES",
    "HTTP_X_IS_ADMIN_PROJECT",
    "HTTP_OPENSTACK_SYSTEM_SCOPE",
    *(
        f"HTTP_X_{noun}_{what}"
        for noun in ("USER", "PROJECT", "USER_DOMAIN", "PROJECT_DOMAIN", "DOMAIN")
        for what in ("ID", "NAME")
    ),
)
"""The headers that say who asks."""


@dataclass(slots=True)
class _Entry:
    until_s: float
    """When it is forgotten, by the memory's clock."""
    value: bytes
    identity: Mapping[str, Any] | None = None
    expires_s: float = 0.0
    """When the token expires, in seconds since the epoch."""


class TokenMemory:
    """Validated tokens, by the hash that keystonemiddleware makes of them, until they are too old.

    keystonemiddleware's own in-process cache is one unbounded dictionary per thread and walks all
    of it at each look-up. This one is bounded, shared by all threads, and speaks the small part of
    memcached's interface that keystonemiddleware uses. A revoked token stays known for
    `[keystone_authtoken] token_cache_time` seconds, as with memcached.
    """

    def __init__(self, size: int = MAX_TOKENS, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Give what is known under this key, or None."""
        entry = self._entry(key)
        return None if entry is None else entry.value

    def set(self, key: str, value: bytes, time: int = 0) -> None:
        """Remember this for so many seconds; the one used longest ago makes room."""
        if time <= 0:
            return
        with self._lock:
            self._entries[key] = _Entry(self._clock() + time, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def identity(self, token: str) -> Mapping[str, Any] | None:
        """Give the headers of a token that is known and has not expired, or None."""
        entry = self._entry(_key(token))
        if entry is None or entry.identity is None or entry.expires_s <= time.time():
            return None
        return entry.identity

    def add_identity(self, token: str, headers: Mapping[str, Any], expires_s: float) -> None:
        """Keep the headers of a token, if it is known, for as long as it will be."""
        entry = self._entry(_key(token))
        if entry is not None:
            entry.expires_s = expires_s
            entry.identity = headers

    def _entry(self, key: str) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.until_s <= self._clock():
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return entry


class KeystoneCheck:
    """Lets requests pass that have a valid token, with headers that say whose it is."""

    def __init__(self, app: "WSGIApplication", conf: cfg.ConfigOpts) -> None:
        self._app = app
        options = {"oslo_config_config": conf, "cache": CACHE_KEY}
        self._protected = _AodhShapedCheck(self._pass_on, options)
        # Without an object under this key keystonemiddleware uses the memcached servers.
        self._memory = None if conf.keystone_authtoken.memcached_servers else TokenMemory()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer the request, or refuse it: 401, or 503 if Keystone is needed and not there."""
        identity = self._known(environ)
        if identity is None:
            environ[CACHE_KEY] = self._memory
            answer: Iterable[bytes] = self._protected(environ, start_response)
            return answer

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            if status.startswith("401"):
                uri = self._protected.www_authenticate_uri
                headers = [*headers, ("WWW-Authenticate", f'Keystone uri="{uri}"')]
            return start_response(status, headers, *more)

        return self._app(_identified(environ, identity), start)

    def _known(self, environ: "WSGIEnvironment") -> Mapping[str, Any] | None:
        """Give the headers that say whose the token is, if that is known and all that matters."""
        token = environ.get(_TOKEN)
        if self._memory is None or not token or any(map(environ.get, _OTHER_TOKENS)):
            return None
        return self._memory.identity(token)

    def _pass_on(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Remember what keystonemiddleware found out, and answer the request."""
        token = environ.get(_TOKEN)
        info = environ.get("keystone.token_info", {}).get("token", {})
        if self._memory is not None and token and _is_all_of_it(environ, info):
            identity = {key: environ[key] for key in _IDENTITY if key in environ}
            expires_s = datetime.fromisoformat(info["expires_at"]).timestamp()
            self._memory.add_identity(token, identity, expires_s)
        return self._app(environ, start_response)


class _AodhShapedCheck(AuthProtocol):  # type: ignore[misc]  # keystonemiddleware has no types
    """keystonemiddleware's check, with its refusals in Aodh's shape."""

    def process_request(self, request: Any) -> Any:
        """Let the request pass with its identity, or refuse it: 401, or 503 without Keystone."""
        try:
            return super().process_request(request)
        except webob.exc.HTTPException as refusal:
            message = {
                401: "The request you have made requires authentication.",
                503: "The identity service cannot be reached now.",
            }.get(refusal.code, refusal.title)
            refusal.body = msgspec.json.encode(error_body(refusal.code, message))
            refusal.content_type = "application/json"
            raise
        except Exception:
            LOG.exception("A token could not be validated")
            message = "The identity service cannot be used now."
            raise webob.exc.HTTPServiceUnavailable(
                body=msgspec.json.encode(error_body(503, message)),
                content_type="application/json",
            ) from None


def _is_all_of_it(environ: "WSGIEnvironment", info: Mapping[str, Any]) -> bool:
    """Tell whether the token alone decided: not a service's beside it, nor what is asked for."""
    rules = (info.get("application_credential") or {}).get("access_rules")
    return (
        environ.get("HTTP_X_IDENTITY_STATUS") == "Confirmed"
        and not any(map(environ.get, _OTHER_TOKENS))
        and "expires_at" in info
        and rules is None
        and not info.get("bind")
    )


def _identified(environ: "WSGIEnvironment", identity: Mapping[str, Any]) -> "WSGIEnvironment":
    """Give the request with this identity and with nothing else that it says of one."""
    rest = {
        key: value
        for key, value in environ.items()
        if not key.startswith(("HTTP_X_", "HTTP_OPENSTACK_"))
    }
    for kept in (_TOKEN, _REQUEST_ID):
        if kept in environ:
            rest[kept] = environ[kept]
    rest.update(identity)
    return rest


def _key(token: str) -> str:
    """Give the name that keystonemiddleware has for a token in its cache."""
    return f"tokens/{hashlib.sha256(token.strip().encode()).hexdigest()}"
