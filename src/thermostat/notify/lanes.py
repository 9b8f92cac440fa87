# SPDX-License-Identifier: Apache-2.0
"""Which notification may start now: a lane for each target, so that none holds up another.

A target gets one notification at a time until it has taken one, then one more with each that it
takes, up to its limit. Targets that failed last share half of the room. What has been under way for
a second takes none of it, so that many targets may hang at once.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from thermostat.db.outbox import Notification

SLOW_S = 1.0
"""What is under way for longer counts no more among the workers."""
MOST_RESTING = 1000
"""How many targets are remembered that nothing waits for."""
MOST_WAITING = 5000
"""While more notifications wait here, none is read for targets that have any."""
FILL = 20
"""Notifications are read for a target until this many times wait that it takes at once."""


@dataclass(slots=True, eq=False)
class _Lane:
    """What is known of one target."""

    target: str
    allowed: int = 1
    """How many it may have under way."""
    busy: int = 0
    is_failing: bool = False
    is_queued: bool = False
    is_full: bool = False
    """Whether more may wait for it in the outbox than were read."""
    waiting: deque[Notification] = field(default_factory=deque)


class Lanes:
    """The notifications that were read and are not settled. Any thread may call it."""

    def __init__(self, workers: int, per_target: int, slow_workers: int) -> None:
        self._workers = workers
        self._per_target = per_target
        self._most = workers + slow_workers
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._resting: OrderedDict[str, None] = OrderedDict()
        self._ready: deque[_Lane] = deque()
        """Lanes that may start one more, each once."""
        self._held: deque[_Lane] = deque()
        """Those that may not because too many failing ones are under way."""
        self._begun_s: dict[str, float] = {}
        """When what is under way began, the oldest first."""
        self._known: dict[str, str] = {}
        """The targets of what is not settled yet, by id."""
        self._waiting = 0
        self._failing_busy = 0

    @property
    def under_way(self) -> int:
        """How many notifications are under way."""
        return len(self._begun_s)

    @property
    def unsettled(self) -> int:
        """How many notifications are known, those that wait and those that are done too."""
        return len(self._known)

    @property
    def is_crowded(self) -> bool:
        """Whether something waits that could start if there were room."""
        return bool(self._ready)

    def known(self) -> tuple[Sequence[str], Sequence[str]]:
        """Give the targets for which enough is known, and the ids of what is known of others."""
        with self._lock:
            crowded = self._waiting > MOST_WAITING
            enough = set()
            for lane in self._lanes.values():
                if len(lane.waiting) >= (1 if crowded else FILL * lane.allowed):
                    lane.is_full = True
                    enough.add(lane.target)
            ids = [one for one, target in self._known.items() if target not in enough]
            return list(enough), ids

    def add(self, notifications: Iterable[Notification]) -> None:
        """Take in what was read."""
        with self._lock:
            for one in notifications:
                lane = self._lanes.get(one.target)
                if lane is None:
                    lane = self._lanes[one.target] = _Lane(one.target)
                self._resting.pop(one.target, None)
                lane.waiting.append(one)
                self._waiting += 1
                self._known[one.notification_id] = one.target
                self._queue(lane)

    def next(self, now_s: float) -> Notification | None:
        """Give what is to be started now, which is then under way; None: nothing may be."""
        with self._lock:
            if not self._has_room(now_s):
                return None
            while self._ready:
                lane = self._ready.popleft()
                if lane.is_failing and self._failing_busy >= self._workers // 2:
                    self._held.append(lane)
                    continue
                lane.is_queued = False
                notification = lane.waiting.popleft()
                self._waiting -= 1
                lane.busy += 1
                self._failing_busy += lane.is_failing
                self._begun_s[notification.notification_id] = now_s
                self._queue(lane)
                return notification
            return None

    def finished(self, notification: Notification, *, failed: bool) -> bool:
        """Take in that it is no longer under way; tell if more should be read for its target."""
        with self._lock:
            del self._begun_s[notification.notification_id]
            lane = self._lanes[notification.target]
            self._failing_busy -= lane.is_failing
            lane.busy -= 1
            if failed != lane.is_failing:
                self._failing_busy += lane.busy if failed else -lane.busy
                lane.is_failing = failed
            lane.allowed = (
                max(1, lane.allowed // 2) if failed else min(self._per_target, lane.allowed + 1)
            )
            if self._held:
                self._ready.append(self._held.popleft())
            self._queue(lane)
            if not lane.busy and not lane.waiting:
                self._rest(lane)
            runs_dry = lane.is_full and len(lane.waiting) < FILL * lane.allowed // 2
            lane.is_full = lane.is_full and not runs_dry
            return runs_dry

    def settled(self, ids: Iterable[str]) -> None:
        """Forget these."""
        with self._lock:
            for one in ids:
                self._known.pop(one, None)

    def _queue(self, lane: _Lane) -> None:
        if lane.waiting and lane.busy < lane.allowed and not lane.is_queued:
            lane.is_queued = True
            self._ready.append(lane)

    def _has_room(self, now_s: float) -> bool:
        busy = len(self._begun_s)
        if busy < self._workers:
            return True
        if busy >= self._most:
            return False
        slow = 0
        for begun_s in self._begun_s.values():
            if now_s - begun_s < SLOW_S:
                break
            slow += 1
        return busy - slow < self._workers

    def _rest(self, lane: _Lane) -> None:
        """Remember it as one of those that have nothing to do, but not too many of them."""
        self._resting[lane.target] = None
        if len(self._resting) > MOST_RESTING:
            del self._lanes[self._resting.popitem(last=False)[0]]
