# SPDX-License-Identifier: Apache-2.0
"""Columns of JSON samples: they are what `wire` decodes, and refuse what it refuses."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thermostat.samples import columns
from thermostat.samples.columns import fingerprint_of, read_json
from thermostat.samples.wire import MAX_DEPTH, InvalidSamples, decode_json

NOW_US = 1_795_500_000_000_000
KEY = 7
HTTP: dict[str, Any] = {
    "name": "cpu",
    "type": "cumulative",
    "unit": "ns",
    "volume": 560000000,
    "user_id": "u",
    "project_id": "p",
    "resource_id": "2e67",
    "timestamp": "2026-11-22T02:29:04.737846",
    "resource_metadata": {"display_name": "web-1", "user_metadata": {"server_group": "grp"}},
    "source": "openstack",
    "id": "7c7f",
    "monotonic_time": None,
}
BUS_NAMES = {name: f"counter_{name}" for name in ("name", "type", "unit", "volume")}


def bus(item: dict[str, Any]) -> dict[str, Any]:
    return {BUS_NAMES.get(key, key): value for key, value in item.items()}


def nested(levels: int) -> Any:
    inner: Any = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return inner


def by_wire(body: bytes) -> list[Any] | str:
    try:
        return decode_json(body, now_us=NOW_US)
    except InvalidSamples as error:
        return str(error)


def by_columns(body: bytes) -> list[Any] | str:
    try:
        found = read_json(body, now_us=NOW_US, key=KEY)
        samples = found.samples(range(len(found)))
    except InvalidSamples as error:
        return str(error)
    assert found.timestamp_us.tolist() == [one.timestamp_us for one in samples]
    assert found.volume.tolist() == [one.volume for one in samples]
    monotonic = [None if np.isnan(one) else one for one in found.monotonic_s.tolist()]
    assert monotonic == [one.monotonic_s for one in samples]
    return samples


_digits = st.text("0123456789", min_size=1, max_size=7)
_times = (
    st.datetimes().map(lambda t: t.isoformat())
    | st.datetimes(timezones=st.timezones()).map(lambda t: t.isoformat())
    | st.builds(
        lambda date, sep, clock, fraction, zone: date + sep + clock + fraction + zone,
        st.sampled_from(["2026-11-22", "2026-02-29", "2024-02-29", "2026-13-01", "26-11-22"]),
        st.sampled_from(["T", " ", "t", "-", ""]),
        st.sampled_from(["02:29:04", "24:00:00", "23:59:60", "02:29", "02", "2:29:04"]),
        _digits.map(lambda digits: "." + digits) | st.sampled_from(["", ".", ",5"]),
        st.sampled_from(["", "Z", "z", "+00:00", "-00:00", "+01:00", "+00:00Z", "ZZ", "+0000"]),
    )
    | st.sampled_from(
        ["", "nat", "NaT", "now", "today", "2026", "2026-11", "20261122T022904", "yesterday", "0"]
    )
    | st.text(max_size=27)
)
_changes = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": _times | st.integers() | st.none(),
        "volume": st.integers(-(10**30), 10**30) | st.floats() | st.sampled_from(["1", None, True]),
        "name": st.text(max_size=3) | st.just("x" * 256) | st.none(),
        "type": st.sampled_from(["gauge", "delta", "cumulative", "other", None, 1]),
        "unit": st.text(max_size=3) | st.none(),
        "resource_id": st.text(max_size=3) | st.just("r" * 10_000) | st.integers(),
        "project_id": st.none() | st.text(max_size=2) | st.integers(),
        "user_id": st.none() | st.text(max_size=2),
        "source": st.none() | st.text(max_size=2) | st.lists(st.none(), max_size=1),
        "monotonic_time": st.none() | st.integers(-5, 5) | st.floats() | st.text(max_size=1),
        "resource_metadata": st.none()
        | st.dictionaries(st.text(max_size=2), st.integers() | st.text(max_size=2), max_size=2)
        | st.sampled_from([[], "text", 7, True, nested(MAX_DEPTH), nested(MAX_DEPTH + 1)])
        | st.just(nested(100)),
    },
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_changes, max_size=4), st.booleans(), st.booleans())
@example([{"timestamp": "2026-11-22T02:29:04.12345Z"}], False, False)
@example([{"timestamp": "2026-11-22T02:29:04+00:00Z"}], False, False)
@example([{"timestamp": "2026-11-22T03:29:04+01:00"}], True, False)
@example([{}, {"timestamp": "\uff12026-11-22T02:29:04.737846"}], False, False)
@example([{"resource_metadata": nested(100)}], False, True)
@example([{}, {"name": "\0"}], False, False)
@example([{"resource_metadata": {"a": "\0"}}, {"unit": "\0"}], True, False)
@example([{"resource_metadata": {"a": "\\u0000"}}], False, False)
def test_both_decode_the_same(
    changes: list[dict[str, Any]], in_bus_form: bool, single: bool
) -> None:
    items = [HTTP | change for change in changes]
    if in_bus_form:
        items = [bus(item) for item in items]
    document = items[0] if single and items else items
    body = json.dumps(document).encode()
    assert by_columns(body) == by_wire(body)


@settings(max_examples=300)
@given(_times)
def test_both_read_the_same_times(text: str) -> None:
    body = json.dumps([HTTP, HTTP | {"timestamp": text}]).encode()
    assert by_columns(body) == by_wire(body)


@pytest.mark.parametrize("missing", ["name", "type", "unit", "volume", "resource_id", "timestamp"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = json.dumps([HTTP, {k: v for k, v in HTTP.items() if k != missing}]).encode()
    assert by_columns(body) == by_wire(body) == f"sample 1: {missing}: Missing"


@given(st.binary(max_size=100) | st.sampled_from([b"[" * 100_000, b'[{"a":' * 5_000, b"[\xff]"]))
def test_any_bytes_are_samples_or_refused(body: bytes) -> None:
    assert by_columns(body) == by_wire(body)


def test_the_usual_form_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above compare `wire` with itself."""
    monkeypatch.setattr(columns, "columns_of", None)
    monkeypatch.setattr(columns, "us_since_epoch", None)
    times = ["2026-11-22T02:29:04", "2026-11-22 02:29:04.5Z", "2026-11-22T02:29:04.737846+00:00"]
    for form in (dict, bus):
        items = [form(HTTP | {"timestamp": text}) for text in times]
        body = json.dumps(items).encode()
        assert by_columns(body) == by_wire(body)
        assert by_columns(json.dumps(items[0]).encode()) == [by_wire(body)[0]]


