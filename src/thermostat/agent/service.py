# SPDX-License-Identifier: Apache-2.0
"""The agent's loop: poll, derive, spool; delivering goes on beside it."""

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oslo_config import cfg

from thermostat import systemd
from thermostat.agent import drivers
from thermostat.agent.delivery import Delivery
from thermostat.agent.errors import ConfigError, PollError
from thermostat.agent.pollsters.base import Pollster
from thermostat.agent.schedule import Cycle, Schedule
from thermostat.agent.spool import Spool
from thermostat.samples.derive import Deriver
from thermostat.samples.model import Sample
from thermostat.samples.wire import encode_columnar

LOG = logging.getLogger(__name__)

_SUMMARY_EVERY_S = 60
_FORGET_AFTER_US = 3600 * 1_000_000
_LONGEST_NAP_S = 1.0
"""Longest sleep at a time, so that a step of the clock and the watchdog are noticed."""
_DELIVERY_GRACE_S = 5.0


@dataclass
class Tally:
    """What the agent did since its last summary in the log."""

    cycles: int = 0
    missed: int = 0
    failed_polls: int = 0
    samples: int = 0
    seconds: list[float] = field(default_factory=list)
    """How long each cycle took."""


class Agent:
    """Polls at every multiple of the interval until it is told to stop."""

    def __init__(
        self,
        interval_s: int,
        pollsters: Mapping[str, Pollster],
        deliveries: Mapping[str, Delivery],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._schedule = Schedule(interval_s, int(clock() * 1e6))
        self._pollsters = pollsters
        self._deliveries = deliveries
        self._clock = clock
        self._stop = threading.Event()
        self._deriver = Deriver()
        self._last_us = 0
        self._tally = Tally()
        self._summary_cycles = max(1, _SUMMARY_EVERY_S // interval_s)

    def stop(self) -> None:
        """Ask `run` to return after the current cycle; may be called from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Poll until stopped, then let the deliveries finish for a few seconds."""
        for delivery in self._deliveries.values():
            delivery.start()
        systemd.notify("READY=1")
        while self._wait():
            self.cycle(self._schedule.start(self._now_us()))
        systemd.notify("STOPPING=1")
        for delivery in self._deliveries.values():
            delivery.stop(_DELIVERY_GRACE_S)
        for pollster in self._pollsters.values():
            pollster.close()

    def cycle(self, cycle: Cycle) -> None:
        """Poll everything once, and queue the samples and what derives from them as one batch."""
        started = time.monotonic()
        if cycle.missed:
            LOG.warning("%d polls were missed: the one before took too long", cycle.missed)
        if cycle.timestamp_us <= self._last_us:
            LOG.warning("The clock was set back: rates begin anew")
            self._deriver = Deriver()
        self._last_us = cycle.timestamp_us
        samples = self._poll(cycle.timestamp_us)
        derived = [more for sample in samples for more in self._deriver.derive(sample)]
        self._deriver.forget(cycle.timestamp_us - _FORGET_AFTER_US)
        samples.extend(derived)
        if samples:
            batch = encode_columnar(samples)
            for delivery in self._deliveries.values():
                delivery.offer(batch)
        self._count(cycle, len(samples), time.monotonic() - started)

    def _wait(self) -> bool:
        """Sleep until the next cycle is due; False when told to stop."""
        while not self._stop.is_set():
            systemd.notify("WATCHDOG=1")
            now_us = self._now_us()
            self._schedule.notice_clock(now_us)
            if now_us >= self._schedule.due_us:
                return True
            self._stop.wait(min((self._schedule.due_us - now_us) / 1e6, _LONGEST_NAP_S))
        return False

    def _now_us(self) -> int:
        return int(self._clock() * 1e6)

    def _poll(self, timestamp_us: int) -> list[Sample]:
        samples: list[Sample] = []
        for name, pollster in self._pollsters.items():
            failure = None
            try:
                samples.extend(pollster.poll(timestamp_us))
            except PollError as error:
                failure = error
            except Exception:  # the loop must go on: the others can still be polled
                self._tally.failed_polls += 1
                LOG.exception("Pollster %s failed unexpectedly", name)
            if failure is not None:  # outside the handler, or oslo.log would write it twice
                self._tally.failed_polls += 1
                LOG.warning("Pollster %s: %s", name, failure)
        return samples

    def _count(self, cycle: Cycle, samples: int, seconds: float) -> None:
        tally = self._tally
        tally.cycles += 1
        tally.missed += cycle.missed
        tally.samples += samples
        tally.seconds.append(seconds)
        LOG.debug("Cycle %d: %d samples in %.3f s", cycle.timestamp_us, samples, seconds)
        if tally.cycles >= self._summary_cycles:
            self._summarise(tally)
            self._tally = Tally()

    def _summarise(self, tally: Tally) -> None:
        LOG.info(
            "%d cycles (mean %.3f s, longest %.3f s), %d samples, %d polls missed, %d failed",
            tally.cycles,
            sum(tally.seconds) / len(tally.seconds),
            max(tally.seconds),
            tally.samples,
            tally.missed,
            tally.failed_polls,
        )
        for name, delivery in self._deliveries.items():
            spool, counters = delivery.spool, delivery.counters
            LOG.info(
                "Publisher %s: spool holds %d batches (%d bytes); since the start %d delivered, "
                "%d attempts failed, %d refused, %d dropped, %d damaged, %d unspooled, %d lost",
                name,
                len(spool),
                spool.used_bytes,
                counters.delivered,
                counters.failed,
                counters.refused,
                spool.dropped,
                spool.damaged,
                counters.unspooled,
                counters.lost,
            )


def build(conf: cfg.ConfigOpts) -> Agent:
    """Give the agent that the configuration describes. Raises ConfigError."""
    options = conf.agent
    if not options.pollsters:
        raise ConfigError("[agent] pollsters: Names no pollster")
    if not options.publishers:
        raise ConfigError("[agent] publishers: Names no publisher")
    pollsters: dict[str, Pollster] = {
        name: drivers.load(drivers.POLLSTERS, name, "[agent] pollsters")(conf)
        for name in options.pollsters
    }
    deliveries = {}
    for name in options.publishers:
        publisher = drivers.load(drivers.PUBLISHERS, name, "[agent] publishers")(conf)
        directory = Path(options.spool_dir) / re.sub(r"[^\w.-]", "_", name)
        try:
            spool = Spool(directory, options.spool_size)
        except OSError as error:
            raise ConfigError(f"[agent] spool_dir: {error}") from error
        deliveries[name] = Delivery(name, publisher, spool)
    return Agent(options.interval, pollsters, deliveries)
