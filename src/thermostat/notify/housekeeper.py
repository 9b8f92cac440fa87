# SPDX-License-Identifier: Apache-2.0
"""The housekeeper: deletes trusts that nothing needs any more, and rows that are too old."""

import logging
import threading
import time
from collections.abc import Callable

from oslo_config.cfg import ConfigOpts

from thermostat.db.alarms import AlarmRepository
from thermostat.db.deliveries import Deliveries
from thermostat.db.engine import GROUP, OPTS
from thermostat.db.outbox import Outbox
from thermostat.db.retired_trusts import RetiredTrusts
from thermostat.trusts import TrustError, TrustGone, Trusts, TrustUnavailable

LOG = logging.getLogger(__name__)
TRUSTS_EVERY_S = 10.0
REST_S = 1.0
"""Changes of alarms within this time are looked at together."""
AFTER_FAILURE_US = 60_000_000
"""A trust is tried again so long after Keystone has failed to delete it."""
AFTER_REFUSAL_US = 3_600_000_000
"""The same after it has refused to."""
MOST_FAILURES = 3
"""After so many failures in one look, the others wait for the next."""
PURGE_EVERY_S = 3600.0
STUCK_EVERY_S = 60.0
MOST_OBSTACLES = 10
"""How many reasons for waiting one log line has."""
US_PER_DAY = 86_400_000_000


class Housekeeper:
    """A thread that tidies up behind alarms and notifications."""

    def __init__(
        self,
        alarms: AlarmRepository,
        outbox: Outbox,
        deliveries: Deliveries,
        *,
        trusts: Trusts,
        retired: RetiredTrusts,
        conf: ConfigOpts,
        clock: Callable[[], float] = time.time,
    ) -> None:
        conf.register_opts(OPTS, group=GROUP)
        self._alarms = alarms
        self._outbox = outbox
        self._deliveries = deliveries
        self._trusts = trusts
        self._retired = retired
        self._history_us: int = conf[GROUP].history_days * US_PER_DAY
        self._notification_us: int = conf[GROUP].notification_days * US_PER_DAY
        self._clock = clock
        self._due = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look for unused trusts now; call it when an alarm was edited or deleted."""
        self._due.set()

    def stop(self) -> None:
        """End after what is under way."""
        self._stop.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()

    def delete_unused_trusts(self) -> None:
        """Delete retired trusts that no pending notification needs.

        What cannot be deleted now stays on the list, until it is or Keystone knows it no more.
        """
        failures = 0
        for trust_id in self._retired.unused(self._now_us()):
            try:
                self._trusts.delete(trust_id)
            except TrustGone:
                pass
            except TrustError as error:
                is_away = isinstance(error, TrustUnavailable)
                LOG.warning("A trust that no alarm needs cannot be deleted now: %s", error)
                wait_us = AFTER_FAILURE_US if is_away else AFTER_REFUSAL_US
                self._retired.postpone(trust_id, self._now_us() + wait_us)
                failures += is_away
                if failures >= MOST_FAILURES:
                    return  # Keystone is away, not only for one of them
                continue
            self._retired.forget(trust_id)

    def tell_stuck(self) -> None:
        """Log which targets keep notifications waiting, and why."""
        obstacles = self._deliveries.obstacles(MOST_OBSTACLES)
        if not obstacles:
            return
        oldest_s = self._clock() - min(one.oldest_us for one in obstacles) / 1e6
        LOG.warning(
            "Notifications wait for another attempt, the oldest for %.0f s (thermostat-notify lists"
            " them): %s",
            oldest_s,
            "; ".join(f"{one.notifications} to {one.target}: {one.reason}" for one in obstacles),
        )

    def purge(self) -> None:
        """Delete history and settled notifications that are older than the configuration says."""
        now_us = self._now_us()
        events = self._alarms.purge_history(now_us - self._history_us)
        notifications = self._outbox.purge(now_us - self._notification_us)
        if events or notifications:
            LOG.info("Purged %d history rows, %d notifications", events, notifications)

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)

    def _run(self) -> None:
        purged = told = -PURGE_EVERY_S
        while not self._stop.is_set():
            try:
                self.delete_unused_trusts()
                if time.monotonic() - purged >= PURGE_EVERY_S:
                    self.purge()
                    purged = time.monotonic()
                if time.monotonic() - told >= STUCK_EVERY_S:
                    self.tell_stuck()
                    told = time.monotonic()
            except Exception:  # the loop must go on: the database may be back soon
                LOG.exception("Housekeeping failed; trying again")
            self._stop.wait(REST_S)
            self._due.wait(TRUSTS_EVERY_S)
            self._due.clear()
