# SPDX-License-Identifier: Apache-2.0
"""The default store: samples in DuckDB, their series in SQLite, in one directory of this machine.

All that must hold for "a sample acknowledged is a sample on disk" is here and in the modules that
this one joins: `registry` (series), `committer` (group commit), `writer` (rows), `pieces` (tables),
`housekeeping` (sealing, retention), `queries` (reading), `database` and `wal` (the file).
"""

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from oslo_config import cfg

from thermostat.samples.model import Sample
from thermostat.store import selecting
from thermostat.store.base import (
    Batch,
    PeriodStatistics,
    Selection,
    Series,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Subscriber,
    reason_of,
)
from thermostat.store.clock import wall_clock_us
from thermostat.store.committer import Committer
from thermostat.store.database import Database
from thermostat.store.housekeeping import Housekeeping
from thermostat.store.pieces import HOUR_US, Pieces
from thermostat.store.queries import Queries
from thermostat.store.registry import Registry
from thermostat.store.writer import Writer, latest

LOG = logging.getLogger(__name__)

GROUP = cfg.OptGroup("store", title="Where samples are kept, and for how long")
OPTS = [
    cfg.StrOpt(
        "path",
        default="/var/lib/thermostat/samples",
        help="The directory that holds the samples. One process at a time can use it.",
    ),
    cfg.IntOpt(
        "retention_hours",
        default=168,
        min=1,
        help="Samples whose event time is older than this many hours are dropped, an hour at a "
        "time, and older ones that arrive are not kept.",
    ),
    cfg.IntOpt(
        "memory_limit_mb",
        default=1024,
        min=128,
        help="Megabytes that DuckDB may use; the process can pass this by some 160 MB.",
    ),
    cfg.IntOpt(
        "queue_samples",
        default=2_000_000,
        min=1,
        help="Samples that may wait to be written (24 bytes each). More are refused with 429.",
    ),
    cfg.IntOpt(
        "min_free_mb",
        default=512,
        min=0,
        help="Below this many free megabytes on the disk, new samples are refused with 503 and the "
        "server reports itself unready.",
    ),
    cfg.FloatOpt(
        "housekeeping_interval",
        default=10.0,
        min=0.1,
        help="Seconds between two rounds of sealing past hours and dropping expired ones.",
    ),
]

DATABASE_FILE = "samples.duckdb"
REGISTRY_FILE = "series.sqlite"
_MB = 1_000_000


