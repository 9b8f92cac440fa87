# SPDX-License-Identifier: Apache-2.0
"""What every publisher does, whichever it is: a driver is ready when it passes here.

Each comes with a rig that makes its receiver take batches, refuse them or be away.
"""

import time
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from tests.service.receiver import Answer, running_receiver
from thermostat.agent import opts
from thermostat.agent.errors import BatchRefused, Unavailable
from thermostat.agent.publishers.fake import FakePublisher
from thermostat.agent.publishers.http import HttpPublisher
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import decode_columnar, encode_columnar


def batch(number: int) -> bytes:
    sample = Sample(
        name="cpu_util",
        type=SampleType.GAUGE,
        unit="%",
        volume=float(number),
        resource_id="r",
        timestamp_us=1_795_314_544_000_000,
    )
    return encode_columnar([sample])


class FakeRig:
    def __init__(self) -> None:
        self.publisher = FakePublisher()

    def be_away(self) -> None:
        self.publisher.failure = Unavailable("away")

    def be_back(self) -> None:
        self.publisher.failure = None

    def refuse(self) -> None:
        self.publisher.failure = BatchRefused("no good")

    def received(self) -> list[float]:
        decoded = (decode_columnar(body, now_us=time.time_ns()) for body in self.publisher.batches)
        return [sample.volume for samples in decoded for sample in samples]


class HttpRig:
    def __init__(self, receiver) -> None:
        self.receiver = receiver
        conf = cfg.ConfigOpts()
        opts.register(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        conf.set_override("auth_type", "none", "service_auth")
        conf.set_override("endpoint_override", receiver.url, "metering")
        self.publisher = HttpPublisher(conf)

    def be_away(self) -> None:
        self.receiver.stop()

    def be_back(self) -> None:
        self.receiver.answer = None
        self.receiver.start()

    def refuse(self) -> None:
        self.receiver.answer = Answer(400, "no good")

    def received(self) -> list[float]:
        return [sample.volume for samples in self.receiver.batches for sample in samples]


@pytest.fixture(params=["fake", "http"])
def rig(request) -> Iterator[FakeRig | HttpRig]:
    if request.param == "fake":
        yield FakeRig()
    else:
        with running_receiver() as receiver:
            rig = HttpRig(receiver)
            yield rig
            rig.publisher.close()


def test_batches_arrive_whole_and_in_order(rig):
    for number in range(5):
        rig.publisher.publish(batch(number))
    assert rig.received() == [0, 1, 2, 3, 4]


def test_a_receiver_that_is_away_is_unavailable_and_then_takes_the_batch(rig):
    rig.publisher.publish(batch(1))
    rig.be_away()
    with pytest.raises(Unavailable):
        rig.publisher.publish(batch(2))
    rig.be_back()
    rig.publisher.publish(batch(2))
    assert rig.received() == [1, 2]


def test_a_batch_that_will_never_be_taken_is_refused_with_the_reason(rig):
    rig.refuse()
    with pytest.raises(BatchRefused, match="no good"):
        rig.publisher.publish(batch(1))
    assert rig.received() == []


def test_closing_twice_does_no_harm(rig):
    rig.publisher.publish(batch(1))
    rig.publisher.close()
    rig.publisher.close()
