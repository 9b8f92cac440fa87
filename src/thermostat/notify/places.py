# SPDX-License-Identifier: Apache-2.0
"""What is known of projects, targets and URLs that notifications go to."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from thermostat.db.outbox import Notification
from thermostat.notify.rooms import Room, Use

MOST_RESTING = 10_000
"""How many URLs are remembered that nothing waits for."""


@dataclass(slots=True)
class Backlog:
    """How many notifications wait here."""

    waiting: int = 0
    refill_below: int = 0
    """When more are to be read, since some were left in the outbox; 0: none were."""

    def is_enough(self, most: int) -> bool:
        """Tell if so many wait that no more need to be read, and remember it."""
        if self.waiting < most:
            return False
        self.refill_below = max(1, most // 2)
        return True

    def runs_dry(self) -> bool:
        """Tell once if what was left in the outbox should be read now."""
        if self.waiting >= self.refill_below:
            return False
        self.refill_below = 0
        return True


@dataclass(slots=True, eq=False)
class Target:
    """One host and port."""

    room: Room
    young: int = 0
    """How many have been under way for less than a second."""
    places: int = 0


@dataclass(slots=True, eq=False)
class Project:
    """What a project has waiting and under way."""

    workers: Use = field(default_factory=Use)
    whole: Use = field(default_factory=Use)
    backlog: Backlog = field(default_factory=Backlog)
    ready: "tuple[OrderedDict[Place, None], OrderedDict[Place, None]]" = field(
        default_factory=lambda: (OrderedDict(), OrderedDict())
    )
    """Its places with lines that may start one more: those that do not fail, and those that do."""
    is_failing_next: bool = False
    places: int = 0


@dataclass(slots=True, eq=False)
class Place:
    """What a project has for one target."""

    key: tuple[str, str]
    """The project's id and the target."""
    project: Project
    target: Target
    allowed: int
    """How many it may have under way that have been for less than a second."""
    young: int = 0
    use: Use = field(default_factory=Use)
    backlog: Backlog = field(default_factory=Backlog)
    ready: "tuple[OrderedDict[Line, None], OrderedDict[Line, None]]" = field(
        default_factory=lambda: (OrderedDict(), OrderedDict())
    )
    lines: int = 0


@dataclass(slots=True, eq=False)
class Line:
    """What a project has for one URL. Of each alarm one notification is under way at a time."""

    action: str
    place: Place
    allowed: int = 1
    """How many it may have under way."""
    busy: int = 0
    is_failing: bool = False
    backlog: Backlog = field(default_factory=Backlog)
    waiting: OrderedDict[str, deque[Notification]] = field(default_factory=OrderedDict)
    """What waits, by the alarms of which nothing is under way."""
    begun: dict[str, deque[Notification]] = field(default_factory=dict)
    """What waits behind what is under way, by alarm."""
    failed: set[str] = field(default_factory=set)
    """The alarms of what has failed and is not settled: nothing of them may follow on it."""


class Places:
    """All of them, as far as something goes there now or did lately."""

    def __init__(self, per_target: int, at_target: int) -> None:
        self._per_target = per_target
        self._at_target = at_target
        self.projects: dict[str, Project] = {}
        self.targets: dict[str, Target] = {}
        self.places: dict[tuple[str, str], Place] = {}
        self.lines: dict[tuple[str, str, str], Line] = {}
        self._resting: OrderedDict[Line, None] = OrderedDict()

    def line(self, one: Notification) -> Line:
        """Give the line that this one waits in."""
        key = (one.project_id, one.target, one.action)
        line = self.lines.get(key)
        if line is None:
            place = self._place(one.project_id, one.target)
            place.lines += 1
            line = self.lines[key] = Line(one.action, place)
        return line

    def wake(self, line: Line) -> None:
        """Take it out of those that have nothing to do."""
        self._resting.pop(line, None)

    def rest(self, line: Line) -> None:
        """Remember it as one of those that have nothing to do, but not too many of them."""
        self._resting[line] = None
        if len(self._resting) > MOST_RESTING:
            self._forget(self._resting.popitem(last=False)[0])

    def _place(self, project_id: str, target: str) -> Place:
        key = (project_id, target)
        place = self.places.get(key)
        if place is None:
            of_project = self.projects.setdefault(project_id, Project())
            of_target = self.targets.setdefault(target, Target(Room(self._at_target)))
            of_project.places += 1
            of_target.places += 1
            place = self.places[key] = Place(key, of_project, of_target, self._per_target)
        return place

    def _forget(self, line: Line) -> None:
        place = line.place
        project_id, target = place.key
        del self.lines[project_id, target, line.action]
        place.lines -= 1
        if place.lines:
            return
        del self.places[place.key]
        place.project.places -= 1
        place.target.places -= 1
        if not place.project.places:
            del self.projects[project_id]
        if not place.target.places:
            del self.targets[target]
