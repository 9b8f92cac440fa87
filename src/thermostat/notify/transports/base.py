# SPDX-License-Identifier: Apache-2.0
"""What a transport does: one attempt at one notification."""

from typing import Protocol

from oslo_config.cfg import ConfigOpts

from thermostat.db.outbox import Notification
from thermostat.trusts import TrustError, TrustRefused


class DeliveryFailed(Exception):  # noqa: N818 - it names what happened to the attempt
    """An attempt failed; the message has no secrets, query strings are among them."""

    def __init__(
        self,
        reason: str,
        *,
        retry_after_s: float = 0.0,
        final: bool = False,
        trust_error: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        """The target asked for at least this many seconds of peace."""
        self.final = final
        """Another attempt could not succeed."""
        self.trust_error = trust_error
        """Why Keystone refuses the alarm's trust, if it does."""


def no_token(error: TrustError) -> DeliveryFailed:
    """Give the failure of an attempt for which there is no token of the alarm's trust."""
    refused = f"{error}: it has expired, was revoked, or lacks a role; a new one is made when the \
alarm is replaced"
    return DeliveryFailed(
        f"no token for the alarm's trust: {error}",
        trust_error=refused if isinstance(error, TrustRefused) else None,
    )


class Transport(Protocol):
    """Delivers notifications of some URL schemes. `send` is called from many threads at once."""

    def __init__(self, conf: ConfigOpts) -> None: ...

    def send(self, notification: Notification, now_us: int) -> str | None:
        """Deliver it, or raise DeliveryFailed; give what was odd about a delivery, or None.

        Returns within a bounded time.
        """
        ...
