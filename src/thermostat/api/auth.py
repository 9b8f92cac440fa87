# SPDX-License-Identifier: Apache-2.0
"""Authentication: keystonemiddleware in front of everything but the public paths."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import webob.exc
from keystonemiddleware.auth_token import AuthProtocol
from oslo_config import cfg
from prometheus_client import CollectorRegistry

from thermostat.api import publishers, serve
from thermostat.api.errors import error_body
from thermostat.api.noauth import Believing
from thermostat.api.serve import GROUP
from thermostat.ingest import GROUP as INGEST

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)
NOAUTH = "noauth"
OPTS = [
    cfg.StrOpt(
        "auth_mode",
        default="keystone",
        choices=[
            ("keystone", "Requests have a token that Keystone validates."),
            (
                NOAUTH,
                "Requests say who they are in X-User-Id, X-Project-Id and X-Roles, unchecked. "
                "For tests on one machine: the server refuses to start unless [api] host is a "
                "loopback address, and takes no trust+ actions.",
            ),
        ],
        help="How callers are known.",
    ),
]
PUBLIC_PATHS = frozenset({"", "/", "/openapi.json", "/healthcheck", "/metrics"})
CACHE_KEY = "thermostat.token_cache"
MAX_TOKENS = 10_000
"""How many validated tokens are remembered; each takes a few kilobytes."""


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
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Give what is known under this key, or None."""
        with self._lock:
            expiry, value = self._entries.get(key, (0.0, None))
            if value is None:
                return None
            if expiry <= self._clock():
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return value

    def set(self, key: str, value: bytes, time: int = 0) -> None:
        """Remember this for so many seconds; the one used longest ago makes room."""
        if time <= 0:
            return
        with self._lock:
            self._entries[key] = (self._clock() + time, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


class TokenCheck(AuthProtocol):  # type: ignore[misc]  # keystonemiddleware has no types
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


def protect(
    app: "WSGIApplication", conf: cfg.ConfigOpts, registry: CollectorRegistry | None = None
) -> "WSGIApplication":
    """Put authentication in front of the application, but for the public paths.

    Who sends samples may have a password in place of the token, if the configuration names a file.
    Raises cfg.Error for a configuration that cannot be used.
    """
    conf.register_opts([*serve.OPTS, *OPTS], group=GROUP)
    conf.register_opts(publishers.OPTS, group=INGEST)
    user_file = conf[INGEST.name].basic_auth_user_file
    publisher_check = publishers.PublisherCheck(app, user_file, registry) if user_file else None
    is_open = has_no_authentication(conf)
    check = Believing(app, conf.api.host) if is_open else _token_check(app, conf)

    def dispatch(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ.get("PATH_INFO", "") in PUBLIC_PATHS:
            return app(environ, start_response)
        if publisher_check is not None and publisher_check.concerns(environ):
            return publisher_check(environ, start_response)
        return check(environ, start_response)

    return dispatch


def has_no_authentication(conf: cfg.ConfigOpts) -> bool:
    """Tell whether the server runs without Keystone: then nobody can lend it rights either."""
    conf.register_opts(OPTS, group=GROUP)
    return bool(conf.api.auth_mode == NOAUTH)


def _token_check(app: "WSGIApplication", conf: cfg.ConfigOpts) -> "WSGIApplication":
    protected = TokenCheck(app, {"oslo_config_config": conf, "cache": CACHE_KEY})
    # Without an object under this key keystonemiddleware uses the memcached servers.
    memory = None if conf.keystone_authtoken.memcached_servers else TokenMemory()

    def check(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ[CACHE_KEY] = memory
        answer: Iterable[bytes] = protected(environ, start_response)
        return answer

    return check
