# SPDX-License-Identifier: Apache-2.0
"""The series registry: what is on disk when, and what a restart finds."""

import sqlite3
import threading

import numpy as np
import pytest

from thermostat.samples.model import Sample, SampleType
from thermostat.store.base import Selection, StoreFull, StoreUnavailable
from thermostat.store.registry import Registry


def sample(resource_id: str = "vm-1", **fields) -> Sample:
    return Sample(
        **{
            "name": "cpu_util",
            "type": SampleType.GAUGE,
            "unit": "%",
            "volume": 1.0,
            "resource_id": resource_id,
            "project_id": "p",
            "timestamp_us": 0,
            **fields,
        }
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "series.sqlite"


@pytest.fixture
def registry(path):
    opened = Registry(path)
    yield opened
    opened.close()


def committed(path) -> list[tuple]:
    """Give what another connection sees."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("select series_id, resource_id from series").fetchall()
    finally:
        connection.close()


def test_every_commit_is_synced(registry):
    assert registry.settings() == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL


def test_a_new_series_is_committed_before_its_id_is_given(registry, path):
    ids = registry.intern([sample("a"), sample("b")]).tolist()
    assert committed(path) == list(zip(ids, ["a", "b"], strict=True))


def test_a_restart_finds_everything(registry, path):
    metadata = {"user_metadata": {"server_group": "wéb"}, "n": 1.5, "none": None}
    samples = [
        sample("a", metadata=metadata, user_id="u", source="ceilometer"),
        sample("b", project_id=None, type=SampleType.CUMULATIVE, unit="ns", name="cpu"),
    ]
    fingerprints = np.array([2**64 - 1, 77], np.uint64)
    ids = registry.intern(samples, fingerprints).tolist()
    before = [registry.get(series_id) for series_id in ids]
    registry.close()
    again = Registry(path)
    assert again.fingerprint_key == registry.fingerprint_key
    assert again.find(fingerprints).tolist() == ids
    assert [again.get(series_id) for series_id in ids] == before
    assert again.intern(samples).tolist() == ids
    assert [one.series_id for one in again.select(Selection("cpu", None))] == ids[1:]
    again.close()


def test_known_series_write_nothing(registry):
    registry.intern([sample()])
    before = registry._file.connection.total_changes
    registry.intern([sample(timestamp_us=5, volume=7.0)])
    assert registry._file.connection.total_changes == before


@pytest.mark.parametrize(
    "change",
    [{"metadata": {"a": 1}}, {"unit": "percent"}, {"user_id": "u"}, {"source": "other"}],
)
def test_a_change_survives_a_restart(registry, path, change):
    [series_id] = registry.intern([sample()]).tolist()
    registry.intern([sample(**change)])
    registry.close()
    again = Registry(path)
    [(field, value)] = change.items()
    assert getattr(again.get(series_id), field) == value
    assert len(again) == 1
    again.close()


def test_a_file_of_the_first_release_is_taken_over(path):
    connection = sqlite3.connect(path)
    connection.execute(
        "create table series (series_id integer primary key, meter text not null,"
        " resource_id text not null, project_id text, type text not null, unit text not null,"
        " user_id text, source text not null, metadata text not null) strict"
    )
    connection.execute(
        "insert into series values (1, 'cpu_util', 'a', 'p', 'gauge', '%', null, 'openstack', '{}')"
    )
    connection.commit()
    connection.close()
    for _ in range(2):  # the second time it has been taken over already
        registry = Registry(path)
        assert registry.get(1).first_us == 0
        assert registry.intern([sample("a", timestamp_us=5)]).tolist() == [1]
        registry.intern([sample("b", timestamp_us=5)])
        assert registry.get(2).first_us == 5
        registry.close()


def test_series_of_one_resource_share_their_metadata_after_a_restart(registry, path):
    for name in ("cpu", "cpu_util"):
        registry.intern([sample(name=name, metadata={"flavor": {"name": "m1"}})])
    registry.close()
    again = Registry(path)
    assert again.get(1).metadata is again.get(2).metadata
    again.close()


def test_many_threads_agree_on_ids(registry):
    samples = [sample(f"vm-{number}") for number in range(200)]
    answers = []

    def intern() -> None:
        answers.append(registry.intern(samples).tolist())

    threads = [threading.Thread(target=intern) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry) == 200
    assert all(answer == answers[0] for answer in answers)
    assert len(answers) == 8


def test_a_full_disk_registers_nothing(registry, path):
    registry.intern([sample("a")])
    pages = registry._file.connection.execute("pragma page_count").fetchone()[0]
    registry._file.connection.execute(f"pragma max_page_count={pages + 1}")
    many = [sample(f"vm-{number}", metadata={"filler": "x" * 500}) for number in range(100)]
    with pytest.raises(StoreFull, match="full"):
        registry.intern(many)
    assert len(registry) == 1
    assert len(committed(path)) == 1
    registry._file.connection.execute("pragma max_page_count=100000")
    assert registry.intern(many).tolist() == list(range(2, 102))


def test_a_damaged_file_is_told(path):
    path.write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(StoreUnavailable, match="series registry"):
        Registry(path)


def test_two_keys_with_one_hash_are_two_series(registry, monkeypatch):
    monkeypatch.setattr(Registry, "_key_hash", lambda *_: 7)
    ids = registry.intern([sample("a"), sample("b")]).tolist()
    assert len(set(ids)) == 2
    assert registry.intern([sample("b"), sample("a")]).tolist() == ids[::-1]
    assert len(registry) == 2


def test_a_series_takes_little_memory(registry):
    registry.intern([sample(f"vm-{number}") for number in range(20_000)])
    assert registry.size_bytes < 80 * 20_000
