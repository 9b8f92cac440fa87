# SPDX-License-Identifier: Apache-2.0
"""Frames of the columnar form: they are what `wire` decodes, and refuse what it refuses."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermostat.samples.frames import read_frame
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import InvalidSamples, decode_columnar, encode_columnar

NOW_US = 1_795_500_000_000_000
DAY_US = 86_400_000_000
KEY = 7

_samples = st.lists(
    st.builds(
        Sample,
        name=st.sampled_from(["cpu", "memory"]),
        type=st.sampled_from(SampleType),
        unit=st.just("%"),
        volume=st.floats(allow_nan=False, allow_infinity=False),
        resource_id=st.sampled_from(["a", "b"]),
        project_id=st.none() | st.just("p"),
        user_id=st.none() | st.just("u"),
        timestamp_us=st.integers(0, NOW_US + DAY_US),
        metadata=st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
    ),
    max_size=8,
)


def by_wire(body: bytes) -> list[Sample] | str:
    try:
        return decode_columnar(body, now_us=NOW_US)
    except InvalidSamples as error:
        return str(error)


def by_frames(body: bytes) -> list[Sample] | str:
    try:
        frame = read_frame(body, now_us=NOW_US, key=KEY)
        table = frame.table(KEY)
        if len(frame) and frame.series_index.max() >= len(table.rows):
            frame.refuse()
    except InvalidSamples as error:
        return str(error)
    columns = (frame.series_index.tolist(), frame.timestamp_us.tolist(), frame.volume.tolist())
    return [
        msgspec.structs.replace(table.sample(row, at_us), volume=volume)
        for row, at_us, volume in zip(*columns, strict=True)
    ]


@given(_samples)
def test_both_decode_the_same(samples: list[Sample]) -> None:
    assert by_frames(encode_columnar(samples)) == samples


def deep(levels: int) -> Any:
    return {"a": deep(levels - 1)} if levels > 1 else {}


NAN, INF = np.float64("nan").tobytes(), np.float64("inf").tobytes()
ONE = Sample(
    name="cpu", type=SampleType.GAUGE, unit="", volume=1.0, resource_id="r", timestamp_us=NOW_US
)
CHANGES: list[dict[str, Any]] = [
    {"volume": b"1234567"},
    {"volume": b""},
    {"volume": bytes(8) + NAN},
    {"volume": INF + bytes(8)},
    {"series_index": b"\0\0\0\0\1\0\0\0"},
    {"series_index": b"\xff\xff\xff\xff\0\0\0\0"},
    {"timestamp_us": (NOW_US + DAY_US + 1).to_bytes(8, "little") * 2},
    {"timestamp_us": b"\xff" * 16},
    {"metadata": []},
    {"metadata": [{"a": b"raw"}]},
    {"metadata": [{"a": float("nan")}]},
    {"metadata": [{1: 2}]},
    {"metadata": [{"a": ["\0"]}]},
    {"metadata": [{"\0": 1}]},
    {"series": [["x\0", "gauge", "", "r", None, None, 0, ""]]},
    {"metadata": [7]},
    {"metadata": [deep(20)]},
    {"metadata": [deep(21)]},
    {"metadata": [deep(100)]},
    {"metadata": None},
    {"series": [["", "gauge", "", "r", None, None, 0, ""]]},
    {"series": [["x", "gauge", "", "r" * 10_000, None, None, 0, ""]]},
    {"series": [["x", "gauge", "", "r", None, None, -1, ""]]},
    {"series": [["x", "gauge", "", "r", None, None, 1, ""]]},
    {"series": [["x", "gauge", "", "r"]]},
    {"series": 7},
    {"series_index": None},
    {"series_index": b"", "timestamp_us": b"", "volume": b""},
]


@pytest.mark.parametrize("change", CHANGES)
def test_both_refuse_the_same(change: dict[str, Any]) -> None:
    columns = msgspec.msgpack.decode(encode_columnar([ONE, ONE]))
    body = msgspec.msgpack.encode(columns | change)
    expected = by_wire(body)
    assert by_frames(body) == expected
    fine = [{"metadata": [deep(20)]}, CHANGES[-1]]
    assert isinstance(expected, list) == (change in fine), "or the test shows nothing"


@settings(max_examples=200)
@given(_samples, st.data())
def test_damaged_bodies_are_samples_or_refused(samples: list[Sample], data: st.DataObject) -> None:
    body = bytearray(encode_columnar(samples))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    assert str(by_frames(bytes(body))) == str(by_wire(bytes(body)))
    truncated = bytes(body[:place])
    assert by_frames(truncated) == by_wire(truncated)


def test_one_table_has_one_id_whatever_the_numbers() -> None:
    later = msgspec.structs.replace(ONE, timestamp_us=NOW_US + 1, volume=9.0)
    other = msgspec.structs.replace(ONE, metadata={"a": 1})
    frames = [
        read_frame(encode_columnar([one]), now_us=NOW_US, key=KEY) for one in (ONE, later, other)
    ]
    assert frames[0].table_id == frames[1].table_id != frames[2].table_id
    fingerprints = [frame.table(KEY).fingerprint.tolist() for frame in frames]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_a_row_has_one_fingerprint_in_any_table() -> None:
    second = msgspec.structs.replace(ONE, resource_id="s", metadata={"b": 1})
    alone, behind = (
        read_frame(encode_columnar(some), now_us=NOW_US, key=KEY).table(KEY).fingerprint
        for some in ([second], [ONE, second])
    )
    assert alone[0] == behind[1]
