# SPDX-License-Identifier: Apache-2.0
"""What becomes of batches of messages, whatever is in them and whatever the judge says."""

import pytest
from oslo_config import cfg
from prometheus_client import CollectorRegistry

from tests.service.event_support import document
from thermostat import opts
from thermostat.events.endpoints import (
    HANDLED,
    REQUEUE,
    CeilometerEndpoint,
    Desk,
    ServicesEndpoint,
)
from thermostat.events.forms import Notifications
from thermostat.events.judge import CannotWriteError
from thermostat.events.listener import InvalidTransportError, create_listener
from thermostat.events.metrics import EventMetrics

SECRET = "s3cret"


class FakeJudge:
    """Takes events, or fails as told: the real one has tests of its own."""

    def __init__(self):
        self.taken = []
        self.failures = {}
        """What to raise for a batch that has an event of this message."""

    def take(self, events):
        for event in events:
            if event.message_id in self.failures:
                raise self.failures[event.message_id]
        self.taken += [event.message_id for event in events]


@pytest.fixture
def judge():
    return FakeJudge()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def desk(judge, registry):
    metrics = EventMetrics(registry, resident=lambda: 0, connected=lambda: 1)
    return Desk(judge, metrics, lambda: judge.taken.append("pause"))


def sent(*documents):
    return [{"payload": list(documents)}]


def test_what_has_been_judged_is_acknowledged(desk, judge):
    messages = sent(document(message_id="m1")) + sent(document(message_id="m2"))
    assert CeilometerEndpoint(desk).sample(messages) == HANDLED
    assert judge.taken == ["m1", "m2"]


def test_while_nothing_can_be_written_messages_go_back_after_a_pause(desk, judge, registry):
    judge.failures["m1"] = CannotWriteError("no database")
    messages = sent(document(message_id="m0"), document(message_id="m1"))
    assert CeilometerEndpoint(desk).sample(messages) == REQUEUE
    assert judge.taken == ["pause"]
    assert desk.failing == "no database"
    assert registry.get_sample_value("thermostat_event_batches_requeued_total") == 1
    judge.failures.clear()
    assert CeilometerEndpoint(desk).sample(messages) == HANDLED
    assert desk.failing is None


def test_an_event_that_cannot_be_judged_takes_no_other_with_it(desk, judge):
    judge.failures["m1"] = RuntimeError("a defect")
    messages = sent(*(document(message_id=f"m{number}") for number in range(3)))
    assert CeilometerEndpoint(desk).sample(messages) == HANDLED
    assert judge.taken == ["m0", "m2"]


def test_whatever_reading_a_message_raises_it_is_left_out(desk, judge, registry, caplog):
    class Defect(Notifications):
        def event(self, message, priority):
            if message["event_type"] == "x":
                raise KeyError(SECRET)
            return super().event(message, priority)

    good = {
        "event_type": "y",
        "metadata": {"message_id": "m1"},
        "payload": {"project_id": "p1"},
    }
    endpoint = ServicesEndpoint(desk, Defect())
    assert endpoint.info([{"event_type": "x"}, good]) == HANDLED
    assert judge.taken == ["m1"]
    unusable = "thermostat_events_unusable_total"
    assert registry.get_sample_value(unusable, {"source": "services"}) == 1
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text


class TestConfiguration:
    def create(self, **options):
        conf = cfg.ConfigOpts()
        opts.register(conf)
        conf([], project="thermostat", default_config_files=[])
        for name, value in options.items():
            conf.set_override(name, value, group="event_listener")
        return create_listener(
            conf,
            None,
            notify=None,
            alarm_changed=None,
            clock=None,
            registry=CollectorRegistry(),
        )

    def test_without_a_broker_nothing_listens(self):
        assert self.create() is None

    @pytest.mark.filterwarnings("ignore")  # of oslo.messaging's dependencies
    @pytest.mark.parametrize("url", [f"what://u:{SECRET}@h/", f"rabbit://u:{SECRET}@[h/"])
    def test_a_url_that_cannot_be_used_is_refused_without_its_password(self, url):
        with pytest.raises(InvalidTransportError, match="transport_url") as caught:
            self.create(transport_url=url)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert isinstance(caught.value, cfg.Error)
