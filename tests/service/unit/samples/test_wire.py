# SPDX-License-Identifier: Apache-2.0
"""The wire forms of samples: what is accepted, and what a refusal says."""

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import (
    MAX_DEPTH,
    MAX_FUTURE_US,
    InvalidSamples,
    decode_columnar,
    decode_json,
    encode_columnar,
)

NOW_US = 1_795_500_000_000_000
WHEN = "2026-11-22T02:29:04.737846"
WHEN_US = 1_795_314_544_737_846

HTTP = {
    "name": "cpu",
    "type": "cumulative",
    "unit": "ns",
    "volume": 560000000,
    "user_id": "u",
    "user_name": None,
    "project_id": "p",
    "project_name": None,
    "resource_id": "2e67",
    "timestamp": WHEN,
    "resource_metadata": {"display_name": "web-1", "user_metadata": {"server_group": "grp"}},
    "source": "openstack",
    "id": "7c7f",
    "monotonic_time": None,
}
BUS = {
    "source": "openstack",
    "counter_name": "cpu",
    "counter_type": "cumulative",
    "counter_unit": "ns",
    "counter_volume": 560000000,
    "user_id": "u",
    "user_name": None,
    "project_id": "p",
    "project_name": None,
    "resource_id": "2e67",
    "timestamp": WHEN,
    "resource_metadata": {"display_name": "web-1", "user_metadata": {"server_group": "grp"}},
    "message_id": "7c7f",
    "monotonic_time": 12.5,
    "message_signature": "abc",
}
SAMPLE = Sample(
    name="cpu",
    type=SampleType.CUMULATIVE,
    unit="ns",
    volume=560000000.0,
    resource_id="2e67",
    project_id="p",
    user_id="u",
    timestamp_us=WHEN_US,
    metadata={"display_name": "web-1", "user_metadata": {"server_group": "grp"}},
)


def decode(*items: Any) -> list[Sample]:
    return decode_json(json.dumps(items).encode(), now_us=NOW_US)


def refusal(*items: Any) -> InvalidSamples:
    with pytest.raises(InvalidSamples) as caught:
        decode(*items)
    return caught.value


def test_http_form_in_an_array() -> None:
    assert decode(HTTP, HTTP) == [SAMPLE, SAMPLE]


def test_http_form_as_a_single_object() -> None:
    assert decode_json(b" \n" + json.dumps(HTTP).encode(), now_us=NOW_US) == [SAMPLE]


def test_bus_form_in_an_array_and_alone() -> None:
    expected = msgspec.structs.replace(SAMPLE, monotonic_s=12.5)
    assert decode(BUS) == [expected]
    assert decode_json(json.dumps(BUS).encode(), now_us=NOW_US) == [expected]


def test_only_what_a_sample_needs() -> None:
    least = {k: HTTP[k] for k in ("name", "type", "unit", "volume", "resource_id", "timestamp")}
    (sample,) = decode(least)
    assert (sample.project_id, sample.user_id, sample.metadata) == (None, None, {})
    assert (sample.source, sample.monotonic_s) == ("openstack", None)


def test_an_empty_array_holds_no_samples() -> None:
    assert decode() == []


@pytest.mark.parametrize(
    ("text", "expected_us"),
    [
        ("2026-11-22T02:29:04", 1_795_314_544_000_000),
        ("2026-11-22 02:29:04.5", 1_795_314_544_500_000),
        ("2026-11-22T03:29:04+01:00", 1_795_314_544_000_000),
        ("2026-11-22T02:29:04Z", 1_795_314_544_000_000),
        ("1970-01-01T00:00:00", 0),
    ],
)
def test_timestamps_without_an_offset_are_utc(text: str, expected_us: int) -> None:
    assert decode(HTTP | {"timestamp": text})[0].timestamp_us == expected_us


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume": "high"}, "sample 3: volume: Expected `float`, got `str`"),
        ({"volume": None}, "sample 3: volume: Expected `float`, got `null`"),
        ({"volume": True}, "sample 3: volume: Expected `float`, got `bool`"),
        ({"type": "counter"}, "sample 3: type: Invalid enum value 'counter'"),
        ({"name": ""}, "sample 3: name: Expected `str` of length >= 1"),
        ({"resource_id": "x" * 256}, "sample 3: resource_id: Expected `str` of length <= 255"),
        ({"resource_id": 7}, "sample 3: resource_id: Expected `str`, got `int`"),
        ({"project_id": "x" * 256}, "sample 3: project_id: Expected `str` of length <= 255"),
        ({"timestamp": "yesterday"}, "sample 3: timestamp: Invalid RFC3339 encoded datetime"),
        ({"timestamp": 1}, "sample 3: timestamp: Expected `datetime`, got `int`"),
        ({"timestamp": "1969-12-31T23:59:59"}, "sample 3: timestamp: Before 1970"),
        (
            {"timestamp": "2036-11-22T02:29:04"},
            "sample 3: timestamp: More than one day in the future",
        ),
        (
            {"resource_metadata": []},
            "sample 3: resource_metadata: Expected `object | null`, got `array`",
        ),
        *(
            ({field: "a\0b"}, f"sample 3: {field}: Has a NUL character")
            for field in ("name", "unit", "resource_id", "project_id", "user_id", "source")
        ),
        *(
            ({"resource_metadata": metadata}, "sample 3: resource_metadata: Has a NUL character")
            for metadata in ({"a": "\0"}, {"a": ["b", {"c": "d\0"}]}, {"a": {"\0b": 1}})
        ),
    ],
)
def test_a_refusal_names_index_field_and_reason(change: dict[str, Any], message: str) -> None:
    assert str(refusal(HTTP, HTTP, HTTP, HTTP | change)) == message


