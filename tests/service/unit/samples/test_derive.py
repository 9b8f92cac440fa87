# SPDX-License-Identifier: Apache-2.0
"""Rates and percentages per resource."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.samples.derive import Deriver
from thermostat.samples.model import Sample, SampleType

S = 1_000_000


def cpu(second, seconds_used, *, resource="vm", vcpus=1, monotonic=None, **metadata):
    return Sample(
        name="cpu",
        type=SampleType.CUMULATIVE,
        unit="ns",
        volume=seconds_used * 1e9,
        resource_id=resource,
        project_id="p",
        timestamp_us=int(second * S),
        monotonic_s=monotonic,
        metadata={"vcpus": vcpus, **metadata},
    )


def derived(*samples):
    deriver = Deriver()
    return [result.volume for sample in samples for result in deriver.derive(sample)]


def test_cpu_util_is_a_share_of_all_vcpus():
    assert derived(cpu(0, 5), cpu(10, 10)) == [pytest.approx(50.0)]
    assert derived(cpu(0, 5, vcpus=4), cpu(10, 25, vcpus=4)) == [pytest.approx(50.0)]


def test_the_result_keeps_time_unit_and_group():
    deriver = Deriver()
    deriver.derive(cpu(0, 0))
    (result,) = deriver.derive(cpu(10, 1, user_metadata={"server_group": "web"}))
    assert (result.name, result.type, result.unit) == ("cpu_util", SampleType.GAUGE, "%")
    assert result.timestamp_us == 10 * S
    assert result.metadata["user_metadata"] == {"server_group": "web"}


def test_the_first_sample_yields_nothing():
    assert derived(cpu(0, 5)) == []


def test_a_decrease_is_a_reset():
    assert derived(cpu(0, 50), cpu(10, 1), cpu(20, 6)) == [pytest.approx(50.0)]


def test_a_late_or_doubled_sample_yields_nothing_and_bends_nothing():
    assert derived(cpu(0, 0), cpu(10, 5), cpu(10, 5), cpu(5, 2), cpu(20, 10)) == [
        pytest.approx(50.0),
        pytest.approx(50.0),
    ]


def test_a_step_of_the_wall_clock_bends_no_rate():
    found = derived(cpu(0, 0, monotonic=100.0), cpu(70, 5, monotonic=110.0))
    assert found == [pytest.approx(50.0)]


def test_after_a_reboot_of_the_host_the_wall_clock_serves():
    assert derived(cpu(0, 0, monotonic=9000.0), cpu(10, 5, monotonic=3.0)) == [pytest.approx(50.0)]


def test_other_counters_become_rates():
    counter = Sample(
        name="network.incoming.bytes",
        type=SampleType.CUMULATIVE,
        unit="B",
        volume=0,
        resource_id="nic",
        timestamp_us=0,
    )
    deriver = Deriver()
    deriver.derive(counter)
    (rate,) = deriver.derive(msgspec.structs.replace(counter, volume=500, timestamp_us=10 * S))
    assert (rate.name, rate.unit, rate.volume) == ("network.incoming.bytes.rate", "B/s", 50.0)


@pytest.mark.parametrize("metadata", [{"memory_mb": 512}, {"flavor": {"ram": 512}}])
def test_memory_util(metadata):
    usage = Sample(
        name="memory.usage",
        type=SampleType.GAUGE,
        unit="MiB",
        volume=128,
        resource_id="vm",
        timestamp_us=0,
        metadata=metadata,
    )
    assert derived(usage) == [25.0]


def test_memory_util_from_the_memory_meter():
    usage = Sample(
        name="memory.usage",
        type=SampleType.GAUGE,
        unit="MiB",
        volume=128,
        resource_id="vm",
        timestamp_us=0,
    )
    total = msgspec.structs.replace(usage, name="memory", volume=256)
    assert derived(usage) == []
    assert derived(total, usage) == [50.0]


def test_forget():
    deriver = Deriver()
    deriver.derive(cpu(0, 0))
    deriver.forget(1)
    assert deriver.derive(cpu(10, 5)) == []


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_never_negative_and_never_above_all_of_it(readings):
    found = derived(*(cpu(10 * i, reading) for i, reading in enumerate(readings)))
    assert all(0 <= percent <= 100 for percent in found)


@given(st.integers(2, 8), st.integers(0, 7))
def test_a_member_that_joins_never_bends_the_mean_of_the_others(polls, joins):
    """The mean over members first, then its difference, would give thousands of percent here."""
    deriver = Deriver()
    for poll in range(polls):
        samples = [cpu(10 * poll, 1000 + 9 * poll, resource="old")]
        if poll >= joins:
            samples.append(cpu(10 * poll, 9 * (poll - joins), resource="new"))
        for sample in samples:
            for result in deriver.derive(sample):
                assert result.volume == pytest.approx(90.0)
