# SPDX-License-Identifier: Apache-2.0
"""Ingestion: what is derived, stored and told, and what a failing store or a restart changes."""

import msgspec
import numpy as np
import pytest

from thermostat.ingest import Ingest, UnknownMediaType
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import COLUMNAR_TYPE, InvalidSamples, encode_columnar
from thermostat.store.base import Selection, StoreFull
from thermostat.store.memory import MemoryStore
from thermostat.tables import KnownTable, KnownTables

S = 1_000_000
NOW_US = 1_800_000_000 * S
JSON = "application/json"


class Store(MemoryStore):
    """A store whose disk can be full."""

    full = False

    def append(self, batch):
        if self.full:
            raise StoreFull("no room")
        return super().append(batch)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def told():
    return []


@pytest.fixture
def ingest(store, told):
    return Ingest(store, told.append, clock=lambda: NOW_US)


def cpu(at_s: int, volume_ns: float, **fields) -> dict:
    return {
        "name": "cpu",
        "type": "cumulative",
        "unit": "ns",
        "volume": volume_ns,
        "resource_id": "vm-1",
        "project_id": "p",
        "timestamp": f"2027-01-15T08:00:{at_s:02d}",
        "resource_metadata": {"vcpus": 2},
        **fields,
    }


def send(ingest, *samples: dict) -> int:
    return ingest.receive(msgspec.json.encode(samples), JSON)


def cpu_util(store) -> list[float]:
    return [one.last for one in store.statistics(Selection("cpu_util", "p"), period_s=1)]


def test_json_counters_become_rates(ingest, store):
    assert send(ingest, cpu(0, 0), cpu(10, 5e9)) == 2
    assert cpu_util(store) == [25]  # 5 of 10 s of 2 CPUs
    [raw] = store.statistics(Selection("cpu", "p"))
    assert (raw.count, raw.unit) == (2, "ns")


def test_rates_go_on_between_requests(ingest, store):
    for at_s in (0, 10, 20):
        send(ingest, cpu(at_s, at_s * 1e9))
    assert cpu_util(store) == [50, 50]


def test_what_is_stored_is_told_with_what_was_derived(ingest, store, told):
    send(ingest, cpu(0, 0), cpu(10, 5e9))
    [batch] = told
    meters = [store.get_series(number).key.meter for number in batch.series_id.tolist()]
    assert sorted(meters) == ["cpu", "cpu", "cpu_util"]


def test_the_columnar_form_is_derived_by_the_sender(ingest, store):
    samples = [
        Sample(
            name="cpu",
            type=SampleType.CUMULATIVE,
            unit="ns",
            volume=at * 1e9,
            resource_id="vm-1",
            project_id="p",
            timestamp_us=NOW_US + at * S,
        )
        for at in (0, 10)
    ]
    assert ingest.receive(encode_columnar(samples), COLUMNAR_TYPE) == 2
    assert cpu_util(store) == []


def test_a_repeated_request_is_accepted_and_neither_stored_nor_told_again(ingest, store, told):
    for _ in range(2):
        assert send(ingest, cpu(0, 0), cpu(10, 5e9)) == 2
    assert [one.count for one in store.statistics(Selection("cpu", "p"))] == [2]
    assert len(told) == 1


def test_a_refused_request_loses_no_rate(ingest, store, told):
    """The deriver saw the counter at the first try; the rate must be stored at the second."""
    send(ingest, cpu(0, 0))
    store.full = True
    for _ in range(2):
        with pytest.raises(StoreFull):
            send(ingest, cpu(10, 5e9))
    assert len(told) == 1
    store.full = False
    send(ingest, cpu(10, 5e9))
    send(ingest, cpu(20, 15e9))
    assert cpu_util(store) == [25, 50]


def test_a_restart_loses_no_rate(ingest, store):
    send(ingest, cpu(0, 0))
    restarted = Ingest(store, lambda _batch: None, clock=lambda: NOW_US)
    send(restarted, cpu(10, 5e9))
    assert cpu_util(store) == [25]


def test_one_bad_sample_refuses_all(ingest, store, told):
    with pytest.raises(InvalidSamples, match="sample 1: volume"):
        send(ingest, cpu(0, 0), cpu(10, "much"))
    assert not store.series(Selection("cpu", None))
    assert not told


def test_an_empty_request_tells_nothing(ingest, told):
    assert send(ingest) == 0
    assert not told


def test_an_unknown_media_type(ingest):
    with pytest.raises(UnknownMediaType, match="'text/csv' is not one of"):
        ingest.receive(b"", "text/csv")


def test_counters_that_are_read_no_more_are_forgotten(store):
    now = [NOW_US]
    ingest = Ingest(store, lambda _batch: None, clock=lambda: now[0])
    send(ingest, cpu(0, 0), cpu(10, 5e9))
    now[0] += 2 * 86_400 * S
    send(ingest)
    send(ingest, cpu(20, 9e9), cpu(40, 19e9))
    assert cpu_util(store) == [25, 25]  # none from 10 to 20 s


def test_the_table_of_a_frame_is_decoded_once(ingest, store, monkeypatch):
    def frame(at_s: int, metadata: dict) -> bytes:
        one = Sample(
            name="x",
            type=SampleType.GAUGE,
            unit="",
            volume=1.0,
            resource_id="r",
            timestamp_us=NOW_US + at_s * S,
            metadata=metadata,
        )
        return encode_columnar([one])

    ingest.receive(frame(0, {"a": 1}), COLUMNAR_TYPE)
    monkeypatch.setattr("thermostat.samples.frames.Frame.table", None)
    assert ingest.receive(frame(1, {"a": 1}), COLUMNAR_TYPE) == 1
    monkeypatch.undo()
    ingest.receive(frame(2, {"a": 2}), COLUMNAR_TYPE)
    assert store.get_series(1).metadata == {"a": 2}
    ingest.receive(frame(3, {"a": 1}), COLUMNAR_TYPE)  # the remembered table, true again
    assert store.get_series(1).metadata == {"a": 1}


def test_remembered_tables_are_bounded():
    tables = KnownTables(most_bytes=10_000)
    for number in range(100):
        tables.put(number, KnownTable(np.zeros(10, np.uint64), np.zeros(10, np.int64)))
        tables.get(0)
    assert tables.size_bytes <= 10_000
    assert tables.get(0) is not None, "the one in use stays"
    assert tables.get(99) is not None
    assert tables.get(50) is None
    assert 10 < len(tables) < 20
