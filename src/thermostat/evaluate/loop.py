# SPDX-License-Identifier: Apache-2.0
"""The loop around the engine: it judges when samples or time have come, and writes what follows.

Only its thread touches the engine. What other threads bring (stored samples, described series,
changed alarms, answers of outside stores) waits in queues that it empties before it judges.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from oslo_config import cfg
from prometheus_client import CollectorRegistry

from thermostat.alarms.model import RefusedTransition, Standing, Transition
from thermostat.evaluate.engine import Engine
from thermostat.evaluate.inbox import Answered, Inbox, Item
from thermostat.evaluate.metrics import EvaluatorMetrics
from thermostat.evaluate.parking import Parking
from thermostat.evaluate.polls import Poll
from thermostat.outside.base import Answer
from thermostat.store.base import Batch, Series

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
    cfg.IntOpt(
        "queue_samples",
        default=4_000_000,
        min=1,
        help="Stored samples that may wait to be judged (24 bytes each). While more do, senders "
        "are asked with 429 to come again later.",
    ),
]
IDLE_S = 1.0
"""Without new samples the loop looks at the clock this often, in seconds."""
RETRY_S = 1.0
"""After a transition could not be written the loop waits this long, in seconds."""
REST = 20.0
"""After judging the loop rests this many times as long: what comes meanwhile is judged at once."""
LONGEST_REST_S = 0.25
AT_ONCE = 500
"""Transitions that are written in one transaction."""
MOST_ALONE = 10
"""Where more alarms than this are refused and none is written, the database is at fault."""
MOST_ANSWERED = 1_000
"""Transitions that follow from what outside stores answered, in one pass."""
WATERMARK_S = 1.0
"""How far judging has come is written this often, in seconds."""
LONGEST_RETRY_AFTER_S = 30.0
Refusal = tuple[Transition, RefusedTransition]
"""What the database did not take, and what it said."""


class Alarms(Protocol):
    """What the loop needs of the alarm database."""

    def standing(self) -> Iterator[Standing]:
        """Give what the evaluator needs of every enabled alarm."""
        ...

    def standing_of(self, alarm_ids: Collection[str]) -> Sequence[Standing]:
        """Give what the evaluator needs of those of these alarms that are enabled."""
        ...

    def record(self, transition: Transition) -> bool:
        """Write a transition in one transaction; False if the alarm changed since it was judged.

        Raises RefusedTransition where it is this one that cannot be written, whatever is tried.
        """
        ...

    def record_all(self, transitions: Sequence[Transition]) -> Sequence[bool]:
        """Do the same for many of different alarms in one transaction: all of it, or nothing."""
        ...

    def judged_us(self) -> int | None:
        """Give up to when every step had been judged and written; None before the first time."""
        ...

    def note_judged(self, judged_us: int) -> None:
        """Remember up to when every step has been judged and written."""
        ...

    def try_writing(self) -> None:
        """Write what is there already; raises where nothing can be written."""
        ...


class Evaluator:
    """A thread that evaluates every enabled alarm."""

    def __init__(
        self,
        engine: Engine,
        alarms: Alarms,
        *,
        notify: Callable[[], None],
        ask: Callable[[Poll], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry | None = None,
        queue_samples: int = 4_000_000,
    ) -> None:
        self._engine = engine
        self._alarms = alarms
        self._notify = notify
        self._ask = ask
        self._clock = clock
        self._queue_samples = queue_samples
        self._inbox = Inbox()
        self._changing = threading.Lock()
        self._changed: set[str] = set()
        self._judged_us = 0
        self._noted_at = 0.0
        self._failing: str | None = None
        self._parking = Parking()
        self._has_written = False
        """Whether a transition was written in this pass."""
        self._due = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evaluator", daemon=True)
        self._metrics = EvaluatorMetrics(
            registry or CollectorRegistry(), engine, self._inbox, self._behind_s, self._now_us
        )
        self._metrics.parked.set_function(lambda: len(self._parking))

    def start(self) -> None:
        """Load the enabled alarms, rebuild their windows from the store, and begin."""
        begun = time.monotonic()
        noted_us = self._alarms.judged_us()
        self._judged_us = noted_us or 0
        self._engine.load(self._alarms.standing(), self._now_us(), noted_us)
        self._engine.wait_from(self._now_us())  # loading may take longer than the lag
        seconds = time.monotonic() - begun
        LOG.info("Evaluating %d alarms, ready after %.1f s", len(self._engine), seconds)
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

    # -- from other threads ---------------------------------------------------------------------

    def described(self, series: Sequence[Series]) -> None:
        """Take in series that were registered or have changed, before their samples."""
        self._inbox.add_series(series)

    def stored(self, batch: Batch) -> None:
        """Take in samples that have just been stored, and judge soon."""
        self._inbox.add_samples(batch)
        self._due.set()

    def answered(self, poll: Poll, answers: Sequence[Answer] | str) -> None:
        """Take in what an outside store has answered, or why it has not, and judge soon."""
        self._inbox.add_answers(Answered(poll, answers))
        self._due.set()

    def alarm_changed(self, alarm_id: str) -> None:
        """Take in that an alarm was created, edited or deleted, and judge soon.

        What cannot be read now is tried again at each pass: the change itself is committed.
        """
        with self._changing:
            self._changed.add(alarm_id)
        self._due.set()

    def overload(self) -> float | None:
        """Give the seconds after which senders may come again; None: there is room for more."""
        if self._inbox.samples <= self._queue_samples:
            return None
        return min(max(1.0, self._inbox.age_s), LONGEST_RETRY_AFTER_S)

    # -- the loop -------------------------------------------------------------------------------

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)

    def _behind_s(self) -> float:
        return max(0.0, self._clock() - self._judged_us / 1_000_000) if self._judged_us else 0.0

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(IDLE_S)
            self._due.clear()
            judging_s = 0.0
            try:
                with self._metrics.passes.time():
                    self._failing, judging_s = self._pass()
            except Exception as error:  # the loop must go on: one bad pass must not end alarming
                LOG.exception("Evaluation failed; trying again")
                self._failing = f"evaluation fails: {error!r}"
            if self._failing:
                self._metrics.failures.inc()
                self._stop.wait(RETRY_S)
            else:
                self._stop.wait(min(judging_s * REST, LONGEST_REST_S))

    def _pass(self) -> tuple[str | None, float]:
        """Take in what has come and judge what is due; give what failed, and how long that took."""
        begun = time.perf_counter()
        # As of before the inbox is emptied: nobody's samples are missing while they wait in it.
        now_us = self._now_us()
        for item in self._inbox.take():
            self._take_in(item)
        unfollowed = self._follow_changes()
        for poll in self._engine.asked.due(self._now_us()):
            self._ask(poll)
        self._engine.asked.allow(MOST_ANSWERED)
        unwritten, judging_s = self._judge_all(now_us, time.perf_counter() - begun)
        if self._engine.asked.is_behind:
            self._due.set()
        failing = unwritten or unfollowed
        if not failing:
            self._note_progress()
        return failing, judging_s

    def _take_in(self, item: Item) -> None:
        """Let the engine know of what has come; what is wrong with one costs only that one."""
        try:
            if isinstance(item, Batch):
                self._metrics.late.inc(self._engine.ingest(item))
            elif isinstance(item, Answered):
                self._take_answers(item)
            else:
                self._engine.describe(item)
        except Exception:
            if (
                not isinstance(item, (Batch, Answered)) and len(item) > 1
            ):  # find the one that is at fault
                for one in item:
                    self._take_in([one])
                return
            LOG.exception("What has come cannot be taken in: %.200r", item)
            self._metrics.failures.inc()

    def _take_answers(self, item: Answered) -> None:
        if isinstance(item.answers, str):
            self._engine.asked.fail(item.poll, item.answers, self._now_us())
        else:
            self._engine.asked.take(item.poll, item.answers)

    def _follow_changes(self) -> str | None:
        """Bring what is evaluated in line with the database; give what failed, or None."""
        with self._changing:
            changed, self._changed = self._changed, set()
        self._parking.forget(changed)
        changed |= self._parking.due(time.monotonic())
        if not changed:
            return None
        try:
            known = self._alarms.standing_of(changed)
            for alarm_id in changed - {alarm.alarm_id for alarm in known}:
                self._engine.remove(alarm_id)
        except Exception:
            LOG.exception("%d changed alarms cannot be read now; trying again", len(changed))
            return self._follow_later(changed)
        try:
            self._engine.put_all(known, self._now_us())
        except Exception:
            if len(known) > 1:
                return self._follow_each(known)
            LOG.exception("Alarm %s cannot be loaded now; trying again", known[0].alarm_id)
            return self._follow_later({known[0].alarm_id})
        return None

    def _follow_each(self, alarms: Sequence[Standing]) -> str | None:
        """Load alarms that could not be loaded together: one of them may be at fault."""
        failing = None
        for alarm in alarms:
            try:
                self._engine.put(alarm, self._now_us())
            except Exception:
                LOG.exception("Alarm %s cannot be loaded now; trying again", alarm.alarm_id)
                failing = self._follow_later({alarm.alarm_id})
        return failing

    def _follow_later(self, alarm_ids: set[str]) -> str:
        with self._changing:
            self._changed |= alarm_ids
        return "alarms cannot be loaded"

    def _judge_all(self, now_us: int, judging_s: float) -> tuple[str | None, float]:
        """Judge what is due at this time; give why something could not be written, or None.

        Each round writes at most one transition per alarm. One that cannot be written is judged
        again in the next pass, or its alarm is parked where that one is at fault; it delays no
        other. Adds the seconds that judging took.
        """
        unwritten: list[Transition] = []
        refused: list[Refusal] = []
        self._has_written = False
        failing = None
        while not self._stop.is_set():
            begun = time.perf_counter()
            transitions = self._engine.evaluate(now_us)
            judging_s += time.perf_counter() - begun
            if not transitions:
                break
            for begin in range(0, len(transitions), AT_ONCE):
                failed = self._write_all(transitions[begin : begin + AT_ONCE], unwritten, refused)
                failing = failing or failed
            failing = self._follow_changes() or failing
        if self._are_at_fault(refused):
            for transition, error in refused:
                self._park(transition, error)
        elif refused:
            unwritten += (transition for transition, _ in refused)
            failing = failing or "transitions cannot be written: all are refused"
        for transition in unwritten:
            self._engine.rejected(transition)
        if unwritten:
            LOG.error("%d transitions are judged again: %s", len(unwritten), failing)
        return failing, judging_s

    def _are_at_fault(self, refused: Sequence[Refusal]) -> bool:
        """Tell whether alarms are at fault themselves whose transitions were refused."""
        if self._has_written or not refused:
            return True
        new = sum(transition.alarm_id not in self._parking for transition, _ in refused)
        if new and len(self._parking) + new > MOST_ALONE:
            return False
        try:
            self._alarms.try_writing()
        except Exception as error:
            LOG.warning("The alarm database cannot be written: %s", error)
            return False
        return True

    def _park(self, transition: Transition, error: RefusedTransition) -> None:
        """Leave an alarm alone for a while, unless it was edited since its transition was refused.

        Its window would keep the samples of all the time that it waits; so it is closed, and is
        filled from the store when its time has come.
        """
        alarm_id = transition.alarm_id
        if not self._engine.park(transition):
            return
        if alarm_id not in self._parking:
            LOG.error("Alarm %s: refused; tried again later", alarm_id, exc_info=error)
        self._parking.park(alarm_id, time.monotonic())

    def _write_all(
        self,
        transitions: Sequence[Transition],
        unwritten: list[Transition],
        refused: list[Refusal],
    ) -> str | None:
        """Write transitions together, or each on its own where that fails."""
        try:
            written = self._alarms.record_all(transitions)
        except Exception as error:
            LOG.warning("%d transitions are written one by one: %s", len(transitions), error)
        else:
            for transition, is_written in zip(transitions, written, strict=True):
                self._tell(transition, is_written=is_written)
            return None
        failing = None
        for transition in transitions:
            try:
                self._tell(transition, is_written=self._alarms.record(transition))
            except RefusedTransition as error:
                refused.append((transition, error))
            except Exception as error:
                if not failing:
                    LOG.exception("Alarm %s: not written", transition.alarm_id)
                failing = f"transitions cannot be written: {type(error).__name__}"
                unwritten.append(transition)
        return failing

    def _tell(self, transition: Transition, *, is_written: bool) -> None:
        """Let the engine go on with what has been written, or with the alarm as edited."""
        if not is_written:
            self._metrics.conflicts.inc()
            with self._changing:
                self._changed.add(transition.alarm_id)
            return
        self._has_written = True
        self._parking.forget([transition.alarm_id])
        self._engine.committed(transition)
        if transition.is_change:
            self._metrics.transitions.labels(transition.state.value).inc()
            LOG.info("Alarm %s: %s", transition.alarm_id, transition.reason)
        if not transition.quiet:
            self._notify()

    def _note_progress(self) -> None:
        """Write how far judging has come: a restart goes on from there."""
        now = time.monotonic()
        judged_us = self._engine.judged_us if now >= self._noted_at + WATERMARK_S else None
        if judged_us is None:
            return
        judged_us = min(judged_us, self._now_us())
        if judged_us <= self._judged_us:
            return
        self._alarms.note_judged(judged_us)
        self._judged_us, self._noted_at = judged_us, now
