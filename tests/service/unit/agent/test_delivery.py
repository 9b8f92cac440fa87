# SPDX-License-Identifier: Apache-2.0
import threading
import time
import zlib

import pytest

from thermostat.agent import delivery as delivery_module
from thermostat.agent.delivery import Delivery
from thermostat.agent.errors import BatchRefused, Unavailable
from thermostat.agent.publishers.fake import FakePublisher
from thermostat.agent.spool import Spool


class Awkward(FakePublisher):
    """Refuses the batches that say so."""

    def publish(self, batch: bytes) -> None:
        if batch.startswith(b"bad"):
            raise BatchRefused("sample 0: volume: bad")
        if batch.startswith(b"bug"):
            raise RuntimeError("a fault of the driver's own")
        super().publish(batch)


@pytest.fixture
def publisher():
    return Awkward()


@pytest.fixture
def delivery(publisher, tmp_path):
    delivery = Delivery("fake", publisher, Spool(tmp_path / "spool", 1_000_000))
    yield delivery
    publisher.failure = None
    delivery.stop(5)


def wait_until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_batches_are_delivered_in_order_and_leave_the_spool(delivery, publisher):
    delivery.start()
    batches = [str(number).encode() for number in range(50)]
    for batch in batches:
        delivery.offer(batch)
    wait_until(lambda: publisher.batches == batches)
    wait_until(lambda: len(delivery.spool) == 0)
    assert delivery.counters.delivered == 50


def test_what_an_earlier_agent_left_is_delivered_first(tmp_path, publisher):
    Spool(tmp_path, 1000).put(zlib.compress(b"old"))
    delivery = Delivery("fake", publisher, Spool(tmp_path, 1000))
    delivery.offer(b"new")
    delivery.start()
    wait_until(lambda: publisher.batches == [b"old", b"new"])
    delivery.stop(5)


def test_while_the_receiver_is_away_batches_queue_and_offering_does_not_wait(delivery, publisher):
    publisher.failure = Unavailable("away")
    delivery.start()
    started = time.monotonic()
    batches = [str(number).encode() for number in range(100)]
    for batch in batches:
        delivery.offer(batch)
    assert time.monotonic() - started < 5
    wait_until(lambda: delivery.counters.failed >= 2)
    assert (len(delivery.spool), publisher.batches) == (100, [])
    publisher.failure = None
    back = time.monotonic()
    wait_until(lambda: publisher.batches == batches)
    assert time.monotonic() - back < 5, "catching up takes several batches a second"


def test_a_refused_batch_does_not_block_the_others(delivery, publisher, tmp_path):
    delivery.start()
    for batch in (b"1", b"bad", b"2"):
        delivery.offer(batch)
    wait_until(lambda: publisher.batches == [b"1", b"2"])
    assert delivery.counters.refused == 1
    (kept,) = (tmp_path / "spool" / "refused").iterdir()
    assert kept.read_bytes().endswith(zlib.compress(b"bad", 1))


def test_retry_after_is_honoured(delivery, publisher):
    publisher.failure = Unavailable("busy", retry_after_s=3)
    delivery.start()
    delivery.offer(b"1")
    wait_until(lambda: delivery.counters.failed == 1)
    publisher.failure = None
    time.sleep(1)
    assert publisher.batches == []
    wait_until(lambda: publisher.batches == [b"1"])


def test_pauses_grow_up_to_a_limit(delivery):
    error = Unavailable("away")
    pauses = [delivery._pause(error) for _ in range(20)]
    assert 0.25 <= pauses[0] <= 0.5
    assert all(2.5 <= pause <= 5 for pause in pauses[5:])
    assert delivery._pause(Unavailable("busy", 86400)) == 300


def test_a_failure_is_logged_once_until_it_becomes_another(delivery, caplog):
    for _ in range(3):
        delivery._pause(Unavailable("HTTP 503 from here: try 1"))
        delivery._pause(Unavailable("HTTP 503 from here: try 2"))
    assert len(caplog.records) == 1
    delivery._pause(Unavailable("HTTP 401 from here: no token"))
    assert len(caplog.records) == 2


def test_a_fault_of_the_driver_does_not_end_the_thread(delivery, publisher, monkeypatch):
    monkeypatch.setattr(delivery_module, "_LONGEST_PAUSE_S", 0.05)
    delivery.start()
    delivery.offer(b"bug")
    wait_until(lambda: delivery.counters.failed >= 2)
    delivery.spool.remove(delivery.spool.head().number)
    delivery.offer(b"1")
    wait_until(lambda: publisher.batches == [b"1"])


