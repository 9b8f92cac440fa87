# SPDX-License-Identifier: Apache-2.0
"""The outbox worker: delivers notifications at least once.

One thread reads the outbox and writes what became of notifications, many in one transaction; a pool
of threads sends them, in the order and number that the lanes allow. A notification leaves the
outbox only when that is on disk: after a crash it is found again.
"""

import logging
import queue
import random
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from oslo_config.cfg import ConfigOpts
from prometheus_client import CollectorRegistry

from thermostat.db.outbox import Notification, Outbox, Outcome, Status
from thermostat.notify.backoff import Backoff
from thermostat.notify.lanes import Lanes
from thermostat.notify.metrics import DeliveryMetrics
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports.base import DeliveryFailed, Transport
from thermostat.redaction import scrubbed, short

LOG = logging.getLogger(__name__)
READ_AT_ONCE = 200
"""How many notifications are read from the outbox at a time."""
GATHER_S = 0.005
"""What has finished waits so long for others, to be written with them."""
FOLLOW_EVERY_S = 0.05
"""Seconds between two looks for what waited until one that had failed was settled."""
CROWDED_POLL_S = 0.1
"""Seconds between two looks for room while there is none."""
CLOCK_STEP_S = 2.0
"""When the clock goes back by more between two looks, retries are brought forward."""
PAUSE_AFTER_ERROR_S = 1.0
STOP_S = 5.0
"""How long `stop` waits for deliveries that are under way; what is not settled stays pending."""