def fingerprints(*items: dict[str, Any]) -> list[int]:
    found = read_json(json.dumps(items).encode(), now_us=NOW_US, key=KEY)
    return found.fingerprint.tolist()


def test_a_fingerprint_stands_for_all_that_describes_a_series_and_nothing_else() -> None:
    same = [HTTP, HTTP | {"volume": 1, "timestamp": "2026-11-22T02:29:05"}, HTTP | {"id": "other"}]
    assert len(set(fingerprints(*same))) == 1
    assert fingerprints(bus(HTTP)) == fingerprints(HTTP)
    different = [
        HTTP,
        *(HTTP | {name: "x"} for name in ("name", "unit", "resource_id", "user_id", "source")),
        *(HTTP | {"project_id": one} for one in (None, "None", "null", "")),
        HTTP | {"type": "gauge"},
        HTTP | {"resource_metadata": {}},
        HTTP | {"resource_metadata": None},
        HTTP | {"unit": "ns2", "resource_id": "e67"},
        HTTP | {"name": "cpu\0ns", "unit": ""},
    ]
    assert len(set(fingerprints(*different))) == len(different)


def test_fingerprints_depend_on_the_key() -> None:
    body = json.dumps([HTTP]).encode()
    one, other = (read_json(body, now_us=NOW_US, key=key).fingerprint[0] for key in (1, 2))
    assert one != other
    [sample] = decode_json(body, now_us=NOW_US)
    assert fingerprint_of(sample, 1) != fingerprint_of(sample, 2)
