# SPDX-License-Identifier: Apache-2.0
"""What oslo.messaging's listeners call: from batches of messages to judged events.

A batch is acknowledged once all that follows from it is written, and given back to the broker if
the database cannot be used. What a message holds is in no log: it may be anybody's secret.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from thermostat.events.forms import Notifications, documents_of
from thermostat.events.judge import CannotWriteError, EventJudge
from thermostat.events.metrics import EventMetrics
from thermostat.events.model import Event, UnusableEvent, event_of

LOG = logging.getLogger(__name__)
HANDLED, REQUEUE = "handled", "requeue"
"""oslo.messaging's words (`NotificationResult`)."""
CEILOMETER, SERVICES = "ceilometer", "services"
"""Where events come from."""

Value = TypeVar("Value")
Message = Mapping[str, Any]
"""A message as oslo.messaging gives it: ctxt, publisher_id, event_type, payload, metadata."""


class Desk:
    """Takes the events of batches to the judge."""

    def __init__(
        self, judge: EventJudge, metrics: EventMetrics, pause: Callable[[], object]
    ) -> None:
        """Call `pause` before a batch is given back, lest it come again at once."""
        self._judge = judge
        self._metrics = metrics
        self._pause = pause
        self.failing: str | None = None
        """Why the last batch could not be judged, or None."""

    def take(self, source: str, events: Iterator[Event]) -> str:
        """Judge the events of one batch; give whether it is to be acknowledged."""
        batch = [event for event in events if self._concerns(source, event)]
        try:
            with self._metrics.passes.time():
                self._judge_all(batch)
        except CannotWriteError as error:
            self.failing = str(error)
            self._metrics.requeued.inc()
            self._pause()
            return REQUEUE
        self.failing = None
        return HANDLED

    def usable(self, source: str, read: Callable[..., Value], *arguments: Any) -> Iterator[Value]:
        """Give what this function makes of a part of a message, if it can be understood."""
        try:
            yield read(*arguments)
        except UnusableEvent as error:
            reason = str(error)
        except Exception as error:  # a message must not stop all that come after it
            reason = type(error).__name__  # its text may quote the message
        else:
            return
        self._metrics.unusable.labels(source).inc()
        LOG.warning("An event from %s is left out: %s", source, reason)

    def _concerns(self, source: str, event: Event) -> bool:
        self._metrics.events.labels(source).inc()
        if not event.project_id:
            self._metrics.unowned.inc()
        return bool(event.project_id)

    def _judge_all(self, batch: Sequence[Event]) -> None:
        try:
            self._judge.take(batch)
        except CannotWriteError:
            raise
        except Exception:
            if len(batch) == 1:
                LOG.exception("Event %s cannot be judged", batch[0].message_id)
                return
            LOG.warning("%d events are judged one by one", len(batch), exc_info=True)
            for event in batch:
                self._judge_all([event])


class CeilometerEndpoint:
    """Takes the events that Ceilometer publishes, as Aodh's listener does."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def sample(self, messages: Sequence[Message]) -> str:
        """Take messages of the one priority that Ceilometer uses."""
        return self._desk.take(CEILOMETER, self._events(messages))

    def _events(self, messages: Sequence[Message]) -> Iterator[Event]:
        for message in messages:
            documents = self._desk.usable(CEILOMETER, documents_of, message.get("payload"))
            for document in chain.from_iterable(documents):
                yield from self._desk.usable(CEILOMETER, event_of, document)


class ServicesEndpoint:
    """Takes the notifications that services send, of every priority that tells of something."""

    def __init__(self, desk: Desk, notifications: Notifications) -> None:
        self._desk = desk
        self._notifications = notifications

    def audit(self, messages: Sequence[Message]) -> str:
        """Take messages of this priority."""
        return self._take("audit", messages)

    def info(self, messages: Sequence[Message]) -> str:
        """Take messages of this priority."""
        return self._take("info", messages)

    def warn(self, messages: Sequence[Message]) -> str:
        """Take messages of this priority."""
        return self._take("warn", messages)

    def error(self, messages: Sequence[Message]) -> str:
        """Take messages of this priority."""
        return self._take("error", messages)

    def critical(self, messages: Sequence[Message]) -> str:
        """Take messages of this priority."""
        return self._take("critical", messages)

    def _take(self, priority: str, messages: Sequence[Message]) -> str:
        return self._desk.take(SERVICES, self._events(priority, messages))

    def _events(self, priority: str, messages: Sequence[Message]) -> Iterator[Event]:
        for message in messages:
            yield from self._desk.usable(SERVICES, self._notifications.event, message, priority)
