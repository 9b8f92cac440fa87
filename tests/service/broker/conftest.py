# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ, those who publish to it, and a listener over an alarm database."""

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from oslo_config import cfg
from prometheus_client import CollectorRegistry

from tests.service import rabbitmq
from tests.service.alarm_support import ALICE, open_database
from tests.service.broker.publishing import Publisher
from tests.service.event_support import event_alarm
from tests.service.waiting import wait_until
from thermostat import opts
from thermostat.db.alarms import AlarmRepository
from thermostat.db.outbox import Outbox
from thermostat.db.paging import Page, SortKey
from thermostat.events.listener import EventListener

NOW_US = 1_795_575_601_000_000
LATER_US = 2**60


@pytest.fixture(scope="session", autouse=True)
def _messaging() -> None:
    """Import oslo.messaging once, whose own dependencies warn of each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oslo_messaging  # noqa: F401
    # A listener that has never found its broker looks for it as long as this process lives; else
    # it says so between other tests, where nothing captures it.
    logging.getLogger("oslo.messaging").addHandler(logging.NullHandler())


@pytest.fixture(scope="session")
def broker() -> Iterator[rabbitmq.RabbitMQ]:
    with rabbitmq.running() as broker:
        yield broker


@pytest.fixture
def publisher(broker: rabbitmq.RabbitMQ) -> Iterator[Callable[..., Publisher]]:
    """Makes publishers, by exchange."""
    made: list[Publisher] = []

    def make(exchange: str = "nova") -> Publisher:
        made.append(Publisher(broker.url, exchange))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


@dataclass
class World:
    """A listener, and what it did."""

    alarms: AlarmRepository
    outbox: Outbox
    url: str
    options: dict[str, Any] = field(default_factory=dict)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    listener: EventListener | None = None

    newest_first = Page(sort=[SortKey("position", descending=True)])

    def start(self, *, connected: bool = True, **options: Any) -> None:
        conf = cfg.ConfigOpts()
        opts.register(conf)
        conf([], project="thermostat", default_config_files=[])
        for name, value in {"transport_url": self.url, **self.options, **options}.items():
            conf.set_override(name, value, group="event_listener")
        self.registry = CollectorRegistry()
        self.listener = EventListener(
            conf,
            self.alarms,
            notify=lambda: None,
            alarm_changed=self._alarm_changed,
            clock=lambda: NOW_US / 1_000_000,
            registry=self.registry,
        )
        self.listener.start()
        if connected:
            wait_until(lambda: self.listener.check() is None)

    def _alarm_changed(self, alarm_id: str) -> None:
        self.listener.alarm_changed(alarm_id)

    def stop(self) -> None:
        if self.listener is not None:
            self.listener.stop()
            self.listener = None

    def create(self, *arguments: Any, **changes: Any) -> None:
        alarm = event_alarm(*arguments, **changes)
        self.alarms.create(alarm, ALICE)
        self.listener.alarm_changed(alarm.alarm_id)

    def state(self, alarm_id: str = "a1") -> str:
        return self.alarms.find(alarm_id).state.value

    def wait_for_alarm(self, alarm_id: str = "a1") -> None:
        wait_until(lambda: self.state(alarm_id) == "alarm")

    def notifications(self) -> int:
        return len(self.outbox.due(LATER_US, 1000))

    def figure(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"thermostat_{name}", labels) or 0.0


@pytest.fixture
def world(tmp_path: Any, broker: rabbitmq.RabbitMQ, request: Any) -> Iterator[World]:
    """Queues of its own: what another test has left unread is not for this one."""
    engine = open_database(tmp_path / "alarms.sqlite")
    name = f"test-{abs(hash(request.node.nodeid))}"
    options = {
        "event_alarm_topic": f"alarm.{name}",
        "notification_topics": [name],
        "pool": f"pool-{name}",
        "notification_exchanges": ["nova", "neutron"],
    }
    world = World(AlarmRepository(engine), Outbox(engine), broker.url, options)
    world.topics = SimpleNamespace(ceilometer=f"alarm.{name}", services=name)
    yield world
    world.stop()
    engine.dispose()
