# SPDX-License-Identifier: Apache-2.0
"""HTTP Basic for those who send samples and have no token: Ceilometer's `http` publisher.

A user of the password file may send samples and do nothing else.
"""

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import webob.exc
from oslo_config import cfg
from oslo_middleware.basic_auth import parse_header, parse_token
from prometheus_client import CollectorRegistry, Counter

from thermostat.api.htpasswd import PasswordFile, PasswordFileError, Passwords, TooManyTries
from thermostat.api.refusal import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)
OPTS = [
    cfg.StrOpt(
        "basic_auth_user_file",
        help="A file of user names and bcrypt hashes, as 'htpasswd -B' and thermostat-htpasswd "
        "make it. Its users may send samples with HTTP Basic in place of a token, and do nothing "
        "else. It is read again when it has changed. Without it, senders need a token.",
    ),
]
SAMPLE_PATHS = frozenset({"/v1/samples", "/v2/samples"})
ROLE = "service"
"""What the policy rule for sending samples sees of such a user."""
REALM = "Thermostat samples"
RETRY_AFTER_S = 5.0
MAX_ADDRESS = 64
"""How much of a sender's address is looked at and logged, in characters."""
_OF_A_TOKEN = ("HTTP_X_AUTH_TOKEN", "HTTP_X_STORAGE_TOKEN")
_KEPT = frozenset({"HTTP_X_OPENSTACK_REQUEST_ID"})


class PublisherCheck:
    """Lets the users of a password file send samples."""

    def __init__(
        self, app: "WSGIApplication", path: str, registry: CollectorRegistry | None = None
    ) -> None:
        """Read the file. Raises cfg.Error if it cannot be used."""
        self._app = app
        try:
            self._passwords = Passwords(PasswordFile(path))
        except PasswordFileError as error:
            raise UnusablePasswordFile(str(error)) from None
        self._outcomes = Counter(
            "thermostat_basic_auth",
            "Requests with HTTP Basic, by what became of them",
            ["outcome"],
            registry=registry or CollectorRegistry(),
        )
        for outcome in ("accepted", "refused", "throttled", "failed"):
            self._outcomes.labels(outcome)

    @staticmethod
    def concerns(environ: "WSGIEnvironment") -> bool:
        """Tell whether a request sends samples with HTTP Basic and without a token."""
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("PATH_INFO", "").rstrip("/") in SAMPLE_PATHS
            and environ.get("HTTP_AUTHORIZATION", "")[:6].lower() == "basic "
            and not any(environ.get(header) for header in _OF_A_TOKEN)
        )

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on as its user, or refuse it: 401, 429, or 503 without the file."""
        try:
            name, password = parse_token(parse_header(environ))
            # Of a proxy's list the last one is what the proxy itself saw.
            address = environ.get("REMOTE_ADDR", "").rpartition(",")[2].strip()[:MAX_ADDRESS]
            if not self._passwords.verify(name, password, address):
                return self._refuse(start_response)
        except webob.exc.HTTPException:
            return self._refuse(start_response)
        except TooManyTries as error:
            self._outcomes.labels("throttled").inc()
            message = "Too many wrong passwords; try again later."
            return refuse(start_response, 429, message, _retry_after(error.retry_after_s))
        except PasswordFileError as error:
            LOG.warning("Nobody can send samples with HTTP Basic: %s", error)
            self._outcomes.labels("failed").inc()
            message = "Passwords cannot be checked now."
            return refuse(start_response, 503, message, _retry_after(RETRY_AFTER_S))
        self._outcomes.labels("accepted").inc()
        return self._app(_identified(environ, name), start_response)

    def _refuse(self, start_response: "StartResponse") -> Iterable[bytes]:
        self._outcomes.labels("refused").inc()
        challenge = ("WWW-Authenticate", f'Basic realm="{REALM}"')
        message = "The user name or the password is wrong."
        return refuse(start_response, 401, message, challenge)


class UnusablePasswordFile(cfg.Error):
    """The configured password file cannot be used."""


def _identified(environ: "WSGIEnvironment", name: str) -> "WSGIEnvironment":
    """Give the request as that user's, without what it says of an identity itself."""
    rest = {
        key: value
        for key, value in environ.items()
        if not key.startswith(("HTTP_X_", "HTTP_OPENSTACK_")) or key in _KEPT
    }
    return rest | {
        "HTTP_X_IDENTITY_STATUS": "Confirmed",
        "HTTP_X_USER_ID": f"basic:{name}",
        "HTTP_X_USER_NAME": name,
        "HTTP_X_ROLES": ROLE,
    }


def _retry_after(seconds: float) -> tuple[str, str]:
    return "Retry-After", str(max(1, math.ceil(seconds)))
