# SPDX-License-Identifier: Apache-2.0
"""The outbox worker: delivers notifications at least once.

One thread reads the outbox, hands notifications to a pool of threads and writes what became of
them, many in one transaction. A notification leaves the outbox only when that is on disk: after a
crash it is found again. No more than `per_target_limit` go to one host and port at a time, and no
more than half of the pool to targets whose last attempt failed, so that a target that hangs delays
nobody else.
"""

import logging
import queue
import random
import threading
import time
import traceback
from collections import Counter as Multiset
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from oslo_config.cfg import ConfigOpts
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from thermostat.db.outbox import Notification, Outbox, Outcome, Status
from thermostat.notify.backoff import Backoff
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports.base import DeliveryFailed, Transport
from thermostat.redaction import scrubbed, short

LOG = logging.getLogger(__name__)
READ_AT_ONCE = 200
"""How many notifications are read from the outbox at a time."""
MAX_FAILING = 1000
"""How many failing targets are remembered."""
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
        self._workers: int = options.workers
        self._per_target: int = options.per_target_limit
        self._poll_s: float = options.poll_interval
        self._backoff = Backoff(options.backoff_base, options.backoff_max, options.deadline)
        self._pool = ThreadPoolExecutor(options.workers, thread_name_prefix="notify")
        self._due = threading.Event()
        self._filled = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        self._results: queue.SimpleQueue[tuple[Notification, Outcome]] = queue.SimpleQueue()
        # Only the notifier thread touches what follows.
        self._under_way: dict[str, Notification] = {}
        self._waiting: dict[str, deque[Notification]] = {}
        self._read_again = True
        self._read_s = 0.0
        self._unsettled: list[tuple[Notification, Outcome]] = []
        self._failing: OrderedDict[str, None] = OrderedDict()
        self._measure(registry or CollectorRegistry())

    def _measure(self, registry: CollectorRegistry) -> None:
        self._outcomes = Counter(
            "thermostat_notifications",
            "Attempts to deliver a notification, by what they came to",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("delivered", "retried", "dead"):
            self._outcomes.labels(outcome)
        self._durations = Histogram(
            "thermostat_notification_seconds", "Duration of one attempt", registry=registry
        )
        Gauge(
            "thermostat_notifications_under_way", "Attempts under way now", registry=registry
        ).set_function(lambda: len(self._under_way))

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
        deadline = time.monotonic() + STOP_S
        while self._under_way and time.monotonic() < deadline:
            self._settle()
            time.sleep(0.01)

    def check(self) -> str | None:
        """Give the reason why notifications are not being delivered, or None."""
        return None if self._thread.is_alive() else "the notifier has stopped"

    # -- the notifier thread ----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(self._poll_s)
            self._due.clear()
            try:
                self._settle()
                self._dispatch()
            except Exception:  # the loop must go on: the database may be back soon
                LOG.exception("The outbox cannot be worked on; trying again")
                self._stop.wait(PAUSE_AFTER_ERROR_S)
                self._due.set()

    def _settle(self) -> None:
        """Write what finished attempts came to, and only then forget them."""
        while not self._results.empty():
            self._unsettled.append(self._results.get())
        self._outbox.settle([outcome for _, outcome in self._unsettled], self._now_us())
        for notification, outcome in self._unsettled:
            self._under_way.pop(notification.notification_id, None)
            self._remember(notification.target, failed=outcome.error is not None)
        self._unsettled.clear()

    def _remember(self, target: str, *, failed: bool) -> None:
        self._failing.pop(target, None)
        if failed:
            self._failing[target] = None
            if len(self._failing) > MAX_FAILING:
                self._failing.popitem(last=False)

    def _dispatch(self) -> None:
        """Start due notifications while there is room for them."""
        self._start_waiting()
        now_s = time.monotonic()
        if self._filled.is_set() or self._read_again or now_s - self._read_s >= self._poll_s:
            self._filled.clear()
            self._read_again, self._read_s = False, now_s
            more = True
            while more and self._has_room():
                more = self._read()
                self._start_waiting()

    def _has_room(self) -> bool:
        return len(self._under_way) < self._workers and not self._stop.is_set()

    def _read(self) -> bool:
        """Read due notifications of targets that none is waiting for; tell if there may be more."""
        busy = self._busy()
        passed = self._full_targets(busy) | self._waiting.keys()
        due = self._outbox.due(
            self._now_us(), READ_AT_ONCE, without=tuple(self._under_way), without_targets=passed
        )
        for notification in due:
            self._waiting.setdefault(notification.target, deque()).append(notification)
        return len(due) == READ_AT_ONCE

    def _start_waiting(self) -> None:
        """Start those that wait, in the order in which they were read, as far as there is room."""
        busy = self._busy()
        for target in list(self._waiting):
            queued = self._waiting[target]
            while queued and self._has_room() and target not in self._full_targets(busy):
                notification = queued.popleft()
                busy[target] += 1
                self._under_way[notification.notification_id] = notification
                self._pool.submit(self._attempt, notification)
            if not queued:
                del self._waiting[target]
                self._read_again = True  # the outbox may have more for it

    def _busy(self) -> Multiset[str]:
        return Multiset(one.target for one in self._under_way.values())

    def _full_targets(self, busy: Mapping[str, int]) -> set[str]:
        """Give the targets that no further attempt may go to now."""
        full = {target for target, count in busy.items() if count >= self._per_target}
        if sum(busy.get(target, 0) for target in self._failing) >= self._workers // 2:
            full.update(self._failing)
        return full

    # -- the pool's threads -----------------------------------------------------------------------

    def _attempt(self, notification: Notification) -> None:
        """Try once, and put what it came to before the notifier thread."""
        begun = time.monotonic()
        try:
            scheme = urlsplit(notification.action).scheme
            transport = self._transports.get(scheme)
            if transport is None:
                raise DeliveryFailed(f"no transport for {scheme!r} is installed")  # noqa: TRY301
            with self._durations.time():
                transport.send(notification, self._now_us())
        except DeliveryFailed as failure:
            outcome = self._failed(notification, failure)
        except Exception as error:  # a transport's mistake must not lose the notification
            LOG.error(  # noqa: TRY400 - a traceback's message may have the URL
                "Notification %s: the transport failed\n%s",
                notification.notification_id,
                scrubbed(traceback.format_exc()),
            )
            outcome = self._failed(notification, DeliveryFailed(type(error).__name__))
        else:
            LOG.info(
                "Alarm %s: notification %s delivered to %s in %.3f s",
                notification.alarm_id,
                notification.notification_id,
                short(notification.action),
                time.monotonic() - begun,
            )
            self._outcomes.labels("delivered").inc()
            outcome = Outcome(notification.notification_id, Status.DELIVERED)
        self._results.put((notification, outcome))
        self._due.set()

    def _failed(self, notification: Notification, failure: DeliveryFailed) -> Outcome:
        now_us = self._now_us()
        next_us = None
        if not failure.final:
            next_us = self._backoff.next_attempt_us(
                now_us,
                created_us=notification.created_us,
                failures=notification.attempts + 1,
                retry_after_s=failure.retry_after_s,
                rng=self._rng,
            )
        what = (
            notification.alarm_id,
            notification.notification_id,
            short(notification.action),
            failure,
        )
        if next_us is None:
            LOG.error("Alarm %s: notification %s to %s given up: %s", *what)
            self._outcomes.labels("dead").inc()
            return Outcome(notification.notification_id, Status.DEAD, str(failure))
        wait_s = (next_us - now_us) / 1e6
        LOG.warning("Alarm %s: notification %s to %s: %s; again in %.1f s", *what, wait_s)
        self._outcomes.labels("retried").inc()
        return Outcome(notification.notification_id, Status.PENDING, str(failure), next_us)

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)
