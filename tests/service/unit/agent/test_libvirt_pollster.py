# SPDX-License-Identifier: Apache-2.0
"""What the libvirt pollster does with a domain whose XML cannot be read, on a fake reader.

The fake is for failures that a real libvirt cannot be made to have when a test wants them.
"""

import time

import pytest

from tests.service.unit.agent.test_libvirt_meters import STATISTICS, XML
from thermostat.agent.errors import PollError
from thermostat.agent.pollsters._domains import Reading
from thermostat.agent.pollsters.libvirt import LibvirtPollster

PROJECT = "0b6ac8c6f1e54ad69eb2c5b9a91d7d52"


class FakeDomain:
    """A domain whose XML cannot be read for as long as `fault` is set."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.fault: Exception | None = None
        self.xml = XML
        self.reads = 0

    def ID(self) -> int:  # noqa: N802 - libvirt's name
        return 1

    def XMLDesc(self) -> str:  # noqa: N802
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        return self.xml


class FakeReader:
    quarantined: frozenset[str] = frozenset()

    def __init__(self, *domains: FakeDomain) -> None:
        self.domains = domains
        self.call_s = 0.0

    def read(self) -> list[Reading]:
        now_s = time.monotonic()
        return [Reading(domain.uuid, domain, STATISTICS, now_s) for domain in self.domains]

    def call(self, _uuid, function, _timeout_s):
        time.sleep(self.call_s)
        return function()

    def close(self) -> None:
        pass


@pytest.fixture
def domains():
    return FakeDomain("a"), FakeDomain("b")


@pytest.fixture
def reader(domains):
    return FakeReader(*domains)


@pytest.fixture
def pollster(reader, make_conf):
    return LibvirtPollster(make_conf("[agent]\nhost = h\nnova_metadata = false\n"), reader)


def projects(samples) -> dict[str, str | None]:
    return {sample.resource_id: sample.project_id for sample in samples if sample.name == "cpu"}


@pytest.mark.parametrize("xml", [XML, "<domain"])
def test_a_domain_whose_xml_cannot_be_read_is_left_out_until_it_can(domains, pollster, caplog, xml):
    first, second = domains
    first.fault, first.xml = (PollError("does not answer") if xml is XML else None), xml
    assert projects(pollster.poll(1)) == {"b": PROJECT}
    assert "domain a" in caplog.text
    first.fault, first.xml = None, XML
    assert projects(pollster.poll(2)) == {"a": PROJECT, "b": PROJECT}
    assert (first.reads, second.reads) == (2, 1)
    assert pollster.left_out == 1


def test_what_has_been_read_is_not_read_again(domains, pollster):
    for moment in range(3):
        assert len(projects(pollster.poll(moment))) == 2
    assert [domain.reads for domain in domains] == [1, 1]


def test_reading_xml_takes_a_share_of_the_interval_and_the_failing_ones_come_last(
    domains, reader, pollster
):
    first, _ = domains
    first.fault = PollError("does not answer")
    pollster.poll(0)
    reader.domains = (*domains, *(FakeDomain(str(number)) for number in range(100)))
    reader.call_s = 0.1
    begun = time.monotonic()
    found = projects(pollster.poll(1))
    assert time.monotonic() - begun < 5, "half of the interval"
    assert len(found) > 2
    assert "a" not in found
    reader.call_s = 0
    assert len(projects(pollster.poll(2))) == 101
