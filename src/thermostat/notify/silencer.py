# SPDX-License-Identifier: Apache-2.0
"""The silencer: when a silence ends, it has told what was withheld."""

import logging
import threading
import time
from collections.abc import Callable

from oslo_config.cfg import ConfigOpts
from prometheus_client import CollectorRegistry, Counter

from thermostat.db.engine import GROUP, OPTS
from thermostat.db.silences import SilenceRepository
from thermostat.db.withholding import Withheld

LOG = logging.getLogger(__name__)
EVERY_S = 0.5
"""Seconds between two looks for silences that have ended."""
PURGE_EVERY_S = 3600.0
US_PER_DAY = 86_400_000_000


class Silencer:
    """A thread that looks after silences that have ended."""

    def __init__(
        self,
        silences: SilenceRepository,
        withheld: Withheld,
        conf: ConfigOpts,
        *,
        notify: Callable[[], None],
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry | None = None,
    ) -> None:
        conf.register_opts(OPTS, group=GROUP)
        self._silences = silences
        self._withheld = withheld
        self._kept_us: int = conf[GROUP].silence_days * US_PER_DAY
        self._notify = notify
        self._clock = clock
        self._told = Counter(
            "thermostat_silence_ends_told",
            "Alarms whose actions were called because a silence had ended",
            registry=registry or CollectorRegistry(),
        )
        self._is_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="silencer", daemon=True)

    def start(self) -> None:
        """Begin, with silences that ended while nobody looked."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> str | None:
        """Give the reason why ends of silences are not noticed, or None."""
        return None if self._thread.is_alive() else "the silencer has stopped"

    def tell(self) -> None:
        """Have told what no silence withholds any more."""
        told = self._withheld.tell(int(self._clock() * 1_000_000))
        if told:
            LOG.info("Silences have ended: %d alarms call the actions of their states", told)
            self._told.inc(told)
            self._notify()

    def purge(self) -> None:
        """Delete silences that were over so long ago as the configuration says."""
        purged = self._silences.purge(int(self._clock() * 1_000_000) - self._kept_us)
        if purged:
            LOG.info("Purged %d silences", purged)

    def _run(self) -> None:
        purged = -PURGE_EVERY_S
        while not self._stop.is_set():
            try:
                self.tell()
                if time.monotonic() - purged >= PURGE_EVERY_S:
                    self.purge()
                    purged = time.monotonic()
                self._is_failing = False
            except Exception:  # the loop must go on: the database may be back soon
                if not self._is_failing:
                    LOG.exception("Ends of silences cannot be looked for; trying again")
                self._is_failing = True
            self._stop.wait(EVERY_S)
