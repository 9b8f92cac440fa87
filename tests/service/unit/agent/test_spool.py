# SPDX-License-Identifier: Apache-2.0
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from thermostat.agent.spool import _HEADER, Spool

SIZE = 100_000


def drain(spool: Spool) -> list[bytes]:
    batches = []
    while (entry := spool.head()) is not None:
        batches.append(entry.batch)
        spool.remove(entry.number)
    return batches


def test_first_in_first_out(tmp_path):
    spool = Spool(tmp_path, SIZE)
    for batch in (b"a", b"", b"c" * 1000):
        spool.put(batch)
    assert len(spool) == 3
    assert drain(spool) == [b"a", b"", b"c" * 1000]
    assert (len(spool), spool.used_bytes) == (0, 0)
    assert spool.head() is None


def test_head_stays_until_it_is_removed(tmp_path):
    spool = Spool(tmp_path, SIZE)
    spool.put(b"a")
    assert spool.head() == spool.head()


def test_what_was_put_is_there_after_a_restart(tmp_path):
    spool = Spool(tmp_path, SIZE)
    spool.put(b"a")
    spool.put(b"b")
    spool.remove(spool.head().number)
    again = Spool(tmp_path, SIZE)
    again.put(b"c")
    assert drain(again) == [b"b", b"c"]


def test_when_full_the_oldest_go_first_and_it_is_said_once_a_burst(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    spool = Spool(tmp_path, 10 * (_HEADER.size + 100))
    for number in range(25):
        spool.put(bytes([number]) * 100)
    assert spool.dropped == 15
    assert len(caplog.records) == 1
    spool.remove(spool.head().number)
    for number in range(25, 30):
        spool.put(bytes([number]) * 100)
    assert len(caplog.records) == 2
    assert [batch[0] for batch in drain(spool)] == list(range(20, 30))


def test_a_batch_that_can_never_fit_is_dropped(tmp_path):
    spool = Spool(tmp_path, 1000)
    spool.put(b"x" * 1001)
    assert (len(spool), spool.dropped) == (0, 1)
    assert list(tmp_path.glob("*.batch")) == []


def test_a_smaller_bound_after_a_restart_drops_the_oldest(tmp_path):
    spool = Spool(tmp_path, SIZE)
    for number in range(10):
        spool.put(bytes([number]) * 100)
    again = Spool(tmp_path, 3 * (_HEADER.size + 100))
    assert [batch[0] for batch in drain(again)] == [7, 8, 9]


def test_removing_what_was_dropped_meanwhile_does_nothing(tmp_path):
    spool = Spool(tmp_path, 2 * (_HEADER.size + 100))
    spool.put(b"a" * 100)
    being_sent = spool.head()
    spool.put(b"b" * 100)
    spool.put(b"c" * 100)
    spool.remove(being_sent.number)
    spool.refuse(being_sent.number)
    assert [batch[:1] for batch in drain(spool)] == [b"b", b"c"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:0],
        lambda content: content[:5],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[:-1] + b"X",
        lambda content: bytes(len(content)),
    ],
)
def test_damaged_files_are_set_aside(tmp_path, damage):
    spool = Spool(tmp_path, SIZE)
    for batch in (b"first", b"second", b"third"):
        spool.put(batch)
    second = sorted(tmp_path.glob("*.batch"))[1]
    second.write_bytes(damage(second.read_bytes()))
    again = Spool(tmp_path, SIZE)
    assert drain(again) == [b"first", b"third"]
    assert again.damaged == 1
    assert [path.name for path in (tmp_path / "damaged").iterdir()] == [second.name]


def test_a_file_that_vanished_is_passed_over(tmp_path):
    spool = Spool(tmp_path, SIZE)
    spool.put(b"first")
    spool.put(b"second")
    next(iter(sorted(tmp_path.glob("*.batch")))).unlink()
    assert drain(spool) == [b"second"]