def test_a_disk_that_takes_nothing(delivery, publisher, monkeypatch):
    def full(_batch: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(delivery.spool, "put", full)
    delivery.offer(b"1")
    delivery.offer(b"2")
    delivery.start()
    wait_until(lambda: publisher.batches == [b"1", b"2"])
    assert delivery.counters.unspooled == 2


def test_stopping_leaves_what_cannot_be_delivered_on_disk(tmp_path, publisher):
    publisher.failure = Unavailable("away")
    delivery = Delivery("fake", publisher, Spool(tmp_path, 1000))
    delivery.start()
    delivery.offer(b"1")
    started = time.monotonic()
    delivery.stop(5)
    assert time.monotonic() - started < 2
    assert Spool(tmp_path, 1000).head().batch == zlib.compress(b"1", 1)


def test_a_spooled_file_that_is_no_batch_is_set_aside(tmp_path, publisher):
    spool = Spool(tmp_path, 1000)
    spool.put(b"of another version")
    delivery = Delivery("fake", publisher, spool)
    delivery.offer(b"1")
    delivery.start()
    wait_until(lambda: publisher.batches == [b"1"])
    delivery.stop(5)
    assert len(list((tmp_path / "refused").iterdir())) == 1


def test_batches_are_compressed_on_disk(delivery):
    delivery.offer(b"much the same " * 10_000)
    assert delivery.spool.used_bytes < 14_000


class Disk:
    """Makes a spool's disk full or not."""

    def __init__(self, spool: Spool, monkeypatch) -> None:
        self.full = True
        self._put = spool.put
        monkeypatch.setattr(spool, "put", self.put)

    def put(self, batch: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self._put(batch)


@pytest.fixture
def disk(delivery, monkeypatch):
    return Disk(delivery.spool, monkeypatch)


class Slow(Awkward):
    """Takes its time over the first batch, and may fail then."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_go_on = threading.Event(), threading.Event()
        self.first_failure: Exception | None = None

    def publish(self, batch: bytes) -> None:
        self.asked.set()
        assert self.may_go_on.wait(20)
        failure, self.first_failure = self.first_failure, None
        if failure is not None:
            raise failure
        super().publish(batch)


@pytest.fixture
def slow(delivery, monkeypatch):
    slow = Slow()
    monkeypatch.setattr(delivery, "_publisher", slow)
    yield slow
    slow.may_go_on.set()


MEMORY = delivery_module._MEMORY_BATCHES


@pytest.mark.parametrize("failure", [None, Unavailable("away", retry_after_s=0.0)])
def test_memory_that_fills_while_its_oldest_batch_is_sent(delivery, slow, disk, failure):
    assert disk.full
    slow.first_failure = failure
    batches = [str(number).encode() for number in range(1 + MEMORY)]
    delivery.offer(batches[0])
    delivery.start()
    assert slow.asked.wait(10)
    for batch in batches[1:]:
        delivery.offer(batch)
    slow.may_go_on.set()
    wait_until(lambda: len(slow.batches) >= len(batches))
    assert slow.batches == batches
    assert delivery.counters.lost == 0


def test_memory_that_is_full_loses_its_oldest_batches_and_counts_them(delivery, publisher, disk):
    assert disk.full
    batches = [str(number).encode() for number in range(MEMORY + 8)]
    for batch in batches:
        delivery.offer(batch)
    delivery.start()
    wait_until(lambda: len(publisher.batches) >= MEMORY)
    assert publisher.batches == batches[8:]
    assert delivery.counters.lost == 8


def test_what_the_disk_did_not_take_goes_before_what_it_took_later(delivery, publisher, disk):
    delivery.offer(b"1")
    delivery.offer(b"2")
    disk.full = False
    delivery.offer(b"3")
    assert len(delivery.spool) == 3, "memory is emptied as soon as the disk takes batches again"
    delivery.start()
    wait_until(lambda: len(publisher.batches) >= 3)
    assert publisher.batches == [b"1", b"2", b"3"]


def test_what_failed_from_memory_goes_before_what_was_spooled_meanwhile(delivery, slow, disk):
    slow.first_failure = Unavailable("away", retry_after_s=0.0)
    delivery.offer(b"1")
    delivery.start()
    assert slow.asked.wait(10)
    disk.full = False
    delivery.offer(b"2")
    disk.full = True
    delivery.offer(b"3")
    slow.may_go_on.set()
    wait_until(lambda: len(slow.batches) >= 3)
    assert slow.batches == [b"1", b"2", b"3"]


def test_a_batch_in_memory_that_is_refused_does_not_block_the_others(delivery, publisher, disk):
    assert disk.full
    for batch in (b"1", b"bad", b"2"):
        delivery.offer(batch)
    delivery.start()
    wait_until(lambda: publisher.batches == [b"1", b"2"])
    assert delivery.counters.refused == 1
