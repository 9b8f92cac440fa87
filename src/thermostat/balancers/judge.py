# SPDX-License-Identifier: Apache-2.0
"""The thread that judges `loadbalancer_member_health` alarms.

At each interval it reads the pools that its alarms watch, each once, and writes what follows. An
alarm that is created or edited is judged at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from thermostat.alarms.balancers import LoadBalancerRule
from thermostat.alarms.constraints import is_open
from thermostat.alarms.model import Standing, State, Transition
from thermostat.balancers.base import Balancers, PoolAnswer, Unreadable
from thermostat.balancers.decide import ALARM_TYPE, Verdict, decide

LOG = logging.getLogger(__name__)
AT_ONCE = 500
"""Transitions that are written in one transaction."""
RETRY_S = 1.0
"""After something failed the judge waits this long, in seconds."""


class Alarms(Protocol):
    """What the judge needs of the alarm database."""

    def standing(self, types: Collection[str]) -> Iterator[Standing]:
        """Give what a judge needs of every enabled alarm of these types."""
        ...

    def standing_of(self, alarm_ids: Collection[str], types: Collection[str]) -> Sequence[Standing]:
        """Give those of these alarms that are enabled, and of these types."""
        ...

    def record_all(self, transitions: Sequence[Transition]) -> Sequence[bool]:
        """Write transitions in one transaction; tell of each whether its alarm was as judged."""
        ...


class BalancerJudge:
    """A thread that judges every enabled alarm on the health of a pool's members."""

    def __init__(
        self,
        balancers: Balancers,
        alarms: Alarms,
        *,
        interval_s: float,
        grace_s: float,
        notify: Callable[[], None],
        alarm_changed: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """`alarm_changed` is told of each alarm whose state this judge has changed."""
        self._balancers = balancers
        self._alarms = alarms
        self._interval_s = interval_s
        self._grace_us = int(grace_s * 1_000_000)
        self._notify = notify
        self._alarm_changed = alarm_changed
        self._clock = clock
        self._changing = threading.Lock()
        self._changed: set[str] = set()
        self._failing: str | None = None
        self._due = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="balancers", daemon=True)
        # Only the thread touches what follows.
        self._watched: dict[str, Standing] = {}
        self._told: dict[str, str] = {}
        self._next_at = 0.0
        self._measure(registry or CollectorRegistry())

    def _measure(self, registry: CollectorRegistry) -> None:
        self._rounds = Histogram(
            "thermostat_balancer_round_seconds",
            "Duration of one look at the load balancers' pools",
            registry=registry,
        )
        self._pools = Counter(
            "thermostat_balancer_pools",
            "Pools that were looked at, by whether they could be read",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("read", "unreadable"):
            self._pools.labels(outcome)
        Gauge(
            "thermostat_balancer_alarms", "Alarms on members' health", registry=registry
        ).set_function(lambda: len(self._watched))

    def start(self) -> None:
        """Load the enabled alarms, and begin."""
        self._watched = {one.alarm_id: one for one in self._alarms.standing({ALARM_TYPE})}
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stop.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> str | None:
        """Give the reason why these alarms are not being judged, or None.

        Octavia's absence is none: the alarms say it themselves.
        """
        return self._failing if self._thread.is_alive() else "the judge of load balancers stopped"

    def alarm_changed(self, alarm_id: str) -> None:
        """Take in that an alarm was created, edited, judged or deleted."""
        with self._changing:
            self._changed.add(alarm_id)
        self._due.set()

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(max(0.0, self._next_at - time.monotonic()))
            self._due.clear()
            if self._stop.is_set():
                break
            try:
                self._failing = self._pass()
            except Exception as error:  # the loop must go on: one bad pass must not end alarming
                LOG.exception("Load balancers' members cannot be judged; trying again")
                self._failing = f"load balancers' members cannot be judged: {error!r}"
            if self._failing:
                self._stop.wait(RETRY_S)
                self._due.set()

    def _pass(self) -> str | None:
        """Judge what is new, or everything if the interval is over; give what failed, or None."""
        fresh = self._follow_changes()
        begun = time.monotonic()
        if begun >= self._next_at:
            self._next_at = begun + self._interval_s
            fresh = list(self._watched)
        return self._judge([self._watched[alarm_id] for alarm_id in fresh])

    def _follow_changes(self) -> list[str]:
        """Bring what is judged in line with the database; give the ids that are to be judged now.

        A state that was written, by this judge or by hand, is no reason.
        """
        with self._changing:
            changed, self._changed = self._changed, set()
        if not changed:
            return []
        try:
            found = self._alarms.standing_of(changed, {ALARM_TYPE})
        except Exception:
            with self._changing:
                self._changed |= changed
            raise
        for alarm_id in changed - {alarm.alarm_id for alarm in found}:
            self._watched.pop(alarm_id, None)
            self._told.pop(alarm_id, None)
        fresh = []
        for now in found:
            known = self._watched.get(now.alarm_id)
            self._watched[now.alarm_id] = now
            if known is None or _asks(known) != _asks(now):
                self._told.pop(now.alarm_id, None)
                fresh.append(now.alarm_id)
        return fresh

    def _judge(self, alarms: Sequence[Standing]) -> str | None:
        """Read these alarms' pools and write what follows; give what could not be written."""
        now_us = self._now_us()
        due = [alarm for alarm in alarms if is_open(alarm.time_constraints, now_us)]
        if not due:
            return None
        with self._rounds.time():
            answers = self._balancers.read({_rule(alarm).pool_id for alarm in due})
        for answer in answers.values():
            self._pools.labels("unreadable" if isinstance(answer, Unreadable) else "read").inc()
        now_us = self._now_us()
        transitions = [
            transition
            for alarm in due
            if (transition := self._transition(alarm, answers[_rule(alarm).pool_id], now_us))
        ]
        failing = None
        for begin in range(0, len(transitions), AT_ONCE):
            failing = self._write(transitions[begin : begin + AT_ONCE]) or failing
        return failing

    def _transition(self, alarm: Standing, answer: PoolAnswer, now_us: int) -> Transition | None:
        """Give what is to be written of a judgement, or None."""
        rule = _rule(alarm)
        verdict = decide(rule, alarm.project_id, answer, now_us, self._grace_us)
        reason = verdict.sentence(alarm.state)
        is_repeated = alarm.repeat_actions and verdict.state in alarm.acts_on
        is_quiet = verdict.state is alarm.state and not is_repeated
        if is_quiet and not self._is_news(alarm, verdict, reason):
            return None
        return Transition(
            alarm_id=alarm.alarm_id,
            revision=alarm.revision,
            previous=alarm.state,
            state=verdict.state,
            reason=reason,
            reason_data=verdict.reason_data(rule),
            timestamp_us=now_us,
            step_us=now_us,
            quiet=is_quiet,
        )

    def _is_news(self, alarm: Standing, verdict: Verdict, reason: str) -> bool:
        """Tell whether the owner should read the reason of a state that stays."""
        if not alarm.is_told:
            return True
        return verdict.state is State.INSUFFICIENT_DATA and (
            self._told.get(alarm.alarm_id) != reason
        )

    def _write(self, transitions: Sequence[Transition]) -> str | None:
        """Write transitions; what cannot be written is judged again in the next round."""
        try:
            written = self._alarms.record_all(transitions)
        except Exception as error:
            LOG.exception("%d transitions are not written", len(transitions))
            self._next_at = 0.0
            return f"transitions cannot be written: {type(error).__name__}"
        for transition, is_written in zip(transitions, written, strict=True):
            if is_written:
                self._tell(transition)
            else:
                self.alarm_changed(transition.alarm_id)
        return None

    def _tell(self, transition: Transition) -> None:
        """Go on from what was written, and let others know of it."""
        alarm_id = transition.alarm_id
        alarm = self._watched[alarm_id]
        self._told[alarm_id] = transition.reason
        self._watched[alarm_id] = msgspec.structs.replace(
            alarm,
            state=transition.state,
            is_told=True,
            revision=alarm.revision + transition.is_change,
        )
        if not transition.quiet:
            self._notify()
        if transition.is_change:
            LOG.info("Alarm %s: %s", alarm_id, transition.reason)
            self._alarm_changed(alarm_id)

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)


def _asks(alarm: Standing) -> tuple[object, ...]:
    """Give what of an alarm decides how it is judged."""
    return alarm.rule, alarm.project_id, alarm.time_constraints


def _rule(alarm: Standing) -> LoadBalancerRule:
    assert isinstance(alarm.rule, LoadBalancerRule)  # noqa: S101 - no others are watched
    return alarm.rule
