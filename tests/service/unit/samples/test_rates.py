# SPDX-License-Identifier: Apache-2.0
"""Rates of whole batches, driven beside the scalar deriver: they must agree exactly."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thermostat.samples.derive import Deriver
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.rates import Rates

S = 1_000_000
SERIES = [
    ("cpu", SampleType.CUMULATIVE, "vm-1"),
    ("cpu", SampleType.CUMULATIVE, "vm-2"),
    ("disk.device.read.bytes", SampleType.CUMULATIVE, "vm-1-vda"),
    ("memory", SampleType.GAUGE, "vm-1"),
    ("memory.usage", SampleType.GAUGE, "vm-1"),
    ("memory.usage", SampleType.GAUGE, "vm-2"),
    ("cpu_util", SampleType.GAUGE, "vm-1"),
]
_described = st.tuples(st.integers(0, len(SERIES) - 1), st.integers(0, 6))
_volumes = (
    st.integers(0, 20).map(float)
    | st.floats(0, 1e13)
    | st.sampled_from([1.7e308, -1.7e308, 0.0, 5e-324])
)
_readings = st.lists(
    st.tuples(
        st.integers(0, len(SERIES) - 1),
        st.integers(0, 12),  # event time in s: late, doubled and in order
        _volumes,
        st.none() | st.integers(0, 6).map(float) | st.floats(0, 1e6),
    ),
    max_size=14,
)
METADATA = [
    {},
    {"vcpus": 2, "memory_mb": 512},
    {"flavor": {"vcpus": "4", "ram": 1024}},
    {"vcpus": 0},
    {"cpu_number": 1e-320, "memory_mb": "inf"},
    {"vcpus": "many"},
    {"flavor.vcpus": 3},
]


def sample(series: int, at_s: int, volume: float, monotonic_s: float | None, metadata: int):
    name, type_, resource_id = SERIES[series]
    return Sample(
        name=name,
        type=type_,
        unit="u",
        volume=volume,
        resource_id=resource_id,
        timestamp_us=at_s * S,
        monotonic_s=monotonic_s,
        metadata=METADATA[metadata],
    )


def derive(rates: Rates, samples: list[Sample], ids: list[int]):
    rows, volumes = rates.derive(
        np.array(ids, np.int64),
        np.array([one.timestamp_us for one in samples], np.int64),
        np.array([one.volume for one in samples], np.float64),
        np.array([one.monotonic_s for one in samples], np.float64),
    )
    return list(zip(rows.tolist(), volumes.tolist(), strict=True))


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.tuples(_readings, st.lists(_described, max_size=4), st.integers(0, 9)), max_size=6)
)
def test_both_agree(batches):
    scalar, rates = Deriver(), Rates()
    described = dict.fromkeys(range(len(SERIES)), 0)
    for readings, changes, forget in batches:
        described.update(changes)
        samples = [sample(*reading, described[reading[0]]) for reading in readings]
        ids = [reading[0] + 1 for reading in readings]
        rates.describe(ids, samples)
        expected = [
            (row, follows.volume)
            for row, one in enumerate(samples)
            for follows in scalar.derive(one)
        ]
        assert derive(rates, samples, ids) == expected
        if forget > 6:
            scalar.forget(forget * S)
            rates.forget(forget * S)


def test_a_series_that_becomes_a_gauge_has_no_rate_and_is_a_counter_again_later():
    scalar, rates = Deriver(), Rates()
    for at_s, type_ in enumerate(["cumulative", "cumulative", "gauge", "cumulative"]):
        one = Sample(
            name="x",
            type=SampleType(type_),
            unit="B",
            volume=at_s * 10.0,
            resource_id="r",
            timestamp_us=at_s * S,
        )
        rates.describe([1], [one])
        assert [v for _, v in derive(rates, [one], [1])] == [
            follows.volume for follows in scalar.derive(one)
        ]


def test_what_was_stored_before_a_restart_is_compared_with():
    rates = Rates()
    counter = sample(2, 10, 100.0, None, 0)
    assert rates.is_unknown(np.array([5])).tolist() == [True]
    rates.describe([5], [counter])
    assert rates.is_unknown(np.array([5])).tolist() == [False]
    rates.prime(np.array([5]), np.array([5 * S]), np.array([50.0]))
    assert derive(rates, [counter], [5]) == [(0, 10.0)]
    rates.prime(np.array([5]), np.array([0]), np.array([0.0]))  # it has been read since
    assert derive(rates, [sample(2, 12, 104.0, None, 0)], [5]) == [(0, 2.0)]
    rates.prime_memory("vm-1", 0, 200.0)
    usage = sample(4, 10, 50.0, None, 0)
    rates.describe([6], [usage])
    assert derive(rates, [usage], [6]) == [(0, 25.0)]


def test_gauges_take_no_room():
    rates = Rates()
    rates.describe([1, 2], [sample(6, 0, 1.0, None, 0)] * 2)
    assert len(rates) == 0
