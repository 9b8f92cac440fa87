# SPDX-License-Identifier: Apache-2.0
import threading
import time
import zlib
from itertools import pairwise

import pytest

from thermostat.agent.delivery import Delivery
from thermostat.agent.errors import ConfigError, PollError, Unavailable
from thermostat.agent.publishers.fake import FakePublisher
from thermostat.agent.schedule import Cycle
from thermostat.agent.service import Agent, build
from thermostat.agent.spool import Spool
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import decode_columnar

S = 1_000_000


class Counter:
    """A pollster whose `cpu` counter grows by half a second of CPU time a second."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.closed = False

    def poll(self, timestamp_us: int) -> list[Sample]:
        if self.failure is not None:
            raise self.failure
        return [
            Sample(
                name="cpu",
                type=SampleType.CUMULATIVE,
                unit="ns",
                volume=timestamp_us * 500.0,
                resource_id="r",
                timestamp_us=timestamp_us,
                monotonic_s=timestamp_us / S,
                metadata={"vcpus": 1, "user_metadata": {"server_group": "grp"}},
            )
        ]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pollster():
    return Counter()


@pytest.fixture
def delivery(tmp_path):
    return Delivery("fake", FakePublisher(), Spool(tmp_path, 1_000_000))


def spooled(delivery) -> list[dict[str, float]]:
    batches = []
    while (entry := delivery.spool.head()) is not None:
        samples = decode_columnar(zlib.decompress(entry.batch), now_us=10**15)
        assert len({sample.timestamp_us for sample in samples}) == 1
        batches.append({sample.name: sample.volume for sample in samples})
        delivery.spool.remove(entry.number)
    return batches


def test_each_cycle_is_one_batch_of_the_samples_and_what_derives_from_them(pollster, delivery):
    agent = Agent(10, {"counter": pollster}, {"fake": delivery})
    for second in (10, 20, 30):
        agent.cycle(Cycle(second * S, missed=0))
    first, second, third = spooled(delivery)
    assert set(first) == {"cpu"}
    assert second["cpu_util"] == third["cpu_util"] == pytest.approx(50)


@pytest.mark.parametrize("failure", [PollError("libvirt does not answer"), RuntimeError("a bug")])
def test_a_pollster_that_fails_does_not_hold_up_the_others(pollster, delivery, failure):
    broken = Counter()
    broken.failure = failure
    agent = Agent(10, {"broken": broken, "counter": pollster}, {"fake": delivery})
    agent.cycle(Cycle(10 * S, missed=0))
    assert len(spooled(delivery)) == 1


def test_a_cycle_without_samples_sends_nothing(delivery):
    Agent(10, {}, {"fake": delivery}).cycle(Cycle(10 * S, missed=0))
    assert spooled(delivery) == []


def test_when_the_clock_is_set_back_rates_begin_anew(pollster, delivery):
    agent = Agent(10, {"counter": pollster}, {"fake": delivery})
    for second in (1000, 1010, 500, 510):
        agent.cycle(Cycle(second * S, missed=0))
    assert ["cpu_util" in batch for batch in spooled(delivery)] == [False, True, False, True]


def test_polling_does_not_wait_for_a_receiver_that_is_away(pollster, tmp_path):
    publisher = FakePublisher()
    publisher.failure = Unavailable("away")
    delivery = Delivery("fake", publisher, Spool(tmp_path, 1_000_000))
    agent = Agent(1, {"counter": pollster}, {"fake": delivery})
    thread = threading.Thread(target=agent.run)
    thread.start()
    time.sleep(3.5)
    agent.stop()
    thread.join(7)
    assert not thread.is_alive()
    assert pollster.closed
    times = []
    while (entry := delivery.spool.head()) is not None:
        times.append(decode_columnar(zlib.decompress(entry.batch), now_us=10**16)[0].timestamp_us)
        delivery.spool.remove(entry.number)
    assert len(times) >= 2
    assert all(earlier < later for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent]\npollsters =\n", r"\[agent\] pollsters: Names no pollster"),
        ("[agent]\npublishers =\n", r"\[agent\] publishers: Names no publisher"),
        (
            "[agent]\npollsters = nothing\n",
            r"\[agent\] pollsters: There is no 'nothing' \(.*libvirt",
        ),
    ],
)
def test_a_bad_configuration_names_the_option(make_conf, text, message):
    with pytest.raises(ConfigError, match=message):
        build(make_conf(text))


def test_a_spool_directory_that_cannot_be_used_is_named(make_conf, tmp_path):
    (tmp_path / "file").write_text("")
    conf = make_conf(
        f"[agent]\nspool_dir = {tmp_path}/file\nnova_metadata = false\n"
        "[service_auth]\nauth_type = none\n[metering]\nendpoint_override = http://127.0.0.1:1\n"
    )
    with pytest.raises(ConfigError, match=r"\[agent\] spool_dir: .*file"):
        build(conf)
