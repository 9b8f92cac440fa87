# SPDX-License-Identifier: Apache-2.0
"""Pieces of hours: sealed when they are over, dropped when they expire, nothing lost between."""

import threading

import duckdb
import numpy as np
import pytest

from thermostat.samples.model import Sample, SampleType
from thermostat.store import housekeeping
from thermostat.store.base import Batch
from thermostat.store.embedded import DATABASE_FILE, EmbeddedStore
from thermostat.store.pieces import HOUR_US

NOW_US = 500_000 * HOUR_US
HOUR = 500_000


class Clock:
    def __init__(self) -> None:
        self.now_us = NOW_US

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock():
    return Clock()


def open_store(path, clock, **options) -> EmbeddedStore:
    return EmbeddedStore(path, min_free_mb=0, housekeeping_interval_s=3600, clock=clock, **options)


@pytest.fixture
def store(tmp_path, clock):
    opened = open_store(tmp_path, clock)
    yield opened
    opened.close()


def put(store, *stamps: int, resource_id: str = "vm-1") -> Batch:
    series = Sample(
        name="cpu",
        type=SampleType.GAUGE,
        unit="",
        volume=0.0,
        resource_id=resource_id,
        timestamp_us=NOW_US,
    )
    ids = np.repeat(store.intern([series]), len(stamps))
    return store.append(Batch(ids, np.array(stamps, np.int64), np.arange(len(stamps), dtype=float)))


def stamps(store) -> list[int]:
    ids = list(range(1, store.series_count + 1))
    return store.scan(ids, 0, 2 * NOW_US).timestamp_us.tolist()


def tables(store) -> list[str]:
    with store._database.cursor() as cursor:
        answer = cursor.execute("select table_name from duckdb_tables() order by all").fetchall()
    return [name for (name,) in answer]


def past_seal(hour: int = HOUR) -> int:
    return (hour + 1) * HOUR_US + housekeeping.SEAL_DELAY_US


def test_an_hour_is_sealed_once_it_is_over(store):
    put(store, NOW_US + 3, NOW_US + 1, NOW_US + 2)
    store.maintain(past_seal() - 1)
    assert tables(store) == [f"hour_{HOUR}_0"]
    store.maintain(past_seal())
    assert tables(store) == [f"hour_{HOUR}_0_sealed"]
    assert stamps(store) == [NOW_US + 1, NOW_US + 2, NOW_US + 3]


def test_a_sealed_hour_is_sorted_by_series_and_time(store):
    for at in (3, 1, 2):
        for vm in ("b", "a"):
            put(store, NOW_US + at, resource_id=vm)
    store.maintain(past_seal())
    with store._database.cursor() as cursor:
        rows = cursor.execute(
            f"select series_id, timestamp_us from hour_{HOUR}_0_sealed order by rowid"
        ).fetchall()
    assert rows == sorted(rows)
    assert len(rows) == 6


def test_late_samples_of_a_sealed_hour_are_kept_and_merged_later(store, clock):
    put(store, NOW_US + 1)
    store.maintain(past_seal())
    clock.now_us = past_seal() + 1
    assert len(put(store, NOW_US + 2)) == 1
    assert tables(store) == [f"hour_{HOUR}_0_sealed", f"hour_{HOUR}_1"]
    assert stamps(store) == [NOW_US + 1, NOW_US + 2]
    store.maintain(clock.now_us + housekeeping.SEAL_DELAY_US - 1)
    assert len(tables(store)) == 2, "the late piece stays open for a while, too"
    store.maintain(clock.now_us + housekeeping.SEAL_DELAY_US)
    assert tables(store) == [f"hour_{HOUR}_1_sealed"]
    assert stamps(store) == [NOW_US + 1, NOW_US + 2]


def test_a_late_sample_does_not_rewrite_a_large_hour(store, clock):
    put(store, *(NOW_US + at for at in range(1, 101)))
    store.maintain(past_seal())
    clock.now_us = past_seal()
    put(store, NOW_US + 1000)
    store.maintain(clock.now_us + housekeeping.SEAL_DELAY_US)
    assert tables(store) == [f"hour_{HOUR}_0_sealed", f"hour_{HOUR}_1_sealed"]
    assert len(stamps(store)) == 101


def test_samples_that_arrive_during_a_seal_are_kept(store, monkeypatch):
    """The trap: a row committed to the table that is being copied, and then dropped with it."""
    put(store, NOW_US + 1)
    replace = store._pieces.replace
    arrived = []

    def arrive_then_replace(old, new):
        # After the copy was made and the old table dropped, before anyone knows of it.
        arrived.append(len(put(store, NOW_US + 2)))
        replace(old, new)

    monkeypatch.setattr(store._pieces, "replace", arrive_then_replace)
    store.maintain(past_seal())
    assert arrived == [1]
    assert stamps(store) == [NOW_US + 1, NOW_US + 2]


