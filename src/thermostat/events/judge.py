# SPDX-License-Identifier: Apache-2.0
"""The judge of event alarms: takes events, writes what they lead to.

An alarm waits from the moment its creation is committed: what has changed is read before the next
event is judged.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from typing import Protocol

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from thermostat.alarms.model import Standing, Transition
from thermostat.events.conditions import WrongTypeError
from thermostat.events.index import Index
from thermostat.events.judging import Firing, judge
from thermostat.events.model import Event

LOG = logging.getLogger(__name__)
TYPES = frozenset({"event"})
AT_ONCE = 500
"""Transitions that are written in one transaction."""
MOST_EDITS = 100
"""How often alarms that are edited while they are judged are judged again."""
REMEMBERED = 100_000
"""How many pairs of alarm and message are remembered as done."""


class Alarms(Protocol):
    """What the judge needs of the alarm database."""

    def standing(self, types: Collection[str]) -> Iterator[Standing]:
        """Give every enabled alarm of these types."""
        ...

    def standing_of(self, alarm_ids: Collection[str], types: Collection[str]) -> Sequence[Standing]:
        """Give the enabled ones of these alarms that are of these types."""
        ...

    def record_all(self, transitions: Sequence[Transition]) -> Sequence[bool]:
        """Write transitions in one transaction; False for alarms that have been edited."""
        ...


class CannotWriteError(Exception):
    """The alarm database cannot be used now; the events must come again."""


class EventJudge:
    """Judges event alarms. Every method may be called from any thread."""

    def __init__(
        self,
        alarms: Alarms,
        *,
        notify: Callable[[], None],
        alarm_changed: Callable[[str], None],
        clock: Callable[[], float],
        fired: Callable[[], None] = lambda: None,
        conflicted: Callable[[], None] = lambda: None,
    ) -> None:
        """Call `notify` after something was written, and `alarm_changed` for each alarm of it."""
        self._alarms = alarms
        self._notify = notify
        self._alarm_changed = alarm_changed
        self._clock = clock
        self._fired = fired
        self._conflicted = conflicted
        self._judging = threading.Lock()
        self._index = Index()
        self._done: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._changing = threading.Lock()
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._index)

    def load(self) -> None:
        """Take in the enabled event alarms. Raises SQLAlchemyError."""
        with self._judging:
            for alarm in self._alarms.standing(TYPES):
                self._put(alarm)
        LOG.info("%d event alarms wait for events", len(self._index))

    def alarm_changed(self, alarm_id: str) -> None:
        """Take in that an alarm was created, edited or deleted: before the next event is judged."""
        with self._changing:
            self._changed.add(alarm_id)

    def follow(self) -> None:
        """Read the alarms that have changed. Raises CannotWriteError."""
        with self._judging:
            self._follow()

    def take(self, events: Sequence[Event]) -> None:
        """Judge events and write what follows. Raises CannotWriteError.

        Then some of it may have been written: what comes again is not written again.
        """
        with self._judging:
            self._follow()
            for _ in range(MOST_EDITS):
                now_us = int(self._clock() * 1_000_000)
                firings = judge(self._index, events, now_us, self._done.__contains__)
                edited: set[str] = set()
                for begin in range(0, len(firings), AT_ONCE):
                    edited |= self._write(firings[begin : begin + AT_ONCE], edited)
                if not edited:
                    return
                with self._changing:
                    self._changed |= edited
                self._follow()
        raise CannotWriteError("alarms are edited faster than they can be judged")

    def _follow(self) -> None:
        with self._changing:
            changed, self._changed = self._changed, set()
        if not changed:
            return
        try:
            known = self._alarms.standing_of(changed, TYPES)
        except SQLAlchemyError as error:
            with self._changing:
                self._changed |= changed
            raise CannotWriteError("the alarm database cannot be read") from error
        for alarm_id in changed:
            self._index.remove(alarm_id)
        for alarm in known:
            self._put(alarm)

    def _put(self, alarm: Standing) -> None:
        try:
            self._index.put(alarm)
        except WrongTypeError:  # the API refuses such a rule
            LOG.exception("Alarm %s waits for nothing", alarm.alarm_id)

    def _write(self, firings: Sequence[Firing], edited: Set[str]) -> set[str]:
        """Write transitions; give the alarms that have been edited since they were read.

        Nothing is written of those that are known to be.
        """
        firings = [firing for firing in firings if firing.transition.alarm_id not in edited]
        try:
            written = self._alarms.record_all([firing.transition for firing in firings])
        except (DataError, IntegrityError):  # it would be no better another time
            raise
        except SQLAlchemyError as error:
            LOG.warning("%d transitions cannot be written now: %s", len(firings), error)
            raise CannotWriteError("transitions cannot be written") from error
        refused = set()
        for firing, is_written in zip(firings, written, strict=True):
            if is_written:
                self._tell(firing)
            else:
                self._conflicted()
                refused.add(firing.transition.alarm_id)
        if any(written):
            self._notify()
        return refused

    def _tell(self, firing: Firing) -> None:
        """Go on with what has been written."""
        self._index.put(firing.after)
        self._done[firing.key] = None
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        self._fired()
        LOG.info("Alarm %s: %s", firing.transition.alarm_id, firing.transition.reason)
        self._alarm_changed(firing.transition.alarm_id)
