# SPDX-License-Identifier: Apache-2.0
"""Samples that are ahead of the steps of their window, until their time comes. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples of windows, as columns of one length."""

    window: NDArray[np.int32]
    series: NDArray[np.int64]
    timestamp_us: NDArray[np.int64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.window)

    def where(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Rows":
        """Give the rows that a mask or an index array selects, in its order."""
        return Rows(
            self.window[rows], self.series[rows], self.timestamp_us[rows], self.volume[rows]
        )


class Held:
    """Rows that wait, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[Rows] = []
        self._count = 0
        self.dropped = 0
        """Rows that there was no room for."""

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Rows) -> None:
        """Keep these rows; what is beyond the most that may wait is dropped and counted."""
        room = self._most - self._count
        if len(rows) > room:
            self.dropped += len(rows) - room
            rows = rows.where(np.arange(room))
        if len(rows):
            self._parts.append(rows)
            self._count += len(rows)

    def take(self) -> Rows | None:
        """Give all rows and keep none; None where there are none."""
        if not self._parts:
            return None
        parts, self._parts, self._count = self._parts, [], 0
        if len(parts) == 1:
            return parts[0]
        return Rows(
            np.concatenate([part.window for part in parts]),
            np.concatenate([part.series for part in parts]),
            np.concatenate([part.timestamp_us for part in parts]),
            np.concatenate([part.volume for part in parts]),
        )
