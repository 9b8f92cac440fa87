# SPDX-License-Identifier: Apache-2.0
"""A transition is on disk, not only in the kernel, before the evaluator goes on from it.

`kill -9` cannot show that: the kernel keeps what a process wrote. So here the kernel refuses to
sync, and nothing that needs the disk may be called written. The store's part of this is in
`tests/service/unit/store/test_durability.py`.
"""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from tests.service.alarm_support import make_alarm, make_transition, open_database
from tests.service.unsynced import CAN_REFUSE, refuse_to_sync
from thermostat.db.alarms import AlarmRepository
from thermostat.db.history import Author

pytestmark = pytest.mark.skipif(not CAN_REFUSE, reason="system call numbers unknown")


def record_without_sync(connection: Connection, path: Path) -> None:
    """Send whether a transition is written: with a disk, and with none."""
    alarms = AlarmRepository(open_database(path))
    outcomes: list[Any] = []
    for name in ("a1", "a2"):
        alarm = make_alarm(alarm_id=name)
        alarms.create(alarm, Author())
        if name == "a2":
            refuse_to_sync()
        try:
            outcomes.append(alarms.record(make_transition(alarm)))
        except SQLAlchemyError as error:
            outcomes.append(type(error).__name__)
    connection.send(outcomes)


def test_no_transition_is_called_written_that_was_not_synced(tmp_path):
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=record_without_sync, args=(theirs, tmp_path / "alarms.sqlite"))
    child.start()
    theirs.close()
    assert ours.poll(60), "no answer within 60 s"
    assert ours.recv() == [True, "OperationalError"]
    child.join()
