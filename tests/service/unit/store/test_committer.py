# SPDX-License-Identifier: Apache-2.0
"""Group commit: who waits for which commit, and what they learn from it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from thermostat.store.base import Batch, StoreBusy, StoreFull, StoreUnavailable
from thermostat.store.committer import Committer


def batch(*volumes: float) -> Batch:
    rows = len(volumes)
    return Batch(np.ones(rows, np.int64), np.arange(rows), np.array(volumes, np.float64))


class Disk:
    """Takes groups, as slowly and as badly as it is told."""

    def __init__(self) -> None:
        self.groups: list[list[float]] = []
        self.open = threading.Event()
        self.open.set()
        self.reached = threading.Event()
        self.error: Exception | None = None

    def write(self, rows: Batch):
        self.reached.set()
        assert self.open.wait(10)
        if self.error:
            raise self.error
        self.groups.append(rows.volume.tolist())
        return rows.volume >= 0  # negative ones are known already

    def hold(self) -> None:
        self.open.clear()
        self.reached.clear()


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def committer(disk):
    running = Committer(disk.write, lambda: None, queue_samples=10)
    yield running
    disk.open.set()
    running.stop()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def hold_one(committer, disk, pool):
    """Keep the committing thread busy with one batch, so that the next ones queue up."""
    disk.hold()
    held = pool.submit(committer.submit, batch(0))
    assert disk.reached.wait(10)
    return held


def wait_for_queue(committer, samples: int) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if committer.queued_samples == samples:
            return
        pause.wait(0.01)
    pytest.fail(f"{committer.queued_samples} samples are queued, not {samples}")


def test_all_that_waits_is_one_commit(committer, disk, pool):
    held = hold_one(committer, disk, pool)
    waiting = [pool.submit(committer.submit, batch(number)) for number in range(1, 6)]
    wait_for_queue(committer, 5)
    disk.open.set()
    assert held.result(10).volume.tolist() == [0]
    assert [one.result(10).volume.tolist() for one in waiting] == [[1], [2], [3], [4], [5]]
    assert [sorted(group) for group in disk.groups] == [[0], [1, 2, 3, 4, 5]]


def test_each_request_learns_its_own_new_rows(committer, disk, pool):
    hold_one(committer, disk, pool)
    first = pool.submit(committer.submit, batch(1, -1))
    second = pool.submit(committer.submit, batch(-2, 2, 3))
    wait_for_queue(committer, 5)
    disk.open.set()
    assert first.result(10).volume.tolist() == [1]
    assert second.result(10).volume.tolist() == [2, 3]


def test_nothing_is_acknowledged_before_the_commit(committer, disk, pool):
    held = hold_one(committer, disk, pool)
    assert not held.done()
    disk.open.set()
    held.result(10)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreFull("no room"), StoreFull),
        (StoreUnavailable("no disk"), StoreUnavailable),
        (ValueError("a defect"), StoreUnavailable),
    ],
)
def test_a_failed_commit_fails_every_request_of_the_group(committer, disk, pool, error, expected):
    held = hold_one(committer, disk, pool)
    others = [pool.submit(committer.submit, batch(number)) for number in (1, 2)]
    wait_for_queue(committer, 2)
    disk.error = error
    disk.open.set()
    for one in (held, *others):
        with pytest.raises(expected, match=str(error)):
            one.result(10)
    disk.error = None
    assert committer.submit(batch(9)).volume.tolist() == [9]


def test_a_full_queue_refuses_at_once(committer, disk, pool):
    hold_one(committer, disk, pool)
    waiting = pool.submit(committer.submit, batch(*range(8)))
    wait_for_queue(committer, 8)
    with pytest.raises(StoreBusy, match="8 samples wait"):
        committer.submit(batch(1, 2, 3))
    disk.open.set()
    waiting.result(10)
    assert len(committer.submit(batch(1, 2, 3))) == 3


def test_a_batch_larger_than_the_queue_is_taken_when_nothing_waits(committer):
    assert len(committer.submit(batch(*range(50)))) == 50


def test_stopping_commits_what_waits(disk, pool):
    committer = Committer(disk.write, lambda: None, queue_samples=10)
    hold_one(committer, disk, pool)
    waiting = pool.submit(committer.submit, batch(1))
    wait_for_queue(committer, 1)
    stopping = pool.submit(committer.stop)
    disk.open.set()
    assert waiting.result(10).volume.tolist() == [1]
    stopping.result(10)
    with pytest.raises(StoreUnavailable, match="closed"):
        committer.submit(batch(2))


def test_the_thread_survives_a_failing_idle_call(disk, caplog):
    def fail() -> None:
        raise RuntimeError("idle failed")

    committer = Committer(disk.write, fail, queue_samples=10)
    assert len(committer.submit(batch(1))) == 1
    assert len(committer.submit(batch(2))) == 1
    committer.stop()
    assert "idle failed" in caplog.text


def test_under_load_a_commit_waits_for_those_that_shared_the_last_one(committer, disk, pool):
    hold_one(committer, disk, pool)
    together = [pool.submit(committer.submit, batch(number)) for number in (1, 2)]
    wait_for_queue(committer, 2)
    disk.open.set()
    for one in together:
        one.result(10)
    first = pool.submit(committer.submit, batch(3))
    second = pool.submit(committer.submit, batch(4))
    assert [len(one.result(10)) for one in (first, second)] == [1, 1]
    alone = pool.submit(committer.submit, batch(5))  # nobody else comes: it is not held for long
    assert len(alone.result(1)) == 1
    assert sorted(row for group in disk.groups for row in group) == [0, 1, 2, 3, 4, 5]
