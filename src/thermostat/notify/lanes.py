# SPDX-License-Identifier: Apache-2.0
"""Which notification may start now, so that none that hangs or fails holds up the others.

Projects take turns; within a project its targets do, and of each target its URLs. A URL gets one
notification at a time until it has taken one, then one more with each that it takes; those of one
alarm it gets one after the other. What has been under way for a second no longer counts among the
workers and among what its target gets at once, but in a larger room. Of each room a project gets no
more than a share, and what failed last less.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from thermostat.db.outbox import Enough, Notification
from thermostat.notify.places import Line, Place, Places, Project
from thermostat.notify.rooms import Room

SLOW_S = 1.0
"""What is under way for longer counts no more among the workers."""
OF_WORKERS = 4
"""A project takes up to so many times as many workers as it leaves free."""
AT_TARGET = 4
"""So many times its limit may be under way to one target, with all that has been for a second."""
MOST_WAITING = 5000
"""While more notifications wait here, a project gets none for targets that it has any for."""
MOST_OF_PROJECT = 2500
"""While so many of a project wait here, no more of it are read."""
FILL_PLACE = 100
"""Notifications of a project are read for a target until so many wait for each it gets at once."""
FILL = 20
"""Notifications are read for a URL until this many times wait that it takes at once."""
_Any = TypeVar("_Any")


@dataclass(slots=True, eq=False)
class _Attempt:
    line: Line
    is_failing: bool
    """Whether the attempt before it had failed when it began."""
    begun_s: float
    is_young: bool = True


class Lanes:
    """The notifications that were read and are not settled. Any thread may call it."""

    def __init__(self, workers: int, per_target: int, slow_workers: int) -> None:
        self._per_target = per_target
        self._workers = Room(workers, OF_WORKERS)
        self._whole = Room(workers + slow_workers)
        self._lock = threading.Lock()
        self._places = Places(per_target, AT_TARGET * per_target)
        self._ready: OrderedDict[Project, None] = OrderedDict()
        """Projects that have something ready, the one whose turn was longest ago first."""
        self._attempts: dict[str, _Attempt] = {}
        """What is under way, by id."""
        self._young: OrderedDict[str, _Attempt] = OrderedDict()
        """What has been for less than a second, the oldest first."""
        self._known: dict[str, Line] = {}
        """The URLs of what is not settled yet, by id."""
        self._failed: dict[str, str] = {}
        """The alarms of what has failed and is not settled yet, by id."""
        self._waiting = 0

    @property
    def under_way(self) -> int:
        """How many notifications are under way."""
        return len(self._attempts)

    @property
    def unsettled(self) -> int:
        """How many notifications are known, those that wait and those that are done too."""
        return len(self._known)

    @property
    def is_crowded(self) -> bool:
        """Whether something waits that may start when there is room."""
        return self._waiting > 0

    def enough(self) -> Enough:
        """Give what need not be read: that of which enough is known, and the ids of the others."""
        with self._lock:
            is_full = self._waiting > MOST_WAITING
            projects = [
                project_id
                for project_id, project in self._places.projects.items()
                if project.backlog.is_enough(MOST_OF_PROJECT)
            ]
            left_out = {self._places.projects[project_id] for project_id in projects}
            targets = [
                place
                for place in self._places.places.values()
                if place.project not in left_out
                and place.backlog.is_enough(1 if is_full else FILL_PLACE * place.allowed)
            ]
            full = set(targets)
            urls = {
                line
                for line in self._places.lines.values()
                if (line.backlog.is_enough(FILL * line.allowed) or line.failed)
                and line.place not in full
                and line.place.project not in left_out
            }
            ids = [
                one
                for one, line in self._known.items()
                if line not in urls
                and line.place not in full
                and line.place.project not in left_out
            ]
            return Enough(
                ids=ids,
                urls=[(line.place.key[0], line.action) for line in urls],
                targets=[place.key for place in targets],
                projects=projects,
            )

    def add(self, notifications: Iterable[Notification]) -> None:
        """Take in what was read, as far as it is not known; what comes first is told first."""
        with self._lock:
            for one in notifications:
                if one.notification_id in self._known:
                    continue
                line = self._places.line(one)
                if one.alarm_id in line.failed:
                    continue  # it was read before that was written, and will be read again
                self._places.wake(line)
                self._known[one.notification_id] = line
                self._count(line, 1)
                behind = line.begun.get(one.alarm_id)
                if behind is None:
                    behind = line.waiting.setdefault(one.alarm_id, deque())
                behind.append(one)
                self._offer(line)

    def next(self, now_s: float) -> Notification | None:
        """Give what is to be started now, which is then under way; None: nothing may be."""
        with self._lock:
            self._age(now_s)
            if self._workers.busy >= self._workers.most or self._whole.busy >= self._whole.most:
                return None
            for project in self._ready:
                for is_failing in (project.is_failing_next, not project.is_failing_next):
                    place = self._place_of(project, is_failing=is_failing)
                    if place is not None:
                        return self._begin(place, now_s, is_failing=is_failing)
            return None

    def finished(self, notification: Notification, *, failed: bool) -> bool:
        """Take in that it is no longer under way; tell if more should be read."""
        with self._lock:
            attempt = self._attempts.pop(notification.notification_id)
            line, place = attempt.line, attempt.line.place
            if attempt.is_young:
                del self._young[notification.notification_id]
                self._no_longer_young(attempt)
            self._whole.leave(place.project.whole, is_failing=attempt.is_failing)
            place.target.room.leave(place.use, is_failing=attempt.is_failing)
            line.busy -= 1
            self._release(line, notification, failed=failed)
            line.is_failing = failed
            line.allowed = self._adapted(line.allowed, failed=failed)
            place.allowed = self._adapted(place.allowed, failed=failed)
            self._offer(line)
            if not line.busy and not line.backlog.waiting:
                self._places.rest(line)
            backlogs = (line.backlog, place.backlog, place.project.backlog)
            return any(backlog.runs_dry() for backlog in backlogs)

    def settled(self, ids: Iterable[str]) -> None:
        """Forget these."""
        with self._lock:
            for one in ids:
                line = self._known.pop(one, None)
                alarm_id = self._failed.pop(one, None)
                if line is not None and alarm_id is not None:
                    line.failed.discard(alarm_id)

    # -- what may start ---------------------------------------------------------------------------

    def _place_of(self, project: Project, *, is_failing: bool) -> Place | None:
        """Give where this project may start something, that fails or that does not."""
        if not (
            self._workers.admits(project.workers, is_failing=is_failing)
            and self._whole.admits(project.whole, is_failing=is_failing)
        ):
            return None
        for place in project.ready[is_failing]:
            target = place.target
            if target.young < self._per_target and target.room.admits(
                place.use, is_failing=is_failing
            ):
                return place
        return None

    def _begin(self, place: Place, now_s: float, *, is_failing: bool) -> Notification:
        project = place.project
        line = next(iter(place.ready[is_failing]))
        place.ready[is_failing].move_to_end(line)
        project.ready[is_failing].move_to_end(place)
        self._ready.move_to_end(project)
        project.is_failing_next = not is_failing
        alarm_id, waiting = line.waiting.popitem(last=False)
        notification = waiting.popleft()
        line.begun[alarm_id] = waiting
        self._count(line, -1)
        attempt = _Attempt(line, is_failing, now_s)
        self._attempts[notification.notification_id] = attempt
        self._young[notification.notification_id] = attempt
        self._workers.enter(project.workers, is_failing=is_failing)
        self._whole.enter(project.whole, is_failing=is_failing)
        place.target.room.enter(place.use, is_failing=is_failing)
        place.target.young += 1
        place.young += 1
        line.busy += 1
        self._offer(line)
        return notification

    def _age(self, now_s: float) -> None:
        """Count those no more among the workers that have been under way for a second."""
        while self._young:
            first = next(iter(self._young))
            attempt = self._young[first]
            if now_s - attempt.begun_s < SLOW_S:
                return
            del self._young[first]
            attempt.is_young = False
            self._no_longer_young(attempt)
            self._offer(attempt.line)

    def _release(self, line: Line, notification: Notification, *, failed: bool) -> None:
        """Have started what waits behind it; after a failure it is forgotten and read in time."""
        alarm_id = notification.alarm_id
        behind = line.begun.pop(alarm_id)
        if failed:
            if notification.notification_id in self._known:
                line.failed.add(alarm_id)
                self._failed[notification.notification_id] = alarm_id
            self._count(line, -len(behind))
            for one in behind:
                del self._known[one.notification_id]
        elif behind:
            line.waiting[alarm_id] = behind

    def _no_longer_young(self, attempt: _Attempt) -> None:
        place = attempt.line.place
        self._workers.leave(place.project.workers, is_failing=attempt.is_failing)
        place.target.young -= 1
        place.young -= 1

    def _adapted(self, allowed: int, *, failed: bool) -> int:
        return max(1, allowed // 2) if failed else min(self._per_target, allowed + 1)

    def _offer(self, line: Line) -> None:
        """Have it among what is ready, or not, and its place and its project too."""
        place = line.place
        project = place.project
        may = bool(line.waiting) and line.busy < line.allowed
        _keep(place.ready[line.is_failing], line, wanted=may)
        place.ready[not line.is_failing].pop(line, None)
        for lines, places in zip(place.ready, project.ready, strict=True):
            _keep(places, place, wanted=bool(lines) and place.young < place.allowed)
        _keep(self._ready, project, wanted=any(project.ready))

    # -- what is known ----------------------------------------------------------------------------

    def _count(self, line: Line, change: int) -> None:
        self._waiting += change
        for backlog in (line.backlog, line.place.backlog, line.place.project.backlog):
            backlog.waiting += change


def _keep(ready: OrderedDict[_Any, None], one: _Any, *, wanted: bool) -> None:
    """Have it in there or not; what is in there keeps its turn."""
    if wanted:
        ready.setdefault(one, None)
    else:
        ready.pop(one, None)
