# SPDX-License-Identifier: Apache-2.0
"""A sample acknowledged is a sample on disk: processes that are killed, and disks that fail.

`kill -9` alone proves little, because the kernel keeps what a process wrote. So there is also a
test in which the kernel refuses to sync: whoever acknowledges then had not waited for the disk.
"""

import itertools
import multiprocessing
import os
import random
import resource
import threading
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np
import pytest

from tests.service.unsynced import CAN_REFUSE, refuse_to_sync
from thermostat.samples.model import Sample, SampleType
from thermostat.store.base import Batch, StoreError, StoreFull, StoreUnavailable
from thermostat.store.embedded import EmbeddedStore
from thermostat.store.pieces import HOUR_US

NOW_US = 1_800_000_000_000_000
ROWS = 50
ROUNDS = 15


def gauge(resource_id: str, timestamp_us: int = NOW_US) -> Sample:
    return Sample(
        name="cpu_util",
        type=SampleType.GAUGE,
        unit="%",
        volume=1.0,
        resource_id=resource_id,
        project_id="p",
        timestamp_us=timestamp_us,
    )


def open_store(path) -> EmbeddedStore:
    return EmbeddedStore(
        path,
        retention_hours=100_000,
        min_free_mb=0,
        housekeeping_interval_s=3600,  # tests call maintain() themselves
        clock=lambda: NOW_US,
    )


def put(store: EmbeddedStore, resource_id: str, timestamp_us: int) -> int:
    ids = store.intern([gauge(resource_id, timestamp_us)])
    return len(store.append(Batch(ids, np.array([timestamp_us]), np.array([1.0]))))


