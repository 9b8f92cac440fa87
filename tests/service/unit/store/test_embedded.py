# SPDX-License-Identifier: Apache-2.0
"""The embedded store as a whole: restarts, readiness, damaged logs, options."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from oslo_config import cfg

from thermostat.samples.model import Sample, SampleType
from thermostat.store import queries
from thermostat.store.base import (
    Batch,
    InvalidSelection,
    Selection,
    StoreFull,
    StoreUnavailable,
)
from thermostat.store.embedded import DATABASE_FILE, GROUP, OPTS, EmbeddedStore

NOW_US = 1_800_000_000_000_000


def open_store(path, **options) -> EmbeddedStore:
    return EmbeddedStore(path, **{"min_free_mb": 0, "clock": lambda: NOW_US, **options})


def put(store, *stamps: int) -> Batch:
    series = Sample(
        name="cpu", type=SampleType.GAUGE, unit="", volume=0.0, resource_id="a", timestamp_us=0
    )
    ids = np.repeat(store.intern([series]), len(stamps))
    return store.append(Batch(ids, np.array(stamps, np.int64), np.ones(len(stamps))))


def count(store) -> int:
    return sum(one.count for one in store.statistics(Selection("cpu", None)))


def test_a_restart_finds_samples_and_series(tmp_path):
    store = open_store(tmp_path)
    put(store, NOW_US, NOW_US - 1)
    store.close()
    again = open_store(tmp_path)
    assert count(again) == 2
    assert not len(put(again, NOW_US, NOW_US - 1))
    assert len(put(again, NOW_US + 1)) == 1
    again.close()


def test_a_sample_from_the_future_does_not_hide_what_is_new(tmp_path):
    store = open_store(tmp_path)
    put(store, NOW_US + 86_400_000_000)
    store.close()
    again = open_store(tmp_path)
    assert len(put(again, NOW_US, NOW_US + 86_400_000_000)) == 1
    again.close()


def test_a_closed_store_refuses(tmp_path):
    store = open_store(tmp_path)
    put(store, NOW_US)
    store.close()
    store.close()
    assert store.check() == "the store is closed"
    with pytest.raises(StoreUnavailable):
        put(store, NOW_US + 1)
    with pytest.raises(StoreUnavailable):
        count(store)


def test_too_little_free_space_is_told_and_refused(tmp_path):
    store = open_store(tmp_path)
    put(store, NOW_US)
    store._min_free_bytes = shutil.disk_usage(tmp_path).total + 1
    assert "min_free_mb" in store.check()
    with pytest.raises(StoreFull, match="MB are free"):
        put(store, NOW_US + 1)
    assert count(store) == 1, "what is stored can still be read"
    store._min_free_bytes = 0
    assert store.check() is None
    assert len(put(store, NOW_US + 1)) == 1
    store.close()


def test_after_a_failed_commit_the_file_tells_what_was_stored(tmp_path, monkeypatch):
    """The commit succeeds, but its answer is lost: the retry must not double the sample."""
    store = open_store(tmp_path)
    put(store, NOW_US)
    written = store._pieces.written

    def fail(*_args) -> None:
        raise RuntimeError("after the commit")

    monkeypatch.setattr(store._pieces, "written", fail)
    with pytest.raises(StoreUnavailable, match="after the commit"):
        put(store, NOW_US + 1)
    monkeypatch.setattr(store._pieces, "written", written)
    for _ in range(100):
        if store.check() is None:
            break
        store._stopping.wait(0.05)
    assert not len(put(store, NOW_US + 1))
    assert count(store) == 2
    store.close()


def test_a_failure_without_a_message_is_a_failure(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    put(store, NOW_US)
    seen = []

    def fail(*_args) -> None:
        raise MemoryError

    def reopen() -> None:
        seen.append(store._database.failure)
        raise StoreUnavailable

    monkeypatch.setattr(store._pieces, "written", fail)
    monkeypatch.setattr(store._database, "reopen", reopen)
    with pytest.raises(StoreUnavailable, match="MemoryError"):
        put(store, NOW_US + 1)
    with pytest.raises(StoreUnavailable, match="the sample store: StoreUnavailable"):
        put(store, NOW_US + 1)
    assert seen[0] == "MemoryError()"
    assert "StoreUnavailable" in store.check()
    monkeypatch.undo()
    for _ in range(100):
        if store.check() is None:
            break
        store._stopping.wait(0.05)
    assert not len(put(store, NOW_US + 1)), "the commit had taken place"
    store.close()


def test_too_many_datapoints_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(queries, "MOST_DATAPOINTS", 3)
    store = open_store(tmp_path)
    put(store, *(NOW_US + second * 1_000_000 for second in range(4)))
    with pytest.raises(InvalidSelection, match="period: more than 3 datapoints"):
        store.statistics(Selection("cpu", None), period_s=1)
    assert len(store.statistics(Selection("cpu", None), period_s=60)) == 2
    store.close()


def test_options(tmp_path):
    conf = cfg.ConfigOpts()
    conf([], project="thermostat", default_config_files=[])
    conf.register_opts(OPTS, GROUP)
    conf.set_override("path", str(tmp_path / "new" / "samples"), "store")
    conf.set_override("min_free_mb", 0, "store")
    store = EmbeddedStore.from_conf(conf)
    assert (tmp_path / "new" / "samples" / DATABASE_FILE).exists()
    store.close()


# -- a log whose end is damaged -----------------------------------------------------------------


def killed_after(path, batches: int) -> None:
    """Let a process store so many batches of one sample, and die without closing."""
    script = f"""
import os, sys
sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})
from test_embedded import NOW_US, open_store, put
store = open_store({str(path)!r})
for number in range({batches}):
    put(store, NOW_US + number)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture
def log(tmp_path):
    killed_after(tmp_path, 5)
    return tmp_path / (DATABASE_FILE + ".wal")


def test_a_damaged_end_is_cut_off_and_kept_aside(log, tmp_path, caplog):
    content = bytearray(log.read_bytes())
    content[-3] ^= 0xFF
    log.write_bytes(content)
    store = open_store(tmp_path)
    assert count(store) == 4  # all but the one whose commit is damaged
    assert "is damaged" in caplog.text
    [aside] = tmp_path.glob("*.damaged-*")
    assert aside.read_bytes() == content
    put(store, NOW_US + 4)
    store.close()
    again = open_store(tmp_path)
    assert count(again) == 5
    again.close()


def test_an_end_of_zeros_is_cut_off(log, tmp_path):
    content = log.read_bytes()
    log.write_bytes(content[:-15] + bytes(4096))
    store = open_store(tmp_path)
    assert count(store) == 4
    store.close()


def test_damage_before_the_end_is_left_to_the_operator(log, tmp_path, caplog):
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0xFF
    log.write_bytes(content)
    with pytest.raises(StoreUnavailable, match="Corrupt WAL file"):
        open_store(tmp_path)
    assert "before its end" in caplog.text
    assert log.read_bytes() == content
