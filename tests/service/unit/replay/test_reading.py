# SPDX-License-Identifier: Apache-2.0
"""Recorded samples: JSON lines, and what Ceilometer's own file publisher wrote."""

import datetime
import gzip
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.replay.errors import BadLine
from thermostat.replay.reading import SampleReader, samples_of

GOLDEN = Path(__file__).parents[2] / "golden" / "replay" / "ceilometer"
ROTATED = [GOLDEN / "meters.2", GOLDEN / "meters.1", GOLDEN / "meters"]
SAMPLE = {
    "name": "cpu_util",
    "type": "gauge",
    "unit": "%",
    "volume": 75,
    "resource_id": "vm-1",
    "project_id": "p1",
    "timestamp": "2026-03-02T09:00:00",
}
ON_THE_BUS = {
    "counter_name": "cpu_util",
    "counter_type": "gauge",
    "counter_unit": "%",
    "counter_volume": 75,
    "resource_id": "vm-1",
    "project_id": "p1",
    "timestamp": "2026-03-02T09:00:00",
    "message_signature": "…",
}


def read(*paths, **options):
    return list(SampleReader(**options).read(map(str, paths)))


def test_ceilometers_dictionaries_and_its_json_mean_the_same():
    python, as_json = read(*ROTATED), read(GOLDEN / "meters.json")
    assert len(python) == len(as_json) == 19
    assert [one for one in python if one.name == "cpu"] == [
        one for one in as_json if one.name == "cpu"
    ]
    # one metadata value is a datetime, which JSON can only have as text
    (power,) = (one for one in python if one.name != "cpu")
    (power_json,) = (one for one in as_json if one.name != "cpu")
    assert power.metadata.pop("provisioned")[:19] == power_json.metadata.pop("provisioned")[:19]
    assert power == power_json
    assert power.metadata["note"] == 'says "it\'s hot", Grüße\nand a second line'
    assert power.timestamp_us == 1_772_442_250_500_000  # it had an offset
    assert power.source == "hardware"


def test_packed_files_are_unpacked(tmp_path):
    path = tmp_path / "meters.3.gz"
    content = (GOLDEN / "meters.json").read_bytes()
    path.write_bytes(gzip.compress(content))
    assert read(path) == read(GOLDEN / "meters.json")
    path.write_bytes(gzip.compress(content)[:-100])
    with pytest.raises(OSError, match=r"meters\.3\.gz is cut off"):
        read(path)
    path.write_bytes(content)
    with pytest.raises(OSError, match="Not a gzipped file"):
        read(path)


def test_keeps_what_rates_and_groups_need():
    sample = read(GOLDEN / "meters.json")[0]
    assert (sample.name, sample.type, sample.volume) == ("cpu", "cumulative", 1e12)
    assert sample.monotonic_s == 9000.25
    assert sample.metadata["user_metadata"] == {"server_group": "web"}
    assert sample.metadata["vcpus"] == 2


def test_equal_metadata_is_held_once():
    samples = read(GOLDEN / "meters.json")
    assert len({id(one.metadata) for one in samples}) == 3


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(SAMPLE),
        json.dumps([SAMPLE]),
        json.dumps(ON_THE_BUS),
        json.dumps([ON_THE_BUS, ON_THE_BUS]),
        str(SAMPLE),
        str([SAMPLE]),
        str({**SAMPLE, "timestamp": datetime.datetime(2026, 3, 2, 9)}),
        str({**SAMPLE, "timestamp": datetime.datetime(2026, 3, 2, 9, tzinfo=datetime.UTC)}),
    ],
)
def test_forms_of_a_line(line):
    for sample in samples_of(line.encode()):
        assert (sample.name, sample.volume, sample.timestamp_us) == (
            "cpu_util",
            75,
            1_772_442_000_000_000,
        )


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | TEXTS
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
        max_leaves=10,
    )
)
def test_any_metadata_is_read_from_a_dictionary_as_from_json(value):
    sample = {**SAMPLE, "resource_metadata": {"x": value}}
    assert samples_of(str(sample).encode("utf-8", "backslashreplace")) == samples_of(
        json.dumps(sample).encode("utf-8", "backslashreplace")
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "the line is not valid JSON"),
        ("nothing", "the line is not valid JSON"),
        (json.dumps({**SAMPLE, "volume": "much"}), "volume: Expected `float`, got `str`"),
        (json.dumps([SAMPLE, {**SAMPLE, "type": "x"}]), "sample 1: type: Invalid enum value"),
        (json.dumps({**ON_THE_BUS, "counter_volume": None}), "counter_volume: Expected `float`"),
        (json.dumps({**SAMPLE, "timestamp": None}), "timestamp: Expected `datetime`"),
        ('{"message_id": "1", "event_type": "compute.instance.create.end"}', "name: Missing"),
        (str({**SAMPLE, "volume": None}), "volume: Expected `float`, got `null`"),
        (str({**SAMPLE, "volume": float("nan")}), "expected a finite number"),
        (str({**SAMPLE, "resource_metadata": {"x": "\0"}}), "resource_metadata: Has a NUL"),
        ("{'name': 'cpu'", "the line is not a Python dictionary: '{' was never closed"),
        ("{'name': __import__('os').getpid()}", "__import__('os').getpid()\" is no text, number"),
        ("{'name': open('/etc/passwd').read()}", "is no text, number"),
        ("{'name': datetime.datetime(2026, 13, 1)}", "a date makes no sense"),
        ("{'name': datetime.datetime(2026, 1, 1, tzinfo=zone('CET'))}", "only UTC can"),
        ("{'a': " * 5000, "nested"),
        ("{'a': " + "[" * 50 + "]" * 50 + "}", "name: Missing"),
        ("{'na\0me': 1}", "the line is not a Python dictionary"),
        ("{'name': '\ud800'}", "the line is not UTF-8"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, reason):
    path = tmp_path / "samples"
    path.write_bytes(f"{json.dumps(SAMPLE)}\n\n{line}\n".encode("utf-8", "surrogatepass"))
    with pytest.raises(BadLine) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert reason in str(caught.value)


def test_bad_lines_may_be_skipped(tmp_path):
    path = tmp_path / "samples"
    path.write_text(f"{json.dumps(SAMPLE)}\nbad\n{json.dumps(SAMPLE)}\n{{\n")
    reader = SampleReader(skip_bad_lines=True)
    assert len(list(reader.read([str(path)]))) == 2
    assert (reader.samples, reader.bad_lines) == (2, 2)
    assert reader.first_bad.startswith(f"{path}:2: ")


@given(
    st.binary(max_size=30)
    | st.builds(
        lambda line, first, length, odd: line[:first] + odd + line[first + length :],
        st.sampled_from([json.dumps(SAMPLE).encode(), str(SAMPLE).encode()]),
        st.integers(0, 150),
        st.integers(0, 5),
        st.binary(max_size=5),
    )
)
def test_whatever_a_line_says_it_is_read_or_refused(line):
    with suppress(ValueError):
        assert all(one.name for one in samples_of(line))
