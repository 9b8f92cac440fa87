# SPDX-License-Identifier: Apache-2.0
"""How the reader lives with domains that hang, on a fake libvirt.

The fake is for what a real libvirt cannot be made to do quickly or many times over; a real one with
a stopped QEMU is in the lab's tests.
"""

import threading
import time
import uuid

import libvirt
import pytest

from thermostat.agent.errors import PollError
from thermostat.agent.pollsters import _domains
from thermostat.agent.pollsters._domains import DomainReader


class FakeDomain:
    def __init__(self, number: int) -> None:
        self.uuid = str(uuid.UUID(int=number))

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return self.uuid


class FakeLibvirt:
    """Domains by number; a stopped one blocks every call that reads it until it is continued."""

    def __init__(self, count: int) -> None:
        self.domains = {number: FakeDomain(number) for number in range(count)}
        self.stopped: dict[int, threading.Event] = {}
        self.calls: list[str] = []
        self.down = False
        self.opened = 0

    def open(self, _uri: str) -> "FakeConnection":
        if self.down:
            raise libvirt.libvirtError("Failed to connect socket")
        self.opened += 1
        return FakeConnection(self)

    def stop(self, number: int) -> None:
        self.stopped[number] = threading.Event()

    def cont(self, number: int) -> None:
        self.stopped.pop(number).set()

    def read(self, domains):
        answers = []
        for domain in domains:
            hung = self.stopped.get(uuid.UUID(domain.uuid).int)
            if hung is not None:
                hung.wait()
            answers.append((domain, {"cpu.time": 1}))
        return answers


class FakeConnection:
    def __init__(self, fake: FakeLibvirt) -> None:
        self.fake = fake
        self.broken = False

    def check(self, call: str) -> None:
        if self.fake.down or self.broken:
            self.broken = True
            raise libvirt.libvirtError("Cannot write data: Broken pipe")
        self.fake.calls.append(call)

    def isAlive(self) -> int:  # noqa: N802
        return 0 if self.broken else 1

    def listAllDomains(self, _flags):  # noqa: N802
        self.check("list")
        return list(self.fake.domains.values())

    def getAllDomainStats(self, _stats, _flags):  # noqa: N802
        self.check("all")
        return self.fake.read(self.fake.domains.values())

    def domainListGetStats(self, domains, _stats):  # noqa: N802
        self.check(f"listed {len(domains)}")
        return self.fake.read(domains)

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(_domains, "ALONE_S", 0.4)
    fake = FakeLibvirt(5)
    yield fake
    for number in list(fake.stopped):
        fake.cont(number)


@pytest.fixture
def reader(fake):
    return DomainReader("fake:///", timeout_s=1.0, search_s=5.0, connect=fake.open)


def numbers(readings) -> list[int]:
    return sorted(uuid.UUID(reading.uuid).int for reading in readings)


def test_a_healthy_host_takes_one_call_a_poll(fake, reader):
    for _ in range(3):
        assert numbers(reader.read()) == [0, 1, 2, 3, 4]
    assert fake.calls == ["all"] * 3
    assert fake.opened == 1


def test_the_others_are_read_in_the_very_poll_in_which_one_hangs(fake, reader):
    fake.stop(2)
    assert numbers(reader.read()) == [0, 1, 3, 4]
    assert len(reader.quarantined) == 1


def test_a_quarantined_domain_is_left_out_of_the_bulk_call(fake, reader):
    fake.stop(2)
    reader.read()
    fake.calls.clear()
    started = time.monotonic()
    assert numbers(reader.read()) == [0, 1, 3, 4]
    assert time.monotonic() - started < 1.0
    assert fake.calls == ["list", "listed 4", "list"]


def test_it_comes_back_when_it_answers_again(fake, reader):
    fake.stop(2)
    reader.read()
    fake.cont(2)
    time.sleep(0.1)
    assert numbers(reader.read()) == [0, 1, 2, 3, 4]
    assert reader.quarantined == frozenset()


def test_several_hang(fake, reader):
    for number in (0, 2, 4):
        fake.stop(number)
    assert numbers(reader.read()) == [1, 3]
    assert len(reader.quarantined) == 3


def test_a_second_one_hangs_later(fake, reader):
    fake.stop(1)
    reader.read()
    fake.stop(3)
    assert numbers(reader.read()) == [0, 2, 4]


def test_all_hang(fake, reader):
    for number in range(5):
        fake.stop(number)
    assert reader.read() == []
    assert reader.read() == []


def test_the_search_has_a_deadline_and_goes_on_at_the_next_poll(fake):
    reader = DomainReader("fake:///", timeout_s=1.0, search_s=0.2, connect=fake.open)
    for number in (0, 1):
        fake.stop(number)
    seen = [numbers(reader.read()) for _ in range(3)]
    assert seen[0] == []
    assert seen[-1] == [2, 3, 4]


def test_no_more_than_a_few_calls_are_left_waiting(fake, reader, monkeypatch):
    monkeypatch.setattr(_domains, "MAX_WAITING", 2)
    for number in range(4):
        fake.stop(number)
    for _ in range(3):
        reader.read()
    assert len(reader.quarantined) == 2


def test_a_domain_that_is_gone_leaves_the_quarantine(fake, reader):
    fake.stop(2)
    reader.read()
    del fake.domains[2]
    fake.cont(2)
    time.sleep(0.1)
    assert numbers(reader.read()) == [0, 1, 3, 4]
    assert reader.quarantined == frozenset()


def test_a_broken_connection_is_opened_anew(fake, reader):
    reader.read()
    fake.down = True
    with pytest.raises(PollError, match="Failed to connect"):
        reader.read()
    fake.down = False
    assert numbers(reader.read()) == [0, 1, 2, 3, 4]


def test_a_restart_between_two_polls_costs_no_poll(reader):
    reader.read()
    reader._connection.broken = True
    assert numbers(reader.read()) == [0, 1, 2, 3, 4]


def test_a_libvirt_that_does_not_answer_at_all():
    hang = threading.Event()
    reader = DomainReader("fake:///", 0.1, 1.0, connect=lambda _uri: hang.wait())
    with pytest.raises(PollError, match="does not answer"):
        reader.read()
    hang.set()
