# SPDX-License-Identifier: Apache-2.0
"""`log://`, `test://`: write the notification to the server's log. For administrators only.

Aodh's own `test://` keeps notifications in memory, for its unit tests.
"""

import logging

from oslo_config.cfg import ConfigOpts

from thermostat.db.outbox import Notification

LOG = logging.getLogger(__name__)


class LogTransport:
    """Logs notifications."""

    def __init__(self, _conf: ConfigOpts) -> None:
        """Take the configuration, of which it needs nothing."""

    def send(self, notification: Notification, _now_us: int) -> None:
        """Log the body at info level."""
        LOG.info("Alarm %s: %s", notification.alarm_id, notification.body)
