# SPDX-License-Identifier: Apache-2.0
"""The listener: event alarms as a part of the server, with the broker at the other end.

oslo.messaging is loaded only where a broker is configured. While the broker is away its driver
tries again for ever, and the server goes on without events.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from oslo_config import cfg
from prometheus_client import CollectorRegistry

from thermostat.degraded import Degraded
from thermostat.events.endpoints import CeilometerEndpoint, Desk, ServicesEndpoint
from thermostat.events.forms import Notifications
from thermostat.events.judge import Alarms, CannotWriteError, EventJudge
from thermostat.events.metrics import EventMetrics
from thermostat.events.opts import GROUP

if TYPE_CHECKING:
    from oslo_messaging.notify.listener import BatchNotificationServer

LOG = logging.getLogger(__name__)
RETRY_S = 1.0
"""After the database or the broker could not be used, the next attempt comes so much later."""
FOLLOW_S = 1.0
"""Alarms that have changed are read this often though no event comes."""
PATIENCE_S = 5.0
"""How long the broker may take to let the listener go."""
PREFETCH_BATCHES = 4
"""How many batches the broker sends ahead of their acknowledgement."""


class InvalidTransportError(cfg.Error):
    """[event_listener] transport_url cannot be used; the text says why, without the URL."""


class EventListener:
    """Hears the broker, and has what it hears judged."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        alarms: Alarms,
        *,
        notify: Callable[[], None],
        alarm_changed: Callable[[str], None],
        clock: Callable[[], float],
        registry: CollectorRegistry,
    ) -> None:
        """Prepare to listen to the configured broker. Raises InvalidTransportError."""
        self._conf = conf
        self._stop = threading.Event()
        self._metrics = EventMetrics(
            registry, resident=lambda: len(self._judge), connected=self._is_connected
        )
        self._judge = EventJudge(
            alarms,
            notify=notify,
            alarm_changed=alarm_changed,
            clock=clock,
            fired=self._metrics.fired.inc,
            conflicted=self._metrics.conflicts.inc,
        )
        self._desk = Desk(self._judge, self._metrics, lambda: self._stop.wait(RETRY_S))
        self._sources = self._prepare()
        self._listeners: list[BatchNotificationServer] = []
        """Those that have been started, one for each source."""
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Load the alarms and begin to listen; the broker need not be there."""
        self._judge.load()
        self._thread.start()

    def stop(self) -> None:
        """End after the batch that is under way; what is not acknowledged stays with the broker."""
        self._stop.set()
        ending = threading.Thread(target=self._end, name="events-end", daemon=True)
        ending.start()
        ending.join(PATIENCE_S)

    def check(self) -> str | None:
        """Give the reason why events are not judged, or None."""
        if not self._is_connected():
            return Degraded("the message broker cannot be heard: event alarms wait")
        return self._desk.failing

    def alarm_changed(self, alarm_id: str) -> None:
        """Take in that an alarm was created, edited, judged or deleted."""
        self._judge.alarm_changed(alarm_id)

    def _run(self) -> None:
        for create in self._sources:
            while not self._stop.is_set() and not self._begin(create()):
                self._stop.wait(RETRY_S)
        LOG.info("Listening for events")
        while not self._stop.wait(FOLLOW_S):
            try:
                self._judge.follow()
            except CannotWriteError as error:
                LOG.warning("Changed event alarms are read later: %s", error)

    def _begin(self, listener: "BatchNotificationServer") -> bool:
        """Begin to listen, as soon as the broker is there; give whether that went well."""
        try:
            listener.start(override_pool_size=1)
        except Exception as error:  # whatever it is may pass
            LOG.warning("Cannot listen for events; trying again: %s", error)
            return False
        self._listeners.append(listener)
        return True

    def _end(self) -> None:
        for listener in self._listeners:
            listener.stop()
            listener.wait()

    def _is_connected(self) -> bool:
        return len(self._listeners) == len(self._sources) and all(
            map(_is_connected, self._listeners)
        )

    def _prepare(self) -> "list[Callable[[], BatchNotificationServer]]":
        """Give what creates the listener of each source."""
        import oslo_messaging as messaging  # noqa: PLC0415 - 10 MB that few servers need

        own = self._conf[GROUP.name]
        try:
            url = messaging.TransportURL.parse(self._conf, own.transport_url)
            # Else the broker sends all that it has at once.
            ahead = str(PREFETCH_BATCHES * own.batch_size)
            url.query.setdefault("rabbit_qos_prefetch_count", ahead)
            transport = messaging.get_notification_transport(self._conf, url)
        except (messaging.InvalidTransportURL, messaging.DriverLoadFailure, ValueError) as error:
            raise InvalidTransportError(
                f"[event_listener] transport_url cannot be used ({type(error).__name__})"
            ) from None  # the error's text has the URL, and that the password

        create = partial(
            messaging.get_batch_notification_listener,
            transport,
            allow_requeue=True,
            batch_size=own.batch_size,
            batch_timeout=own.batch_timeout,
        )
        sources: list[Callable[[], BatchNotificationServer]] = []
        if own.event_alarm_topic:
            target = messaging.Target(topic=own.event_alarm_topic)
            sources.append(partial(create, [target], [CeilometerEndpoint(self._desk)]))
        if own.notification_topics:
            targets = [
                messaging.Target(topic=topic, exchange=exchange)
                for topic in own.notification_topics
                for exchange in own.notification_exchanges
            ]
            endpoint = ServicesEndpoint(self._desk, Notifications(own.hidden_traits))
            sources.append(partial(create, targets, [endpoint], pool=own.pool))
        return sources


def _is_connected(listener: Any) -> bool:
    """Tell whether a listener's connection stands and its queues are bound.

    oslo.messaging does not say: this looks at its RabbitMQ driver's own connection. Other drivers
    are taken to be connected.
    """
    try:
        connection = listener.listener._poll_style_listener.conn.connection
        is_standing, unbound = connection.connection.connected, connection._new_tags
    except AttributeError:
        return True
    return bool(is_standing and not unbound)


def create_listener(
    conf: cfg.ConfigOpts,
    alarms: Alarms,
    *,
    notify: Callable[[], None],
    alarm_changed: Callable[[str], None],
    clock: Callable[[], float],
    registry: CollectorRegistry,
) -> EventListener | None:
    """Give the listener, or None where no broker is configured. Raises InvalidTransportError."""
    if not conf[GROUP.name].transport_url:
        return None
    return EventListener(
        conf, alarms, notify=notify, alarm_changed=alarm_changed, clock=clock, registry=registry
    )
