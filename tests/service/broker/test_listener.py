# SPDX-License-Identifier: Apache-2.0
"""The listener with a real RabbitMQ: nothing is lost, nothing is told twice, nothing ends it."""

import logging
import socket
import threading
import time

import pytest
from sqlalchemy.exc import OperationalError

from tests.service.event_support import condition, document
from tests.service.waiting import wait_until
from thermostat.degraded import Degraded

SECRET = "s3cret-of-a-tenant"
ERROR = [condition("traits.state", "error")]


class TestForms:
    def test_what_ceilometer_publishes(self, world, publisher):
        world.start()
        world.create("a1", "compute.instance.*", ERROR)
        world.create("a2", "compute.instance.*", ERROR, project_id="p2")
        publisher("ceilometer").send_events(
            world.topics.ceilometer,
            [document(state="active", message_id="m1"), document(state="error", message_id="m2")],
        )
        world.wait_for_alarm()
        assert world.alarms.find("a1").state_reason.startswith(
            "Event <id=m2,event_type=compute.instance.update> hits the query <query=[{"
        )
        assert world.state("a2") == "insufficient data"
        assert world.figure("events_total", source="ceilometer") == 2

    @pytest.mark.parametrize("priority", ["audit", "info", "warn", "error", "critical"])
    def test_what_services_send_themselves(self, world, publisher, priority):
        world.start()
        world.create("a1", "compute.instance.*", ERROR)
        world.create("a2", query=[condition("priority", "info", "ne")], project_id="p-context")
        nova = publisher("nova")
        nova.send(
            world.topics.services,
            "compute.instance.update",
            {"tenant_id": "p1", "state": "error"},
            priority=priority,
            project_id="p-admin",
        )
        world.wait_for_alarm()
        query = [condition("traits.request_id", "req-1"), condition("traits.user_id", "u1")]
        world.create("a3", query=query, project_id="p-context")
        publisher("neutron").send(
            world.topics.services, "port.delete.end", {}, priority=priority, project_id="p-context"
        )
        world.wait_for_alarm("a3")
        assert world.state("a2") == ("insufficient data" if priority == "info" else "alarm")
        assert "t0k3n" not in str(world.alarms.history("a3", {}, world.newest_first))

    def test_others_who_listen_lose_nothing(self, world, publisher):
        world.start()
        world.create("a1")
        other = heard_by_others(world)
        publisher("nova").send(world.topics.services, "x", {"n": 1})
        world.wait_for_alarm()
        wait_until(lambda: other.heard)
        other.stop()
        assert other.heard == [{"n": 1}]


class TestAtOnce:
    def test_an_alarm_hears_what_is_published_after_its_creation(self, world, publisher):
        world.start()
        nova = publisher("nova")
        for number in range(20):
            alarm_id = f"a{number}"
            world.create(alarm_id, query=[condition("traits.id", str(number))])
            nova.send(world.topics.services, "x", {"id": str(number)})
        for number in range(20):
            world.wait_for_alarm(f"a{number}")


class TestBadMessages:
    def test_they_end_nothing_and_are_told_nowhere(self, world, publisher, caplog):
        caplog.set_level(logging.INFO)
        world.start()
        world.create("a1")
        ceilometer, nova = publisher("ceilometer"), publisher("nova")
        no_name = document() | {"event_type": None, "traits": [["password", 1, SECRET]]}
        for payload in (SECRET, [SECRET], {"x": SECRET}, [no_name], None):
            ceilometer.send_events(world.topics.ceilometer, payload)
        nova.send(world.topics.services, "x" * 300, {"password": SECRET})
        for body in (SECRET.encode(), b"\xff", b"{", b'{"oslo.message": "5"}', b"[]"):
            nova.send_raw(f"{world.topics.ceilometer}.sample", body)
            nova.send_raw(f"pool-{world.topics.services}", body)
        ceilometer.send_events(world.topics.ceilometer, document())
        world.wait_for_alarm()
        world.create("a2")
        nova.send(world.topics.services, "x", {})
        world.wait_for_alarm("a2")
        assert world.figure("events_unusable_total", source="ceilometer") == 5
        assert world.figure("events_unusable_total", source="services") == 1
        own = [one for one in caplog.records if one.name.startswith("thermostat")]
        assert "is left out" in " ".join(one.getMessage() for one in own)
        assert SECRET not in " ".join(one.getMessage() for one in own)

    def test_an_event_without_a_project_concerns_nobody(self, world, publisher):
        world.start()
        world.create("a1")
        publisher("nova").send(world.topics.services, "x", {}, project_id=None)
        wait_until(lambda: world.figure("events_without_project_total") == 1)
        assert world.state() == "insufficient data"


