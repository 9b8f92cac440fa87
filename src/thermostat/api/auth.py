# SPDX-License-Identifier: Apache-2.0
"""Authentication: keystonemiddleware in front of everything but the public paths."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from oslo_config import cfg
from prometheus_client import CollectorRegistry

from thermostat.api import publishers, serve
from thermostat.api.noauth import Believing
from thermostat.api.serve import GROUP
from thermostat.api.tokens import KeystoneCheck
from thermostat.ingest import GROUP as INGEST

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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
PUBLIC_PATHS = frozenset({"", "/", "/v2", "/openapi.json", "/healthcheck", "/metrics"})


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
    check = Believing(app, conf.api.host) if is_open else KeystoneCheck(app, conf)

    def dispatch(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").rstrip("/") in PUBLIC_PATHS:
            return app(environ, start_response)
        if publisher_check is not None and publisher_check.concerns(environ):
            return publisher_check(environ, start_response)
        return check(environ, start_response)

    return dispatch


def has_no_authentication(conf: cfg.ConfigOpts) -> bool:
    """Tell whether the server runs without Keystone: then nobody can lend it rights either."""
    conf.register_opts(OPTS, group=GROUP)
    return bool(conf.api.auth_mode == NOAUTH)
