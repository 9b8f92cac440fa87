# SPDX-License-Identifier: Apache-2.0
"""The event alarms, found by what an event is.

An alarm is filed under its project, then under its event type, or under what comes before the
type's first wildcard, then under the first text that its query asks for. So an event costs only
the alarms of its own project that wait for such a type, and of those that wait for one instance
or volume each, only its own.
"""

import fnmatch
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from thermostat.alarms.events import EventRule
from thermostat.alarms.model import Standing
from thermostat.events.conditions import Check, text_of
from thermostat.events.model import Event

_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Watch:
    """An event alarm, ready to be asked whether an event is what it waits for."""

    standing: Standing
    literal: str
    """Its event type up to the first wildcard."""
    pattern: re.Pattern[str] | None
    """Its event type if that has wildcards that matter."""
    checks: tuple[Check, ...]
    key: Check | None
    """The condition that it is filed under."""

    @staticmethod
    def of(standing: Standing) -> "Watch":
        """Prepare an alarm. Raises WrongTypeError if it has a value that is not of its type."""
        rule = standing.rule
        if not isinstance(rule, EventRule):
            raise TypeError(f"{standing.alarm_id} is not an event alarm")
        checks = tuple(map(Check.of, rule.query))
        key = next((check for check in checks if check.text is not None), None)
        return Watch(standing, *_type(rule.event_type), checks, key)

    @property
    def is_exact(self) -> bool:
        """Whether it waits for one event type only."""
        rule = self.standing.rule
        return isinstance(rule, EventRule) and rule.event_type == self.literal

    def matches(self, event: Event) -> bool:
        """Tell whether an event of its project is what it waits for."""
        if self.pattern is not None and not self.pattern.match(event.event_type):
            return False
        return all(check.holds(event) for check in self.checks)


@lru_cache(maxsize=4096)
def _type(event_type: str) -> tuple[str, re.Pattern[str] | None]:
    """Give what comes before the first wildcard, and the pattern if there is more to ask."""
    wildcard = _WILDCARD.search(event_type)
    if wildcard is None:
        return event_type, None
    literal = event_type[: wildcard.start()]
    if event_type == f"{literal}*":
        return literal, None
    return literal, re.compile(fnmatch.translate(event_type))


Watches = dict[str, Watch]
"""By the alarm's id."""


@dataclass(slots=True)
class _Shelf:
    """The alarms of one project that wait for one event type, or for types of one beginning."""

    open: Watches = field(default_factory=dict)
    keyed: dict[str, dict[str, Watches]] = field(default_factory=dict)
    """Those that wait for a text: by field, then by text."""

    def put(self, watch: Watch) -> None:
        if watch.key is None:
            watches = self.open
        else:
            texts = self.keyed.setdefault(watch.key.field, {})
            watches = texts.setdefault(watch.key.wanted, {})
        watches[watch.standing.alarm_id] = watch

    def remove(self, watch: Watch) -> None:
        alarm_id = watch.standing.alarm_id
        if watch.key is None:
            del self.open[alarm_id]
            return
        texts = self.keyed[watch.key.field]
        watches = texts[watch.key.wanted]
        del watches[alarm_id]
        if not watches:
            del texts[watch.key.wanted]
        if not texts:
            del self.keyed[watch.key.field]

    def candidates(self, event: Event) -> Iterator[Watch]:
        yield from self.open.values()
        for name, texts in self.keyed.items():
            text = text_of(event, name)
            if text is not None and text in texts:
                yield from texts[text].values()

    def __bool__(self) -> bool:
        return bool(self.open or self.keyed)


@dataclass(slots=True)
class _Project:
    exact: dict[str, _Shelf] = field(default_factory=dict)
    """By event type."""
    begun: dict[str, _Shelf] = field(default_factory=dict)
    """By what event types begin with."""
    lengths: Counter[int] = field(default_factory=Counter)
    """How many beginnings have this many characters."""

    def shelf(self, watch: Watch) -> _Shelf:
        """Give the shelf that an alarm belongs on, new if need be."""
        if watch.is_exact:
            return self.exact.setdefault(watch.literal, _Shelf())
        if watch.literal not in self.begun:
            self.begun[watch.literal] = _Shelf()
            self.lengths[len(watch.literal)] += 1
        return self.begun[watch.literal]

    def clear(self, watch: Watch) -> None:
        """Forget the shelf that an alarm was on if it has become empty."""
        shelves = self.exact if watch.is_exact else self.begun
        if shelves[watch.literal]:
            return
        del shelves[watch.literal]
        if not watch.is_exact:
            length = len(watch.literal)
            self.lengths[length] -= 1
            if not self.lengths[length]:
                del self.lengths[length]

    def candidates(self, event: Event) -> Iterator[Watch]:
        shelves = [self.exact.get(event.event_type)]
        name = event.event_type
        shelves += [self.begun.get(name[:size]) for size in self.lengths if size <= len(name)]
        for shelf in shelves:
            if shelf is not None:
                yield from shelf.candidates(event)


class Index:
    """The resident event alarms. Not for several threads at once."""

    def __init__(self) -> None:
        self._watches: Watches = {}
        self._projects: dict[str, _Project] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def __contains__(self, alarm_id: str) -> bool:
        return alarm_id in self._watches

    def put(self, standing: Standing) -> None:
        """File an alarm, in place of what was known of it. Raises WrongTypeError."""
        watch = Watch.of(standing)
        self.remove(standing.alarm_id)
        self._watches[standing.alarm_id] = watch
        self._projects.setdefault(standing.project_id, _Project()).shelf(watch).put(watch)

    def remove(self, alarm_id: str) -> None:
        """Forget an alarm, if there is one."""
        watch = self._watches.pop(alarm_id, None)
        if watch is None:
            return
        project = self._projects[watch.standing.project_id]
        project.shelf(watch).remove(watch)
        project.clear(watch)
        if not project.exact and not project.begun:
            del self._projects[watch.standing.project_id]

    def matching(self, event: Event) -> list[Watch]:
        """Give the alarms that this event is what they wait for, in whatever state they are."""
        project = self._projects.get(event.project_id) if event.project_id else None
        if project is None:
            return []
        return [watch for watch in project.candidates(event) if watch.matches(event)]