class TestTwice:
    def test_a_message_that_comes_twice_is_told_once(self, world, publisher):
        world.start()
        world.create("a1", repeat_actions=True)
        ceilometer = publisher("ceilometer")
        for name in ("m1", "m1", "m2", "m1"):
            ceilometer.send_events(world.topics.ceilometer, document(message_id=name))
        wait_until(lambda: world.figure("events_total", source="ceilometer") == 4)
        wait_until(lambda: world.notifications() == 4)
        world.stop()
        assert world.notifications() == 4


class TestDatabaseAway:
    @pytest.fixture
    def database(self, world, monkeypatch):
        """An alarm database whose transitions fail while `away` is set."""
        away = threading.Event()
        record_all = world.alarms.record_all

        def fail(transitions):
            if away.is_set():
                raise OperationalError("insert", {}, Exception("told to"))
            return record_all(transitions)

        monkeypatch.setattr(world.alarms, "record_all", fail)
        monkeypatch.setattr("thermostat.events.listener.RETRY_S", 0.1)
        return away

    def test_what_cannot_be_written_is_written_later(self, world, publisher, database):
        world.start()
        for number in range(30):
            world.create(f"a{number}", query=[condition("traits.id", str(number))])
        database.set()
        nova = publisher("nova")
        for number in range(30):
            nova.send(world.topics.services, "x", {"id": str(number)})
        wait_until(lambda: world.figure("event_batches_requeued_total") > 2)
        assert "cannot be written" in world.listener.check()
        assert not isinstance(world.listener.check(), Degraded)
        database.clear()
        for number in range(30):
            world.wait_for_alarm(f"a{number}")
        assert world.listener.check() is None
        assert world.notifications() == 60

    def test_what_was_not_written_is_left_for_the_next_server(self, world, publisher, database):
        world.start()
        world.create("a1")
        database.set()
        publisher("nova").send(world.topics.services, "x", {})
        wait_until(lambda: world.figure("event_batches_requeued_total") > 0)
        world.stop()
        database.clear()
        assert world.state() == "insufficient data"
        world.start()
        world.wait_for_alarm()


class TestBrokerAway:
    def test_the_server_starts_without_it_and_can_be_stopped(self, world):
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        world.url = f"rabbit://cloud:password@127.0.0.1:{port}/"
        begun = time.monotonic()
        world.start(connected=False)
        world.create("a1")
        assert isinstance(world.listener.check(), Degraded)
        world.stop()
        assert time.monotonic() - begun < 20


def heard_by_others(world):
    """Another listener to the same topic, such as Ceilometer's agent."""
    import oslo_messaging as messaging
    from oslo_config import cfg

    class Endpoint:
        def __init__(self):
            self.heard = []

        def info(self, _context, _publisher, _event_type, payload, _metadata):
            self.heard.append(payload)

    conf = cfg.ConfigOpts()
    conf([], project="ceilometer", default_config_files=[])
    endpoint = Endpoint()
    listener = messaging.get_notification_listener(
        messaging.get_notification_transport(conf, world.url),
        [messaging.Target(topic=world.topics.services, exchange="nova")],
        [endpoint],
        executor="threading",
    )
    listener.start()

    def stop():
        listener.stop()
        listener.wait()

    endpoint.stop = stop
    return endpoint
