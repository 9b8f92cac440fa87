# SPDX-License-Identifier: Apache-2.0
"""A map from 64-bit fingerprints to small numbers, looked up for whole batches at once.

An open-addressing hash table with linear probing, in NumPy arrays: 16 to 24 bytes an entry, and a
lookup costs tens of nanoseconds where a dictionary of a million tuples costs microseconds. The
fingerprints must be spread evenly, as those of a hash function are.
"""

import numpy as np
from numpy.typing import NDArray

from thermostat.samples.growing import with_length

_FEWEST_SLOTS = 1024


class FingerprintTable:
    """Numbers from 1 by fingerprint. A number has one fingerprint, the newest; not thread-safe."""

    def __init__(self) -> None:
        self._fingerprint: NDArray[np.uint64] = np.zeros(1, np.uint64)
        """By number; 0: none. Nothing has the number 0."""
        self._slots: NDArray[np.int32] = np.zeros(_FEWEST_SLOTS, np.int32)
        """Numbers at the places that their fingerprints choose; 0: free.

        A number that got another fingerprint stays at its old place until the table grows: it is
        told by its fingerprint, which does not fit there any more.
        """
        self._used = 0

    def load(self, fingerprints: NDArray[np.uint64]) -> None:
        """Give the numbers from 1 on these fingerprints, which differ from each other; 0: none."""
        self._fingerprint = np.concatenate([np.zeros(1, np.uint64), fingerprints])
        self._rebuild()

    @property
    def size_bytes(self) -> int:
        """What the table takes in memory."""
        return self._fingerprint.nbytes + self._slots.nbytes

    def find(
        self, fingerprints: NDArray[np.uint64], guess: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Give the number of each fingerprint, 0 where there is none.

        `guess` has the numbers that they had before; it is given back itself where it still holds.
        """
        wanted = _without_zero(fingerprints)
        if guess is None:
            return self._search(wanted)
        right = self._fingerprint[guess] == wanted
        if right.all():
            return guess
        found = np.where(right, guess, 0)
        wrong = np.flatnonzero(~right)
        found[wrong] = self._search(wanted[wrong])
        return found

    def put(self, numbers: NDArray[np.int64], fingerprints: NDArray[np.uint64]) -> None:
        """Give these numbers these fingerprints; of several for one number the last one holds.

        A number that had one of them before has none then.
        """
        if not len(numbers):
            return
        numbers, fingerprints = _last_of_each(numbers, _without_zero(fingerprints))
        held = self.find(fingerprints)
        new = held != numbers
        numbers, fingerprints, held = numbers[new], fingerprints[new], held[new]
        self._fingerprint = with_length(self._fingerprint, int(numbers.max(initial=0)) + 1)
        self._fingerprint[held] = 0
        self._fingerprint[numbers] = fingerprints
        if self._used + len(numbers) > len(self._slots) // 2:
            self._rebuild()
        else:
            self._insert(numbers)

    def drop(self, numbers: NDArray[np.int64]) -> None:
        """Leave these numbers without a fingerprint."""
        self._fingerprint[numbers[numbers < len(self._fingerprint)]] = 0

    def _search(self, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
        mask = len(self._slots) - 1
        place = (wanted & np.uint64(mask)).astype(np.int64)
        number = self._slots[place].astype(np.int64)
        wrong = np.flatnonzero(self._fingerprint[number] != wanted)
        wrong = wrong[number[wrong] != 0]
        while len(wrong):
            place[wrong] = (place[wrong] + 1) & mask
            number[wrong] = self._slots[place[wrong]]
            wrong = wrong[
                (number[wrong] != 0) & (self._fingerprint[number[wrong]] != wanted[wrong])
            ]
        return number

    def _insert(self, numbers: NDArray[np.int64]) -> None:
        mask = len(self._slots) - 1
        place = (self._fingerprint[numbers] & np.uint64(mask)).astype(np.int64)
        self._used += len(numbers)
        while len(numbers):
            free = self._slots[place] == 0
            self._slots[place[free]] = numbers[free]  # of several for one place, one gets it
            homeless = self._slots[place] != numbers
            numbers, place = numbers[homeless], (place[homeless] + 1) & mask

    def _rebuild(self) -> None:
        """Make room, and leave out the places of fingerprints that are none any more."""
        numbers = np.flatnonzero(self._fingerprint)
        size = _FEWEST_SLOTS
        while len(numbers) > size // 3:
            size *= 2
        self._slots = np.zeros(size, np.int32)
        self._used = 0
        self._insert(numbers)


def _without_zero(fingerprints: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Let 0 stand for no fingerprint."""
    return np.maximum(fingerprints, np.uint64(1))


def _last_of_each(
    numbers: NDArray[np.int64], fingerprints: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Leave one row for each number and for each fingerprint, the last."""
    for column in (0, 1):
        keys = (numbers, fingerprints)[column]
        _, newest = np.unique(keys[::-1], return_index=True)
        if len(newest) < len(keys):
            rows = np.sort(len(keys) - 1 - newest)
            numbers, fingerprints = numbers[rows], fingerprints[rows]
    return numbers, fingerprints