def test_readers_and_writers_go_on_while_hours_are_sealed(store):
    """Every acknowledged sample is in every later answer, whatever is being sealed."""
    done = threading.Event()
    failures: list[str] = []
    acknowledged = 0

    def seal() -> None:
        step = 0
        while not done.is_set():
            step += 1
            store.maintain(past_seal(HOUR + 2 + step % 100))

    def read() -> None:
        while not done.is_set():
            before = acknowledged
            found = len(stamps(store))
            if found < before:
                failures.append(f"{found} of {before} acknowledged samples")

    threads = [threading.Thread(target=work) for work in (seal, read)]
    for thread in threads:
        thread.start()
    try:
        for number in range(120):
            acknowledged += len(put(store, NOW_US + number % 3 * HOUR_US + number))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert acknowledged == 120
    assert len(stamps(store)) == 120


def test_what_an_unfinished_seal_left_is_dropped_at_start(store, tmp_path, clock):
    put(store, NOW_US + 1, NOW_US + 2)
    store.close()
    with duckdb.connect(tmp_path / DATABASE_FILE) as connection:
        connection.execute(
            f"create table hour_{HOUR}_0_sealed as select * from hour_{HOUR}_0 limit 1"
        )
    again = open_store(tmp_path, clock)
    assert tables(again) == [f"hour_{HOUR}_0"]
    assert stamps(again) == [NOW_US + 1, NOW_US + 2]
    again.close()


def test_pieces_that_an_earlier_process_left_open_are_not_written_to(store, tmp_path, clock):
    put(store, NOW_US + 1)
    store.close()
    again = open_store(tmp_path, clock)
    put(again, NOW_US + 2)
    assert tables(again) == [f"hour_{HOUR}_0", f"hour_{HOUR}_1"]
    again.maintain(NOW_US + 10)
    assert tables(again) == [f"hour_{HOUR}_0_sealed", f"hour_{HOUR}_1"]
    again.maintain(past_seal())
    assert tables(again) == [f"hour_{HOUR}_1_sealed"]
    assert stamps(again) == [NOW_US + 1, NOW_US + 2]
    again.close()


def test_a_large_hour_is_split(store, monkeypatch):
    monkeypatch.setattr("thermostat.store.writer.MOST_ROWS", 2)
    monkeypatch.setattr(housekeeping, "MOST_ROWS", 2)
    for at in range(1, 6):
        put(store, NOW_US + at)
    assert len(tables(store)) == 3
    store.maintain(past_seal())
    assert tables(store) == [f"hour_{HOUR}_{number}_sealed" for number in (0, 1, 2)]
    assert len(stamps(store)) == 5


def test_a_failed_seal_is_made_good_later(store, monkeypatch):
    put(store, NOW_US + 1)

    def fail(_old, _new) -> None:
        raise RuntimeError("after the commit, before anyone knows")

    with monkeypatch.context() as broken:
        broken.setattr(store._pieces, "replace", fail)
        with pytest.raises(RuntimeError):
            store.maintain(past_seal())
    assert stamps(store) == [NOW_US + 1]
    store.maintain(past_seal())
    assert tables(store) == [f"hour_{HOUR}_0_sealed"]


def test_only_the_hours_of_a_span_are_read(store):
    put(store, *(NOW_US + hour * HOUR_US for hour in range(4)))

    def hours(start_us, end_us):
        return [piece.hour - HOUR for piece in store._pieces.between(start_us, end_us)]

    assert hours(None, None) == [0, 1, 2, 3]
    assert hours(NOW_US + HOUR_US - 1, NOW_US + 2 * HOUR_US) == [1, 2]
    assert hours(NOW_US + HOUR_US - 2, NOW_US + 2 * HOUR_US - 1) == [0, 1]
    assert hours(NOW_US + 3 * HOUR_US, None) == [3]
    assert hours(None, NOW_US - 1) == []


class TestRetention:
    @pytest.fixture
    def store(self, tmp_path, clock):
        opened = open_store(tmp_path, clock, retention_hours=2)
        yield opened
        opened.close()

    def test_whole_hours_are_dropped(self, store):
        put(store, NOW_US - HOUR_US + 1, NOW_US + 1)
        store.maintain(NOW_US + 2 * HOUR_US - 1)
        assert len(stamps(store)) == 2
        store.maintain(NOW_US + 2 * HOUR_US)
        assert stamps(store) == [NOW_US + 1]
        store.maintain(NOW_US + 3 * HOUR_US)
        assert tables(store) == []

    def test_an_older_sample_is_not_kept(self, store, caplog):
        assert len(put(store, NOW_US - 2 * HOUR_US, NOW_US - 2 * HOUR_US + 1)) == 1
        assert "1 samples are older than the retention" in caplog.text

    def test_a_restart_knows_samples_that_were_stored_before(self, store, tmp_path, clock):
        old, new = NOW_US - HOUR_US + 5, NOW_US + 5
        put(store, old, new)
        store.maintain(past_seal(HOUR - 1))
        store.close()
        again = open_store(tmp_path, clock, retention_hours=2)
        assert not len(put(again, old, new))
        assert len(put(again, old + 1)) == 1
        again.close()