class EmbeddedStore:
    """Samples on this machine's disk. Every method may be called from any thread.

    Open it after any fork: a child process cannot use it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        retention_hours: int = 168,
        memory_limit_mb: int = 1024,
        queue_samples: int = 2_000_000,
        min_free_mb: int = 512,
        housekeeping_interval_s: float = 10.0,
        clock: Callable[[], int] = wall_clock_us,
    ) -> None:
        """Open the directory, or make it. Raises StoreUnavailable or StoreFull."""
        self._path = Path(path)
        self._pid = os.getpid()
        self._clock = clock
        self._min_free_bytes = min_free_mb * _MB
        self._interval_s = housekeeping_interval_s
        self._stopping = threading.Event()
        self._reported: str | None = None
        self._path.mkdir(parents=True, exist_ok=True)
        retention_us = retention_hours * HOUR_US
        # DuckDB first: its lock keeps a second process away from both files.
        self._database = Database(self._path / DATABASE_FILE, memory_limit_mb=memory_limit_mb)
        self._registry = Registry(self._path / REGISTRY_FILE)
        self._pieces = Pieces()
        self._writer = Writer(self._database, self._pieces, retention_us=retention_us, clock=clock)
        self._housekeeping = Housekeeping(self._database, self._pieces, retention_us=retention_us)
        self._queries = Queries(self._database, self._pieces)
        self._load()
        self._committer = Committer(self._write, self._recover, queue_samples=queue_samples)
        self._housekeeper = threading.Thread(
            target=self._keep_house, name="store-housekeeper", daemon=True
        )
        self._housekeeper.start()

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> "EmbeddedStore":
        """Open the store that the [store] options describe."""
        conf.register_opts(OPTS, GROUP)
        options = conf.store
        return cls(
            options.path,
            retention_hours=options.retention_hours,
            memory_limit_mb=options.memory_limit_mb,
            queue_samples=options.queue_samples,
            min_free_mb=options.min_free_mb,
            housekeeping_interval_s=options.housekeeping_interval,
        )

    # -- the contract ---------------------------------------------------------------------------

    @property
    def fingerprint_key(self) -> int:
        """The key of fingerprints, kept with the series."""
        return self._registry.fingerprint_key

    def find(
        self, fingerprints: NDArray[np.uint64], guess: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Give the series that were last interned with these fingerprints, 0 where none was."""
        return self._registry.find(fingerprints, guess)

    def intern(
        self, samples: Sequence[Sample], fingerprints: NDArray[np.uint64] | None = None
    ) -> NDArray[np.int64]:
        """Give each sample's series id; new series are on disk when this returns."""
        self._check_process()
        return self._registry.intern(samples, fingerprints)

    def subscribe(self, callback: Subscriber) -> None:
        """Have `intern` call this with new and changed series, once they are on disk."""
        self._registry.subscribe(callback)

    def append(self, batch: Batch) -> Batch:
        """Store the batch; it is on disk when this returns. Gives the rows that are new."""
        self._check_process()
        if not len(batch):
            return batch
        return self._committer.submit(batch)

    def series(self, selection: Selection) -> Sequence[Series]:
        """Give the series that the selection matches, by ascending id."""
        return self._registry.select(selection)

    def get_series(self, series_id: int) -> Series:
        """Give one series; KeyError if there is none."""
        return self._registry.get(series_id)

    def all_series(self) -> Iterator[Series]:
        """Give every series by ascending id."""
        return self._registry.all()

    def scan(self, series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the samples with start < event time ≤ end, oldest first; None: of all series."""
        self._check_process()
        return self._queries.scan(series_ids, start_us, end_us)

    def latest(self, since_us: int) -> Batch:
        """Give the newest sample of each series that has one after this event time."""
        self._check_process()
        return latest(self._database, self._pieces, since_us)

    def statistics(
        self, selection: Selection, *, period_s: int | None = None, group_by: Sequence[str] = ()
    ) -> Sequence[PeriodStatistics]:
        """Give the statistics of each period and group that has samples."""
        self._check_process()
        selecting.check_period(period_s)
        selecting.check_group_by(group_by)
        return self._queries.statistics(
            self._registry.select(selection), selection, period_s=period_s, group_by=group_by
        )

    def check(self) -> str | None:
        """Give the reason why samples cannot be stored now, or None when they can."""
        if self._stopping.is_set():
            return "the store is closed"
        if self._database.failure:
            return f"the sample store is being reopened: {self._database.failure}"
        return self._lack_of_space()

    def close(self) -> None:
        """Commit what waits, and release the files."""
        self._check_process()
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._committer.stop()
        self._housekeeper.join()
        self._database.close()
        self._registry.close()

    @property
    def series_count(self) -> int:
        """How many series are registered."""
        return len(self._registry)

    # -- the committing thread ------------------------------------------------------------------

    def _write(self, batch: Batch) -> NDArray[np.bool_]:
        if self._database.failure:
            raise StoreUnavailable(f"the sample store: {self._database.failure}")
        lack = self._lack_of_space()
        if lack:
            raise StoreFull(lack)
        try:
            return self._writer.write(batch)
        except Exception as error:
            # Whether the commit took place is not known now: the reopened file will tell.
            self._database.failure = reason_of(error)
            raise

    def _recover(self) -> None:
        """Reopen the database after a failed commit or a fatal error, when there is space again."""
        failure = self._database.failure
        if failure is None or self._lack_of_space():
            return
        if failure != self._reported:
            LOG.error("The sample store is reopened: %s", failure)
            self._reported = failure
        try:
            self._database.reopen()
            self._load()
        except StoreError as error:
            self._database.failure = reason_of(error)
            self._stopping.wait(1)
            return
        self._reported = None
        LOG.warning("The sample store is open again")

    def _load(self) -> None:
        self._pieces.load(self._database)
        self._writer.load()

    # -- the housekeeping thread ----------------------------------------------------------------

    def _keep_house(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self.maintain(self._clock())
            except Exception:
                LOG.exception("Housekeeping in the sample store failed; it is tried again")

    def maintain(self, now_us: int) -> None:
        """Seal the hours that are over and drop those past the retention, as of this time."""
        if self._database.failure:
            return
        try:
            self._housekeeping.run(now_us)
        except Exception:
            self._pieces.load(self._database)  # how far it came is not known: list anew
            raise

    # -- guards ---------------------------------------------------------------------------------

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StoreUnavailable("the store was opened before a fork: open it in this process")

    def _lack_of_space(self) -> str | None:
        free = shutil.disk_usage(self._path).free
        if free >= self._min_free_bytes:
            return None
        return (
            f"only {free // _MB} MB are free on the disk of {self._path}:"
            f" at least {self._min_free_bytes // _MB} are needed (min_free_mb in [store])"
        )
