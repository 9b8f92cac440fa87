# SPDX-License-Identifier: Apache-2.0
"""What every pollster does, whichever it is: a driver is ready when it passes here."""

import math
import time
from collections import Counter

import msgspec
import pytest
from oslo_config import cfg

from thermostat.agent import opts
from thermostat.agent.pollsters.fake import FakePollster
from thermostat.samples.model import SampleType
from thermostat.samples.wire import decode_columnar, encode_columnar


def make_conf() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("host", "compute-1", "agent")
    return conf


def fake():
    return FakePollster(make_conf())


def libvirt():
    """Polls libvirt's own test driver; real guests are in the lab's tests."""
    from thermostat.agent.pollsters.libvirt import LibvirtPollster

    conf = make_conf()
    conf.set_override("libvirt_uri", "test:///default", "agent")
    conf.set_override("nova_metadata", False, "agent")
    return LibvirtPollster(conf)


@pytest.fixture(params=[fake, libvirt], ids=lambda make: make.__name__)
def pollster(request):
    pollster = request.param()
    yield pollster
    pollster.close()


def now_us() -> int:
    return time.time_ns() // 1000


def test_samples_bear_the_event_time_of_the_cycle_and_the_real_monotonic_time(pollster):
    earliest_s, when_us = time.monotonic(), now_us()
    samples = pollster.poll(when_us)
    assert samples
    for sample in samples:
        assert sample.timestamp_us == when_us
        assert sample.monotonic_s is not None
        assert earliest_s <= sample.monotonic_s <= time.monotonic()


def test_samples_are_whole(pollster):
    for sample in pollster.poll(now_us()):
        assert sample.name
        assert sample.unit
        assert 0 < len(sample.resource_id) <= 255
        assert math.isfinite(sample.volume)


def test_a_series_has_one_sample_a_poll(pollster):
    keys = Counter(sample.key for sample in pollster.poll(now_us()))
    assert set(keys.values()) == {1}


def test_counters_do_not_fall(pollster):
    first = {sample.key: sample for sample in pollster.poll(now_us())}
    for sample in pollster.poll(now_us()):
        if sample.type is SampleType.CUMULATIVE:
            assert sample.volume >= first[sample.key].volume


def test_the_description_of_a_series_stays_the_same(pollster):
    def descriptions():
        return {
            sample.key: (sample.type, sample.unit, sample.user_id, sample.metadata)
            for sample in pollster.poll(now_us())
        }

    assert descriptions() == descriptions()


def test_samples_go_over_the_wire(pollster):
    samples = list(pollster.poll(now_us()))
    arrived = decode_columnar(encode_columnar(samples), now_us=now_us())
    assert arrived == [msgspec.structs.replace(sample, monotonic_s=None) for sample in samples]


def test_closing_twice_does_no_harm(pollster):
    pollster.poll(now_us())
    pollster.close()
    pollster.close()