def test_what_was_being_written_when_killed_is_cleared_away(tmp_path):
    Spool(tmp_path, SIZE).put(b"whole")
    (tmp_path / ".2.partial").write_bytes(b"half")
    assert drain(Spool(tmp_path, SIZE)) == [b"whole"]
    assert not (tmp_path / ".2.partial").exists()


def test_refused_batches_are_kept_aside_within_a_bound(tmp_path):
    spool = Spool(tmp_path, SIZE)
    for number in range(30):
        spool.put(bytes([number]) * 1000)
        spool.refuse(spool.head().number)
    kept = sorted((tmp_path / "refused").iterdir())
    assert sum(path.stat().st_size for path in kept) <= SIZE / 10
    assert kept[-1].read_bytes().endswith(bytes([29]) * 1000)
    assert len(spool) == 0


def test_a_directory_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Spool(tmp_path / "file" / "spool", SIZE)


WRITER = """
import sys
from pathlib import Path
from thermostat.agent.spool import Spool
spool = Spool(Path(sys.argv[1]), 10**9)
number = int(sys.argv[2])
while True:
    spool.put(number.to_bytes(8, "little") * 500)
    print(number, flush=True)
    number += 1
"""


def test_kill_9_while_writing_loses_nothing_that_was_acknowledged(tmp_path):
    acknowledged = 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            for _ in range(20):
                acknowledged = int(writer.stdout.readline()) + 1
            os.kill(writer.pid, signal.SIGKILL)
            for line in writer.stdout:
                acknowledged = int(line) + 1
        # one more may have been written without having been acknowledged: take it as it is
        spool = Spool(tmp_path, 10**9)
        acknowledged = max(acknowledged, len(spool))
    numbers = [int.from_bytes(batch[:8], "little") for batch in drain(spool)]
    assert numbers == list(range(acknowledged))
    assert spool.damaged == 0


class SpoolMachine(RuleBasedStateMachine):
    """Compares a spool with a plain list, over restarts, damage and a bound."""

    @initialize(size=st.integers(60, 600))
    def open(self, size: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.size = size
        self.spool = Spool(Path(self.directory.name), size)
        self.expected: list[bytes] = []

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.directory.cleanup()

    @rule(batch=st.binary(max_size=150))
    def put(self, batch: bytes) -> None:
        self.spool.put(batch)
        size = _HEADER.size + len(batch)
        while self.expected and self.used() + size > self.size:
            self.expected.pop(0)
        if size <= self.size:
            self.expected.append(batch)

    @precondition(lambda self: self.expected)
    @rule()
    def deliver(self) -> None:
        entry = self.spool.head()
        assert entry.batch == self.expected.pop(0)
        self.spool.remove(entry.number)

    @precondition(lambda self: self.expected)
    @rule()
    def refuse(self) -> None:
        self.spool.refuse(self.spool.head().number)
        self.expected.pop(0)

    @rule()
    def restart(self) -> None:
        self.spool = Spool(Path(self.directory.name), self.size)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        files = sorted(Path(self.directory.name).glob("*.batch"))
        position = data.draw(st.integers(0, len(files) - 1))
        content = bytearray(files[position].read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 0xFF
        files[position].write_bytes(content)
        # it is found when it comes to the head: bring it there
        for batch in self.expected[:position]:
            entry = self.spool.head()
            assert entry.batch == batch
            self.spool.remove(entry.number)
        self.spool.head()
        del self.expected[: position + 1]

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "spool"):
            return
        assert len(self.spool) == len(self.expected)
        assert self.spool.used_bytes == self.used() <= self.size
        entry = self.spool.head()
        assert (entry.batch if entry else None) == (self.expected[0] if self.expected else None)
        files = list(Path(self.directory.name).glob("*.batch"))
        assert sum(path.stat().st_size for path in files) == self.used()

    def used(self) -> int:
        return sum(_HEADER.size + len(batch) for batch in self.expected)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