@pytest.mark.parametrize("field", ["name", "type", "unit", "volume", "resource_id", "timestamp"])
def test_a_missing_field_is_named(field: str) -> None:
    error = refusal(HTTP, {k: v for k, v in HTTP.items() if k != field})
    assert (error.index, error.field, error.reason) == (1, field, "Missing")


def test_the_bus_forms_own_field_names_are_used() -> None:
    assert str(refusal(BUS, BUS | {"counter_volume": "x"})) == (
        "sample 1: counter_volume: Expected `float`, got `str`"
    )
    assert refusal({k: v for k, v in BUS.items() if k != "counter_type"}).field == "counter_type"


@pytest.mark.parametrize("form", [HTTP, BUS], ids=["http", "bus"])
def test_a_nul_in_a_single_object(form: dict[str, Any]) -> None:
    unit = "counter_unit" if form is BUS else "unit"
    for field, value in ((unit, "\0"), ("resource_metadata", {"a": "\0"})):
        with pytest.raises(InvalidSamples, match=f"^sample 0: {field}: Has a NUL character$"):
            decode_json(json.dumps(form | {field: value}).encode(), now_us=NOW_US)


def test_what_only_looks_like_a_nul_is_fine() -> None:
    looks = "\\u0000"
    (sample,) = decode(HTTP | {"name": looks, "resource_metadata": {looks: looks}})
    assert (sample.name, sample.metadata) == (looks, {looks: looks})


def test_one_day_ahead_is_the_limit() -> None:
    body = json.dumps(HTTP).encode()
    assert decode_json(body, now_us=WHEN_US - MAX_FUTURE_US)
    with pytest.raises(InvalidSamples, match="future"):
        decode_json(body, now_us=WHEN_US - MAX_FUTURE_US - 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'[{"name":',
        b"\xff\xfe",
        b'["\xff"]',
        b'"text"',
        b"[1]",
        b"null",
        b"[" * 100_000,
        b'[{"name":"cpu","volume":NaN}]',
        b'{"resource_metadata":' * 5_000,
    ],
)
def test_what_is_no_samples_at_all_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidSamples):
        decode_json(body, now_us=NOW_US)


def test_a_number_too_large_is_refused() -> None:
    body = json.dumps(HTTP).replace("560000000", "1e999").encode()
    with pytest.raises(InvalidSamples, match="sample 0: volume: Number out of range"):
        decode_json(body, now_us=NOW_US)


def nested(levels: int, *, in_lists: bool = False) -> dict[str, Any]:
    """Give metadata of so many levels."""
    inner: Any = [] if in_lists else {}
    for _ in range(levels - 2):
        inner = [inner] if in_lists else {"a": inner}
    return {"brackets": "}]" * 30, "quote": '"', "a": inner}


@pytest.mark.parametrize("form", [HTTP, BUS])
@pytest.mark.parametrize("in_lists", [False, True])
def test_metadata_has_bounded_depth(form: dict[str, Any], in_lists: bool) -> None:
    deepest = form | {"resource_metadata": nested(MAX_DEPTH, in_lists=in_lists)}
    assert decode(form, deepest)[1].metadata == deepest["resource_metadata"]
    too_deep = form | {"resource_metadata": nested(MAX_DEPTH + 1, in_lists=in_lists)}
    assert str(refusal(form, deepest, too_deep)) == (
        "sample 2: resource_metadata: More than 20 levels of maps and lists"
    )


def test_the_metadata_of_a_single_object_has_bounded_depth() -> None:
    body = json.dumps(HTTP | {"resource_metadata": nested(200)}).encode()
    with pytest.raises(InvalidSamples, match="sample 0: resource_metadata: More than 20 levels"):
        decode_json(body, now_us=NOW_US)


