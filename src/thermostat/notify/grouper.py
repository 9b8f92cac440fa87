# SPDX-License-Identifier: Apache-2.0
"""The grouper: closes groups of notifications in time."""

import logging
import threading
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from thermostat.db.grouping import Groups

LOG = logging.getLogger(__name__)
EVERY_S = 0.25
"""Seconds between two looks."""


class Grouper:
    """A thread that looks after groups."""

    def __init__(
        self,
        groups: Groups,
        *,
        notify: Callable[[], None],
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry | None = None,
    ) -> None:
        registry = registry or CollectorRegistry()
        self._groups = groups
        self._notify = notify
        self._clock = clock
        self._requests = Counter(
            "thermostat_notification_groups",
            "Requests that tell of a group of notifications",
            registry=registry,
        )
        self._members = Counter(
            "thermostat_notifications_grouped",
            "Notifications that were put into groups",
            registry=registry,
        )
        self._is_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grouper", daemon=True)

    def start(self) -> None:
        """Begin, with groups whose time came while nobody looked."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> str | None:
        """Give the reason why groups are not closed, or None."""
        return None if self._thread.is_alive() else "the grouper has stopped"

    def look(self) -> None:
        """Close groups whose time is up."""
        requests, members = self._groups.close(int(self._clock() * 1_000_000))
        if requests:
            LOG.info("%d notifications are told in %d requests", members, requests)
            self._requests.inc(requests)
            self._members.inc(members)
            self._notify()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
                self._is_failing = False
            except Exception:  # the loop must go on: the database may be back soon
                if not self._is_failing:
                    LOG.exception("Groups of notifications cannot be closed; trying again")
                self._is_failing = True
            self._stop.wait(EVERY_S)
