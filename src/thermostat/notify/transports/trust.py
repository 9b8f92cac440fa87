# SPDX-License-Identifier: Apache-2.0
"""`trust+http://` and `trust+https://`: POST with a token of the alarm's trust."""

from oslo_config.cfg import ConfigOpts

from thermostat.db.outbox import Notification
from thermostat.notify.transports.base import DeliveryFailed, no_token
from thermostat.notify.transports.http import HttpTransport
from thermostat.trusts import TrustError, Trusts

PREFIX = "trust+"


class TrustTransport:
    """Posts notifications in the name of the alarm's owner."""

    def __init__(self, conf: ConfigOpts, trusts: Trusts | None = None) -> None:
        self._trusts = trusts or Trusts(conf)
        self._http = HttpTransport(conf)

    def send(self, notification: Notification, now_us: int) -> str | None:
        """Post it; a refused token is tried once more with a fresh one."""
        trust_id = notification.trust_id
        if trust_id is None:
            raise DeliveryFailed("the alarm has no trust", final=True)
        try:
            return self._post(notification, now_us, trust_id)
        except DeliveryFailed as failure:
            if str(failure) != "HTTP 401":
                raise
            self._trusts.renew(trust_id)
            return self._post(notification, now_us, trust_id)

    def _post(self, notification: Notification, now_us: int, trust_id: str) -> str | None:
        try:
            token = self._trusts.token(trust_id)
        except TrustError as error:
            raise no_token(error) from error
        url = notification.action.removeprefix(PREFIX)
        return self._http.post(notification, now_us, url, {"X-Auth-Token": token})