# The columnar form

_characters = st.characters(codec="utf-8", exclude_characters="\0")
_text = st.text(_characters, max_size=20)
_id = st.text(_characters, min_size=1, max_size=20)
_metadata = st.dictionaries(
    _text,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | _text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
_samples = st.lists(
    st.builds(
        Sample,
        name=_id,
        type=st.sampled_from(SampleType),
        unit=_text,
        volume=st.floats(allow_nan=False, allow_infinity=False),
        resource_id=_id,
        project_id=st.none() | _text,
        user_id=st.none() | _text,
        timestamp_us=st.integers(0, NOW_US + MAX_FUTURE_US),
        metadata=_metadata,
        source=_text,
    ),
    max_size=20,
)


@given(_samples)
def test_columnar_round_trip(samples: list[Sample]) -> None:
    assert decode_columnar(encode_columnar(samples), now_us=NOW_US) == samples


def test_columnar_sends_each_series_and_metadata_once() -> None:
    other = msgspec.structs.replace(SAMPLE, name="vcpus", metadata=dict(SAMPLE.metadata))
    columns = msgspec.msgpack.decode(encode_columnar([SAMPLE, other, SAMPLE, other]))
    assert columns["metadata"] == [SAMPLE.metadata]
    assert [row[0] for row in columns["series"]] == ["cpu", "vcpus"]
    assert columns["series_index"] == b"".join(n.to_bytes(4, "little") for n in (0, 1, 0, 1))


def columnar(**change: Any) -> bytes:
    columns = msgspec.msgpack.decode(encode_columnar([SAMPLE, SAMPLE]))
    return msgspec.msgpack.encode(columns | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume": b"1234567"}, "volume: 7 bytes are not a multiple of 8"),
        ({"volume": b""}, "series_index, timestamp_us and volume differ in length: 2, 2 and 0"),
        (
            {"volume": bytes(8) + b"\0\0\0\0\0\0\xf0\x7f"},
            "sample 1: volume: Expected a finite number",
        ),
        ({"series_index": b"\0\0\0\0\1\0\0\0"}, "sample 1: series_index: There is no series 1"),
        (
            {"series_index": b"\xff\xff\xff\xff\0\0\0\0"},
            "sample 0: series_index: There is no series -1",
        ),
        (
            {"timestamp_us": (NOW_US + MAX_FUTURE_US + 1).to_bytes(8, "little") * 2},
            "sample 0: timestamp_us: More than one day in the future",
        ),
        ({"timestamp_us": b"\xff" * 16}, "sample 0: timestamp_us: Before 1970"),
        ({"metadata": []}, "series: Row 0 names metadata that was not sent"),
        (
            {"metadata": [{"a": b"raw"}]},
            "metadata: Row 0 holds a NUL, or more than text, numbers, lists and maps, or more than "
            "20 levels",
        ),
        (
            {"series": [["x", "gauge", "", "r\0", None, None, 0, ""]]},
            "series[0][3]: Has a NUL character",
        ),
        (
            {"series": [["", "gauge", "", "r", None, None, 0, ""]]},
            "series[0][0]: Expected `str` of length >= 1",
        ),
        ({"series": 7}, "series: Expected `array`, got `int`"),
    ],
)
def test_a_columnar_refusal_names_field_and_reason(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSamples) as caught:
        decode_columnar(columnar(**change), now_us=NOW_US)
    assert str(caught.value) == message


@pytest.mark.parametrize("metadata", [{"a": "\0"}, {"a": ["b\0"]}, {"a": {"\0": 1}}])
def test_columnar_metadata_has_no_nul(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidSamples, match=r"^metadata: Row 1 holds a NUL"):
        decode_columnar(columnar(metadata=[{}, metadata]), now_us=NOW_US)


def test_columnar_metadata_has_bounded_depth() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(InvalidSamples, match="levels"):
        decode_columnar(columnar(metadata=[deep]), now_us=NOW_US)


@given(st.binary(max_size=200))
def test_any_bytes_are_samples_or_refused(body: bytes) -> None:
    for decoder in (decode_columnar, decode_json):
        try:
            decoder(body, now_us=NOW_US)
        except InvalidSamples as error:
            assert str(error)  # noqa: PT017 - either outcome is right, but nothing else is


def test_a_truncated_batch_is_refused() -> None:
    body = encode_columnar([SAMPLE, SAMPLE])
    for end in range(len(body)):
        with pytest.raises(InvalidSamples):
            decode_columnar(body[:end], now_us=NOW_US)


def test_the_module_needs_no_numpy() -> None:
    code = "import sys, thermostat.samples.wire; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
