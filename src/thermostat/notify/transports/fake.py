# SPDX-License-Identifier: Apache-2.0
"""A fake transport that keeps notifications, and fails as it is told to. It calls nobody."""

from oslo_config.cfg import ConfigOpts

from thermostat.db.outbox import Notification
from thermostat.notify.transports.base import DeliveryFailed


class FakeTransport:
    """Collects what is delivered."""

    def __init__(self, conf: ConfigOpts | None = None) -> None:
        del conf
        self.delivered: list[Notification] = []
        """The notifications that were delivered, oldest first."""
        self.failure: DeliveryFailed | None = None
        """Raised instead of delivering, while it is set."""

    def send(self, notification: Notification, _now_us: int) -> None:
        """Keep the notification, or raise the failure."""
        if self.failure is not None:
            raise self.failure
        self.delivered.append(notification)
