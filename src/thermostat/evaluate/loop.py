# SPDX-License-Identifier: Apache-2.0
"""The loop around the engine: it judges when samples or time have come, and writes what follows."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from oslo_config import cfg
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from thermostat.alarms.model import Alarm, Transition
from thermostat.evaluate.engine import Engine
from thermostat.store.base import Batch

LOG = logging.getLogger(__name__)
GROUP = cfg.OptGroup("evaluator", title="When alarms are judged")
OPTS = [
    cfg.FloatOpt(
        "allowed_lag",
        default=15.0,
        min=0.0,
        help="Seconds that a silent member of a group is waited for. Without one a group is judged "
        "as soon as all its members have reported.",
    ),
]
IDLE_S = 1.0
"""Without new samples the loop looks at the clock this often, in seconds."""
RETRY_S = 1.0
"""After a transition could not be written the loop waits this long, in seconds."""


class Alarms(Protocol):
    """What the loop needs of the alarm database."""

    def enabled(self) -> Sequence[Alarm]:
        """Give every enabled alarm."""
        ...

    def find(self, alarm_id: str) -> Alarm | None:
        """Give an alarm of any project, or None."""
        ...

    def record(self, transition: Transition) -> bool:
        """Write a transition in one transaction; False if the alarm changed since it was judged."""
        ...


class Evaluator:
    """A thread that evaluates every enabled alarm."""

    def __init__(
        self,
        engine: Engine,
        alarms: Alarms,
        *,
        notify: Callable[[], None],
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._engine = engine
        self._alarms = alarms
        self._notify = notify
        self._clock = clock
        self._following = threading.Lock()
        self._unfollowed: set[str] = set()
        self._failing: str | None = None
        self._due = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evaluator", daemon=True)
        registry = registry or CollectorRegistry()
        self._passes = Histogram(
            "thermostat_evaluation_seconds",
            "Duration of one pass over the alarms",
            registry=registry,
        )
        self._transitions = Counter(
            "thermostat_transitions_total",
            "State transitions written",
            ["state"],
            registry=registry,
        )
        self._conflicts = Counter(
            "thermostat_transition_conflicts_total",
            "Judgements dropped because the alarm was edited meanwhile",
            registry=registry,
        )
        self._failures = Counter(
            "thermostat_evaluation_failures_total", "Passes that failed", registry=registry
        )
        Gauge(
            "thermostat_alarms_resident", "Alarms being evaluated", registry=registry
        ).set_function(lambda: len(engine))
        Gauge(
            "thermostat_steps_failed", "Steps that could not be judged", registry=registry
        ).set_function(lambda: engine.failures)
        self._late = Counter(
            "thermostat_samples_late_total",
            "Samples that came too late for an open window of an alarm they match",
            registry=registry,
        )

    def start(self) -> None:
        """Load the enabled alarms, rebuild their windows from the store, and begin."""
        for alarm in self._alarms.enabled():
            self._engine.put(alarm, self._now_us())
        LOG.info("Evaluating %d alarms", len(self._engine))
        self._thread.start()

    def stop(self) -> None:
        """End after the pass that is under way."""
        self._stop.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> str | None:
        """Give the reason why alarms are not being evaluated, or None."""
        return self._failing if self._thread.is_alive() else "the evaluator has stopped"

    def stored(self, batch: Batch) -> None:
        """Take in samples that have just been stored, and judge soon."""
        self._late.inc(self._engine.ingest(batch))
        self._due.set()

    def alarm_changed(self, alarm_id: str) -> None:
        """Take in that an alarm was created, edited or deleted, and judge soon.

        What cannot be read now is tried again at each pass: the change itself is committed.
        """
        self._try_to_follow(alarm_id)
        self._due.set()

    def _try_to_follow(self, alarm_id: str) -> bool:
        """Follow an alarm's change, or note that it is still to be followed."""
        try:
            self._follow(alarm_id)
        except Exception:
            LOG.exception("Alarm %s cannot be loaded now; trying again", alarm_id)
            with self._following:
                self._unfollowed.add(alarm_id)
            return False
        return True

    def _follow(self, alarm_id: str) -> None:
        """Bring what is evaluated in line with the database; one at a time, or an old read wins."""
        with self._following:
            alarm = self._alarms.find(alarm_id)
            if alarm is not None and alarm.enabled:
                self._engine.put(alarm, self._now_us())
            else:
                self._engine.remove(alarm_id)
            self._unfollowed.discard(alarm_id)

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(IDLE_S)
            self._due.clear()
            try:
                with self._passes.time():
                    self._failing = self._pass()
            except Exception as error:  # the loop must go on: one bad pass must not end alarming
                LOG.exception("Evaluation failed; trying again")
                self._failing = f"evaluation fails: {error!r}"
            if self._failing:
                self._failures.inc()
                self._stop.wait(RETRY_S)

    def _pass(self) -> str | None:
        """Follow what could not be followed and judge what is due; give what failed, or None."""
        failing = None
        for alarm_id in tuple(self._unfollowed):
            if not self._try_to_follow(alarm_id):
                failing = "alarms cannot be loaded"
        return self._judge_all() or failing

    def _judge_all(self) -> str | None:
        """Judge until nothing is due; give the reason why something could not be written, or None.

        Each round writes at most one transition per alarm. One that cannot be written is judged
        again in the next pass, and delays no other.
        """
        unwritten: list[Transition] = []
        failing = None
        while not self._stop.is_set():
            transitions = self._engine.evaluate(self._now_us())
            if not transitions:
                break
            for transition in transitions:
                try:
                    if self._write(transition):
                        continue
                    failing = "alarms cannot be loaded"
                except Exception as error:
                    if not failing:
                        LOG.exception("Alarm %s: not written", transition.alarm_id)
                    failing = f"transitions cannot be written: {type(error).__name__}"
                unwritten.append(transition)
        for transition in unwritten:
            self._engine.rejected(transition)
        if unwritten:
            LOG.error("%d transitions are judged again: %s", len(unwritten), failing)
        return failing

    def _write(self, transition: Transition) -> bool:
        """Write a transition; False if the alarm was edited and cannot be loaded anew."""
        if not self._alarms.record(transition):
            self._conflicts.inc()
            return self._try_to_follow(transition.alarm_id)
        self._engine.committed(transition)
        if transition.is_change:
            self._transitions.labels(transition.state.value).inc()
            LOG.info("Alarm %s: %s", transition.alarm_id, transition.reason)
        self._notify()
        return True