class Worker:
    """Threads that deliver what is in the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        transports: Mapping[str, Transport],
        conf: ConfigOpts,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        conf.register_opts(OPTS, group=GROUP)
        options = conf[GROUP]
        self._outbox = outbox
        self._transports = transports
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._poll_s: float = options.poll_interval
        self._backoff = Backoff(options.backoff_base, options.backoff_max, options.deadline)
        most = options.workers + options.slow_workers
        self._lanes = Lanes(options.workers, options.per_target_limit, options.slow_workers)
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="notify")
        self._due = threading.Event()
        self._filled = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        self._results: queue.SimpleQueue[tuple[Notification, Outcome]] = queue.SimpleQueue()
        self._metrics = DeliveryMetrics(
            transports, lambda: self._lanes.under_way, registry or CollectorRegistry()
        )
        # Only the notifier thread touches what follows.
        self._read_s = 0.0
        self._clock_ahead_s = self._clock() - time.monotonic()
        self._followed_s = 0.0
        self._ended: set[tuple[str, str]] = set()
        """Alarms and URLs whose next notification may be due now."""
        self._unsettled: list[tuple[Notification, Outcome]] = []

    def start(self) -> None:
        """Begin, with what an earlier run left pending."""
        self.wake()
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox now; call it after each commit that may have filled it."""
        self._filled.set()
        self._due.set()

    def stop(self) -> None:
        """End; deliveries that do not finish in a few seconds stay pending."""
        self._stop.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline_s = time.monotonic() + STOP_S
        while time.monotonic() < deadline_s:
            under_way = self._lanes.under_way
            self._settle()
            if not under_way:
                break
            time.sleep(0.01)

    def check(self) -> str | None:
        """Give the reason why notifications are not being delivered, or None."""
        return None if self._thread.is_alive() else "the notifier has stopped"

    # -- the notifier thread ----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(self._wait_s())
            if not self._results.empty():
                self._stop.wait(GATHER_S)
            self._due.clear()
            try:
                self._settle()
                self._watch_clock()
                self._dispatch()
            except Exception:  # the loop must go on: the database may be back soon
                LOG.exception("The outbox cannot be worked on; trying again")
                self._stop.wait(PAUSE_AFTER_ERROR_S)
                self._due.set()

    def _wait_s(self) -> float:
        if self._ended:
            return min(self._poll_s, FOLLOW_EVERY_S)
        return min(self._poll_s, CROWDED_POLL_S) if self._lanes.is_crowded else self._poll_s

    def _settle(self) -> None:
        """Write what finished attempts came to, and only then forget them."""
        while not self._results.empty():
            self._unsettled.append(self._results.get())
        if not self._unsettled:
            return
        now_us = self._now_us()
        self._outbox.settle([outcome for _, outcome in self._unsettled], now_us)
        self._lanes.settled(outcome.notification_id for _, outcome in self._unsettled)
        self._ended.update(
            (notification.alarm_id, notification.action)
            for notification, outcome in self._unsettled
            if outcome.status is not Status.PENDING
            and (notification.attempts or outcome.status is Status.DEAD)
        )
        self._unsettled.clear()

    def _watch_clock(self) -> None:
        """Where the clock was set back, do not have retries wait until it is where it was."""
        ahead_s = self._clock() - time.monotonic()
        back_s = self._clock_ahead_s - ahead_s
        if back_s > CLOCK_STEP_S:
            count = self._outbox.bring_forward(self._now_us(), int(back_s * 1e6))
            LOG.warning("The clock was set back by %.0f s: %d retries come earlier", back_s, count)
        self._clock_ahead_s = ahead_s

    def _dispatch(self) -> None:
        """Read what is due, and start as many threads as there is work for."""
        now_s = time.monotonic()
        if self._ended and now_s - self._followed_s >= FOLLOW_EVERY_S:
            self._followed_s = now_s
            due = self._outbox.following(self._ended, self._now_us(), READ_AT_ONCE)
            self._lanes.add(due)
            self._ended.clear()
        if self._filled.is_set() or now_s - self._read_s >= self._poll_s:
            self._filled.clear()
            self._read_s = now_s
            while self._read() and not self._stop.is_set():
                self._start()
                self._settle()
        self._start()

    def _read(self) -> bool:
        """Read what is due of which few are known; tell if there may be more."""
        due = self._outbox.due(self._now_us(), READ_AT_ONCE, self._lanes.enough())
        self._lanes.add(due)
        return len(due) == READ_AT_ONCE

    def _start(self) -> None:
        while not self._stop.is_set():
            notification = self._lanes.next(time.monotonic())
            if notification is None:
                return
            self._pool.submit(self._work, notification)

    # -- the pool's threads -----------------------------------------------------------------------

    def _work(self, notification: Notification | None) -> None:
        """Try this one, and then others while there are any that may be started."""
        while notification is not None:
            outcome = self._attempt(notification)
            if outcome is None:
                self._lanes.settled([notification.notification_id])
            else:
                self._results.put((notification, outcome))
            is_delivered = outcome is not None and outcome.status is Status.DELIVERED
            runs_dry = self._lanes.finished(notification, failed=not is_delivered)
            if runs_dry or outcome is None:  # something may have waited behind it
                self._filled.set()
            if not self._due.is_set():
                self._due.set()
            notification = None if self._stop.is_set() else self._lanes.next(time.monotonic())

    def _attempt(self, notification: Notification) -> Outcome | None:
        """Try it; give what that came to, or None if it was given up before."""
        begun_s = time.monotonic()
        scheme = notification.scheme
        try:
            current = self._outbox.current(notification)
            if current is None:
                return None
            notification = current
            transport = self._transports.get(scheme)
            if transport is None:
                reason = f"no transport for {scheme!r} is installed, or it is not allowed"
                raise DeliveryFailed(reason)  # noqa: TRY301
            remark = transport.send(notification, self._now_us())
        except DeliveryFailed as failure:
            return self._failed(notification, failure, begun_s)
        except Exception as error:  # a transport's mistake must not lose the notification
            LOG.error(  # noqa: TRY400 - a traceback's message may have the URL
                "Notification %s: the transport failed\n%s",
                notification.notification_id,
                scrubbed(traceback.format_exc()),
            )
            return self._failed(notification, DeliveryFailed(type(error).__name__), begun_s)
        return self._delivered(notification, remark, begun_s)

    def _delivered(self, notification: Notification, remark: str | None, begun_s: float) -> Outcome:
        taken_s = time.monotonic() - begun_s
        LOG.info(
            "Alarm %s: notification %s (%s) delivered to %s in %.3f s%s",
            notification.alarm_id,
            _named(notification),
            notification.request_id,
            short(notification.action),
            taken_s,
            f": {remark}" if remark else "",
        )
        age_s = max(0.0, self._clock() - notification.created_us / 1e6)
        self._metrics.attempted(notification.scheme, "delivered", taken_s)
        self._metrics.delivered(notification.scheme, age_s)
        return Outcome(
            notification.notification_id,
            Status.DELIVERED,
            remark,
            trust_id=notification.trust_id,
            told=notification.told,
        )

    def _failed(
        self, notification: Notification, failure: DeliveryFailed, begun_s: float
    ) -> Outcome:
        now_us = self._now_us()
        next_us = None
        if not failure.final:
            next_us = self._backoff.next_attempt_us(
                now_us,
                created_us=notification.queued_us or notification.created_us,
                failures=notification.attempts + 1,
                retry_after_s=failure.retry_after_s,
                rng=self._rng,
            )
        what = (
            notification.alarm_id,
            _named(notification),
            notification.request_id,
            short(notification.action),
            failure,
        )
        trust_id = None if failure.trust_error is None else notification.trust_id
        taken_s = time.monotonic() - begun_s
        if next_us is None:
            LOG.error("Alarm %s: notification %s (%s) to %s given up: %s", *what)
            self._metrics.attempted(notification.scheme, "dead", taken_s)
            return Outcome(
                notification.notification_id,
                Status.DEAD,
                str(failure),
                trust_id=trust_id,
                trust_error=failure.trust_error,
                told=notification.told,
            )
        wait_s = (next_us - now_us) / 1e6
        LOG.warning("Alarm %s: notification %s (%s) to %s: %s; again in %.1f s", *what, wait_s)
        self._metrics.attempted(notification.scheme, "retried", taken_s)
        return Outcome(
            notification.notification_id,
            Status.PENDING,
            str(failure),
            next_us,
            trust_id=trust_id,
            trust_error=failure.trust_error,
            told=notification.told,
        )

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)


def _named(notification: Notification) -> str:
    """Give its id as a log line has it; the others' of its group are in a line of their own."""
    others = len(notification.told) - 1
    return f"{notification.notification_id}{f' and {others} more' if others else ''}"