@contextmanager
def in_child(work, *args):
    """Run `work(connection, *args)` in a process that has opened nothing yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["thermostat.store.embedded"])
    ours, theirs = context.Pipe()
    child = context.Process(target=work, args=(theirs, *args))
    child.start()
    theirs.close()
    try:
        yield child, ours
    finally:
        child.kill()
        child.join()
        ours.close()


def answer_of(work, *args):
    """Give what `work` sends."""
    with in_child(work, *args) as (_, ours):
        assert ours.poll(60), "no answer within 60 s"
        return ours.recv()


# -- kill -9 ------------------------------------------------------------------------------------


def write_until_killed(connection: Connection, path, first_batch: int) -> None:
    """Tell which batches are stored, then store more in four threads, sealing all the while."""
    store = open_store(path)
    series = store.intern([gauge(f"vm-{number}") for number in range(ROWS)])
    rows = store.scan(series.tolist(), 0, 2 * NOW_US)
    counts = Counter(rows.volume.astype(int).tolist())
    connection.send({batch for batch, count in counts.items() if count == ROWS})
    connection.send({batch for batch, count in counts.items() if count != ROWS})
    numbers = itertools.count(first_batch)
    telling = threading.Lock()

    def write() -> None:
        for batch in numbers:
            new_series = store.intern([gauge(f"new-{batch}")])
            hour_us = NOW_US - (batch % 3) * HOUR_US
            ids = store.intern([gauge(f"vm-{number}") for number in range(ROWS)])
            stamps = np.full(ROWS, hour_us + batch, np.int64)
            store.append(Batch(ids, stamps, np.full(ROWS, float(batch))))
            with telling:
                connection.send((batch, int(new_series[0])))

    for _ in range(4):
        threading.Thread(target=write, daemon=True).start()
    for step in itertools.count(1):
        store.maintain(NOW_US + 5 * HOUR_US + step * HOUR_US)
        time.sleep(0.01)


def test_no_acknowledged_batch_is_lost_by_kills(tmp_path):
    acknowledged: set[int] = set()
    new_series: dict[str, int] = {}
    chance = random.Random(1)
    for _ in range(ROUNDS):
        first = max(acknowledged, default=0) + 1000
        with in_child(write_until_killed, tmp_path, first) as (child, ours):
            assert ours.poll(60), "the store did not open within 60 s"
            stored, torn = ours.recv(), ours.recv()
            assert acknowledged <= stored
            assert not torn, "a batch is stored in part, or twice"
            deadline = time.monotonic() + chance.uniform(0.02, 0.4)
            killed = False
            while True:
                if not killed and time.monotonic() > deadline:
                    child.kill()
                    killed = True
                try:
                    if ours.poll(0.01):
                        batch, series_id = ours.recv()
                        acknowledged.add(batch)
                        new_series[f"new-{batch}"] = series_id
                except (EOFError, ConnectionResetError):
                    break
    assert len(acknowledged) > ROUNDS
    store = open_store(tmp_path)
    try:
        for resource_id, series_id in new_series.items():
            assert store.get_series(series_id).key.resource_id == resource_id
    finally:
        store.close()


# -- a disk that cannot be synced ---------------------------------------------------------------


def store_without_sync(connection: Connection, path) -> None:
    store = open_store(path)
    outcomes = [put(store, "vm-1", NOW_US)]
    refuse_to_sync()
    for attempt in (
        lambda: put(store, "vm-1", NOW_US + 1),  # a known series: only DuckDB writes
        lambda: store.intern([gauge("vm-2")]).tolist(),  # a new one: only SQLite writes
    ):
        try:
            outcomes.append(attempt())
        except StoreError as error:
            outcomes.append(type(error))
    outcomes.append(store.check())
    connection.send(outcomes)
    time.sleep(60)


@pytest.mark.skipif(not CAN_REFUSE, reason="system call numbers unknown")
def test_nothing_is_acknowledged_that_was_not_synced(tmp_path):
    stored, sample, series, reason = answer_of(store_without_sync, tmp_path)
    assert stored == 1
    assert sample is StoreUnavailable
    assert series is StoreUnavailable
    assert "fsync" in reason


# -- a disk without room ------------------------------------------------------------------------


def fill_the_disk(connection: Connection, path) -> None:
    """Let files grow no further, as on a full disk, and later let them grow again."""
    store = open_store(path)
    acknowledged = [put(store, "vm-1", NOW_US)]
    ids = np.repeat(store.intern([gauge("vm-1")]), 20_000)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limit[1]))
    chance = np.random.default_rng(1)
    outcome, reason = None, None
    for step in range(1, 50):
        stamps = NOW_US + 1_000_000 * step + np.arange(20_000)
        try:
            acknowledged.append(len(store.append(Batch(ids, stamps, chance.random(20_000)))))
        except StoreError as error:
            outcome, reason = type(error), store.check()
            break
    time.sleep(1.5)  # at least one attempt to reopen while there is no room
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    deadline = time.monotonic() + 20
    while store.check() is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    after = put(store, "vm-1", NOW_US - 1)
    found = len(store.scan(ids[:1].tolist(), 0, 2 * NOW_US))
    connection.send((outcome, reason, store.check(), sum(acknowledged) + after, found))
    time.sleep(60)


def test_a_full_disk_is_told_and_survived(tmp_path):
    outcome, reason, later, acknowledged, found = answer_of(fill_the_disk, tmp_path)
    assert outcome is StoreFull
    assert reason
    assert later is None
    # The batch that was refused may be there nevertheless: its commit was never known.
    assert found - acknowledged in {0, 20_000}


# -- forks and second processes -----------------------------------------------------------------


def test_a_forked_child_cannot_use_the_store(tmp_path):
    store = open_store(tmp_path)
    put(store, "vm-1", NOW_US)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads
        child = os.fork()
    if child == 0:
        try:
            put(store, "vm-1", NOW_US + 1)
            os.write(writing, b"stored")
        except StoreUnavailable as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert "before a fork" in os.read(reading, 1000).decode()
    assert put(store, "vm-1", NOW_US + 2) == 1
    store.close()
    os.close(reading)
    os.close(writing)


def try_to_open(connection: Connection, path) -> None:
    try:
        open_store(path).close()
        connection.send("opened")
    except StoreUnavailable as error:
        connection.send(str(error))


def test_a_second_process_is_refused_and_told_who_has_the_store(tmp_path):
    store = open_store(tmp_path)
    assert f"PID {os.getpid()}" in answer_of(try_to_open, tmp_path)
    store.close()
    assert answer_of(try_to_open, tmp_path) == "opened"
