# SPDX-License-Identifier: Apache-2.0
"""The databases of a server that has run for a while: a fleet's series, alarms, and recent samples.

They are made once a run by the project's own store and its own rows of alarms, not over HTTP, and
removed when the run ends. The clock that they belong to stands at `BASE_US`.
"""

import atexit
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import _fleet
from bench._fleet import METERS, PERIOD_S, POLLS, US_PER_S
from thermostat.alarms.model import Alarm
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.db.mapping import to_row
from thermostat.db.schema import upgrade
from thermostat.store.base import Batch
from thermostat.store.embedded import EmbeddedStore

BASE_US = int(time.time()) // 3600 * 3600 * US_PER_S - 1800 * US_PER_S
"""The newest instant of the data: half an hour before this hour, whose table is not sealed yet."""
AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where the databases are."""

    directory: Path

    @property
    def samples(self) -> Path:
        """The sample store."""
        return self.directory / "samples"

    @property
    def alarms(self) -> Path:
        """The alarm database."""
        return self.directory / "alarms.sqlite"


@contextmanager
def copy_of(count: int) -> Iterator[Dataset]:
    """Give databases of so many series and alarms to work with."""
    with tempfile.TemporaryDirectory(prefix="thermostat-bench-") as directory:
        yield Dataset(Path(shutil.copytree(_dataset(count).directory, Path(directory) / "data")))


@cache
def _dataset(count: int) -> Dataset:
    """Make the databases of so many series and alarms, once a run."""
    made = Dataset(Path(tempfile.mkdtemp(prefix="thermostat-bench-")))
    atexit.register(shutil.rmtree, made.directory, ignore_errors=True)
    began = time.monotonic()
    _store_samples(made.samples, count)
    stored = time.monotonic()
    write_alarms(made.alarms, _fleet.alarms(count, BASE_US))
    print(
        f"  {count} series with {POLLS} samples each: {stored - began:.0f} s; "
        f"{count} alarms: {time.monotonic() - stored:.0f} s",
        file=sys.stderr,
    )
    return made


def polled_at(count: int) -> NDArray[np.int64]:
    """Give the second of its minute in which each series is polled: all of an instance at once."""
    return (np.arange(count) // METERS) % PERIOD_S


def _store_samples(path: Path, count: int) -> None:
    store = EmbeddedStore(path, min_free_mb=0)
    try:
        ids = np.concatenate(
            [
                store.intern(_fleet.samples(numbers, BASE_US - POLLS * PERIOD_S * US_PER_S))
                for numbers in _parts(count)
            ]
        )
        first_us = BASE_US - POLLS * PERIOD_S * US_PER_S + (1 + polled_at(count)) * US_PER_S
        for poll in range(POLLS):
            at_us = first_us + poll * PERIOD_S * US_PER_S
            for part in _parts(count):
                rows = slice(part.start, part.stop)
                volume = np.full(len(part), 10.0 + poll)
                store.append(Batch(ids[rows], at_us[rows], volume))
    finally:
        store.close()


def write_alarms(path: Path, alarms: Iterable[Alarm]) -> None:
    """Add rows of alarms to a database, which is made where it is missing."""
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    AlarmRepository(engine).note_judged(BASE_US)
    engine.dispose()
    connection = sqlite3.connect(path)
    rows = map(to_row, alarms)
    while part := list(islice(rows, AT_ONCE)):
        names = ", ".join(part[0])
        values = ", ".join(f":{name}" for name in part[0])
        with connection:
            connection.executemany(f"insert into alarm ({names}) values ({values})", part)
    connection.close()


def _parts(count: int) -> Iterator[range]:
    for begin in range(0, count, 10 * AT_ONCE):
        yield range(begin, min(count, begin + 10 * AT_ONCE))
