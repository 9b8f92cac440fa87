# SPDX-License-Identifier: Apache-2.0
"""The tables of series that agents sent lately, with the ids of their rows."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 64_000_000
"""What the tables may take in memory: enough for 4 million series."""

_OVERHEAD_BYTES = 500


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A table that was decoded before."""

    fingerprint: NDArray[np.uint64]
    """By row: stands for all that it says."""
    ids: NDArray[np.int64]
    """By row: the series that it was, 0 where there was none yet."""

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return self.fingerprint.nbytes + self.ids.nbytes + _OVERHEAD_BYTES


class KnownTables:
    """Tables by their id; those that were not used for longest give way. Thread-safe."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._tables: OrderedDict[int, KnownTable] = OrderedDict()
        self.size_bytes = 0
        """What all of them take in memory."""

    def __len__(self) -> int:
        return len(self._tables)

    def get(self, table_id: int) -> KnownTable | None:
        """Give a table, or None if it is not known (any more)."""
        with self._lock:
            known = self._tables.get(table_id)
            if known is not None:
                self._tables.move_to_end(table_id)
            return known

    def put(self, table_id: int, table: KnownTable) -> None:
        """Remember a table."""
        with self._lock:
            before = self._tables.pop(table_id, None)
            self._tables[table_id] = table
            self.size_bytes += table.size_bytes - (before.size_bytes if before else 0)
            while self.size_bytes > self._most_bytes:
                _, oldest = self._tables.popitem(last=False)
                self.size_bytes -= oldest.size_bytes
