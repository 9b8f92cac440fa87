# SPDX-License-Identifier: Apache-2.0
"""Keystone trusts: with one, the server calls a `trust+` action in the alarm owner's name.

TrustError
├── TrustRefused      Keystone does not let the caller delegate, or the token is not fit for it
│   └── TrustGone     there is no such trust any more
└── TrustUnavailable  Keystone cannot be reached, or this server has no user of its own
"""

import logging
import threading
from collections import OrderedDict
from typing import Any

from keystoneauth1 import exceptions, loading
from keystoneauth1.adapter import Adapter
from keystoneauth1.plugin import BaseAuthPlugin
from oslo_config import cfg
from oslo_context.context import RequestContext

from thermostat.endpoints import client, own_session

GROUP = "service_auth"
MAX_TOKENS = 1000
"""How many trust-scoped tokens are kept at most."""
_OWN_SCOPE = {
    "project_id": None,
    "project_name": None,
    "project_domain_id": None,
    "project_domain_name": None,
    "domain_id": None,
    "domain_name": None,
    "system_scope": None,
}


class TrustError(Exception):
    """A trust could not be made, used or deleted; the message never has its id."""


class TrustRefused(TrustError):  # noqa: N818 - it names Keystone's answer
    """Keystone refused: the caller may not delegate, or the trust is gone."""


class TrustGone(TrustRefused):
    """Keystone knows no such trust."""


class TrustUnavailable(TrustError):  # noqa: N818 - it reads as a state
    """Keystone cannot be asked now."""


def register_options(conf: cfg.ConfigOpts) -> None:
    """Register the options of the server's own user, [service_auth]."""
    loading.register_auth_conf_options(conf, GROUP)
    loading.register_session_conf_options(conf, GROUP)


class Trusts:
    """Trusts whose trustee is the server's own user. Every method may be called from any thread."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        register_options(conf)
        # At debug level it logs what Keystone answers, and a trust's token has the trust's id.
        logging.getLogger("keystoneauth.identity").setLevel(logging.INFO)
        self._conf = conf
        self._session = own_session(conf, GROUP)
        self._own: BaseAuthPlugin | None = loading.load_auth_from_conf_options(conf, GROUP)
        self._lock = threading.Lock()
        self._trusted: OrderedDict[str, BaseAuthPlugin] = OrderedDict()

    def create(self, caller: RequestContext) -> str:
        """Delegate the caller's roles in its project to the server's user; give the trust's id."""
        if not caller.project_id:
            raise TrustRefused("trust+ actions need a token with a project")
        own = self._own_user()
        trust = {
            "trustor_user_id": caller.user_id,
            "trustee_user_id": _asking(lambda: own.get_user_id(self._session)),
            "project_id": caller.project_id,
            "impersonation": True,
            "roles": [{"name": role} for role in caller.roles],
        }
        answer = self._call("POST", "", caller.auth_token, {"trust": trust})
        identifier: str = answer.json()["trust"]["id"]
        return identifier

    def abandon(self, caller: RequestContext, trust_id: str) -> None:
        """Delete a trust that the caller has just made and that nothing uses."""
        self._call("DELETE", f"/{trust_id}", caller.auth_token)

    def delete(self, trust_id: str) -> None:
        """Delete a trust in the trustor's name. Raises TrustGone if it is gone already."""
        try:
            self._call("DELETE", f"/{trust_id}", self.token(trust_id))
        finally:
            with self._lock:
                self._trusted.pop(trust_id, None)

    def token(self, trust_id: str) -> str:
        """Give a token of the trust, a cached one until it is about to expire.

        Raises TrustRefused where Keystone refuses the trust, and not the server's own user.
        """
        plugin = self._trusted_plugin(trust_id)
        try:
            token = _asking(lambda: plugin.get_token(self._session))
        except TrustRefused:
            self._check_own_user()
            raise
        if token is None:
            raise TrustRefused("Keystone gave no token for the trust")
        return str(token)

    def renew(self, trust_id: str) -> None:
        """Forget the cached token of the trust: the next one is fresh."""
        self._trusted_plugin(trust_id).invalidate()

    def client(self, trust_id: str, group: str) -> Adapter:
        """Give a client, in the trustor's name, of the service that this group's options find."""
        return client(self._conf, group, self._session, self._trusted_plugin(trust_id))

    def own_client(self, group: str) -> Adapter:
        """Give a client, in the server's own name, of the service that this group's options find.

        Raises TrustUnavailable where the server has no user of its own.
        """
        return client(self._conf, group, self._session, self._own_user())

    def _trusted_plugin(self, trust_id: str) -> BaseAuthPlugin:
        with self._lock:
            plugin = self._trusted.get(trust_id)
            if plugin is None:
                self._own_user()
                plugin = loading.load_auth_from_conf_options(
                    self._conf, GROUP, **_OWN_SCOPE, trust_id=trust_id
                )
                assert plugin is not None  # noqa: S101 - _own_user has seen to it
                self._trusted[trust_id] = plugin
            self._trusted.move_to_end(trust_id)
            while len(self._trusted) > MAX_TOKENS:
                self._trusted.popitem(last=False)
            return plugin

    def _check_own_user(self) -> None:
        """Raise TrustUnavailable where Keystone refuses the server's own user: no trust works."""
        own = self._own_user()
        own.invalidate()
        try:
            _asking(lambda: own.get_token(self._session))
        except TrustRefused as error:
            raise TrustUnavailable(f"[{GROUP}] is wrong: {error}") from None

    def _own_user(self) -> BaseAuthPlugin:
        if self._own is None:
            raise TrustUnavailable(f"this server has no user of its own: [{GROUP}] is not set")
        return self._own

    def _call(
        self, method: str, path: str, token: str | None, body: dict[str, Any] | None = None
    ) -> Any:
        own = self._own_user()
        endpoint = _asking(
            lambda: self._session.get_endpoint(
                auth=own, service_type="identity", interface="public", version=(3, "latest")
            )
        )
        if endpoint is None:
            raise TrustUnavailable("Keystone's catalogue has no identity endpoint")
        return _asking(
            lambda: self._session.request(
                f"{endpoint.rstrip('/')}/OS-TRUST/trusts{path}",
                method,
                json=body,
                headers={"X-Auth-Token": token or ""},
                authenticated=False,
                log=False,  # its log would have the trust's id
            )
        )


def _asking(question: Any) -> Any:
    """Ask Keystone; its refusals and failures become ours, without ids."""
    try:
        return question()
    except exceptions.HttpError as error:
        status = error.http_status
        reason = f"Keystone answered {status}"
        kind: type[TrustError] = TrustRefused
        if status == 404:
            kind = TrustGone
        elif status >= 500 or status == 429:
            kind = TrustUnavailable
        hint = ": it lets the token's user delegate nothing (application credentials must be \
unrestricted)"
        raise kind(reason + (hint if status == 403 else "")) from None
    except exceptions.ClientException as error:
        raise TrustUnavailable(f"Keystone cannot be used: {type(error).__name__}") from None
