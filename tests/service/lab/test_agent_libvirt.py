# SPDX-License-Identifier: Apache-2.0
"""The libvirt pollster with real QEMU guests, under a libvirtd that a test may hurt."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import libvirt
import pytest
from oslo_config import cfg

from tests.service import guests as real
from thermostat.agent import opts
from thermostat.agent.errors import PollError
from thermostat.agent.pollsters._domains import DomainReader
from thermostat.agent.pollsters.libvirt import LibvirtPollster
from thermostat.samples.model import Sample

pytestmark = pytest.mark.lab

GUESTS = 3


@pytest.fixture(scope="module")
def guests():
    with real.running(GUESTS) as guests:
        yield guests


class Counted:
    """A connection that notes which calls go through it."""

    def __init__(self, uri: str, calls: list[str]) -> None:
        self._connection, self._calls = libvirt.openReadOnly(uri), calls

    def __getattr__(self, name: str):
        method = getattr(self._connection, name)
        if name == "isAlive":
            return method

        def call(*arguments):
            self._calls.append(name)
            return method(*arguments)

        return call


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def pollster(guests, calls):
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("nova_metadata", False, "agent")
    reader = DomainReader(guests.uri, 3.0, 5.0, connect=lambda uri: Counted(uri, calls))
    pollster = LibvirtPollster(conf, reader)
    yield pollster
    pollster.close()


def poll(pollster) -> dict[str, list[Sample]]:
    """Poll once and give the samples by instance."""
    by_instance: dict[str, list[Sample]] = {}
    for sample in pollster.poll(time.time_ns() // 1000):
        by_instance.setdefault(sample.metadata["instance_id"], []).append(sample)
    return by_instance


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # a test has ended it
            os.kill(pid, signal.SIGCONT)


def test_all_meters_of_all_guests_take_one_call(pollster, calls):
    poll(pollster)
    calls.clear()
    found = poll(pollster)
    assert calls == ["getAllDomainStats"]
    assert len(found) == GUESTS
    for samples in found.values():
        meters = {sample.name for sample in samples}
        assert meters >= {"cpu", "vcpus", "power.state", "memory", "memory.resident"}
        assert meters >= {"disk.device.read.bytes", "disk.device.write.requests"}
        assert meters >= {"network.incoming.bytes", "network.outgoing.packets"}
        assert {sample.project_id for sample in samples} == {"p"}


def test_a_stopped_qemu_holds_up_no_other_guest(guests, pollster, calls):
    everyone = set(poll(pollster))
    hung = sorted(everyone)[0]
    with stopped(guests.pid(hung)):
        started = time.monotonic()
        assert set(poll(pollster)) == everyone - {hung}
        assert time.monotonic() - started < 10, "a poll ends within its interval"
        calls.clear()
        started = time.monotonic()
        assert set(poll(pollster)) == everyone - {hung}
        assert time.monotonic() - started < 3
        assert calls.count("domainListGetStats") == 1, "one bulk call for all that are healthy"
        assert "getAllDomainStats" not in calls
    deadline = time.monotonic() + 20
    while set(poll(pollster)) != everyone:
        assert time.monotonic() < deadline, "it is polled again when it answers again"
        time.sleep(0.2)
    calls.clear()
    poll(pollster)
    assert calls == ["getAllDomainStats"]


def test_a_guest_that_ends_while_it_hangs_is_forgotten(guests, pollster):
    guest = guests.boot()
    everyone = set(poll(pollster))
    assert guest in everyone
    pid = guests.pid(guest)
    with stopped(pid):
        assert set(poll(pollster)) == everyone - {guest}
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while pollster._reader.quarantined:
            assert time.monotonic() < deadline
            assert set(poll(pollster)) == everyone - {guest}
            time.sleep(0.2)


def test_a_restart_of_libvirtd_is_survived_and_counters_go_on(guests, pollster):
    before = poll(pollster)
    guests.stop_libvirtd()
    with pytest.raises(PollError):
        poll(pollster)
    guests.start_libvirtd()
    after = poll(pollster)
    assert set(after) == set(before)
    for instance, samples in after.items():
        cpu = {sample.name: sample.volume for sample in samples}["cpu"]
        assert cpu >= {sample.name: sample.volume for sample in before[instance]}["cpu"] > 0


def test_a_libvirtd_that_hangs_is_an_error_and_not_the_end(guests, pollster):
    everyone = set(poll(pollster))
    threads = threading.active_count()  # other tests of this process may have left some
    with stopped(guests.libvirtd_pid()):
        started = time.monotonic()
        with pytest.raises(PollError, match="does not answer"):
            poll(pollster)
        assert time.monotonic() - started < 30, "without a deadline it would wait for ever"
    assert set(poll(pollster)) == everyone
    assert threading.active_count() < threads + 10, "each poll leaves a thread behind"
