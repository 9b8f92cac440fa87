# SPDX-License-Identifier: Apache-2.0
"""The table of fingerprints, driven beside a dictionary."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thermostat.store.fingerprints import FingerprintTable

# few values, and many that fall on the same places of the table
fingerprints = st.integers(0, 40) | st.integers(0, 40).map(lambda n: n << 20) | st.just(2**64 - 1)
pairs = st.lists(st.tuples(st.integers(1, 30), fingerprints), max_size=20)


def columns(rows):
    return (
        np.array([number for number, _ in rows], np.int64),
        np.array([fingerprint for _, fingerprint in rows], np.uint64),
    )


class Reference:
    """What the table must do, for one number at a time."""

    def __init__(self):
        self.number = {}

    def put(self, number, fingerprint):
        fingerprint = fingerprint or 1
        self.number = {f: n for f, n in self.number.items() if n != number}
        self.number[fingerprint] = number


def last_of_each(rows):
    """Give the rows that count where a batch names a number or a fingerprint repeatedly."""
    by_number = {}
    for number, fingerprint in rows:
        by_number.pop(number, None)
        by_number[number] = fingerprint or 1
    by_fingerprint = {fingerprint: number for number, fingerprint in by_number.items()}
    return [(number, fingerprint) for fingerprint, number in by_fingerprint.items()]


@settings(max_examples=300)
@given(st.lists(pairs, max_size=8))
def test_it_is_a_dictionary(batches):
    table, reference = FingerprintTable(), Reference()
    for rows in batches:
        table.put(*columns(rows))
        for number, fingerprint in last_of_each(rows):
            reference.put(number, fingerprint)
        asked = [*range(42), *(n << 20 for n in range(41)), 2**64 - 1]
        expected = [reference.number.get(fingerprint or 1, 0) for fingerprint in asked]
        found = table.find(np.array(asked, np.uint64))
        assert found.tolist() == expected
        for guess in (np.zeros(len(asked), np.int64), found, np.full(len(asked), 1)):
            known = np.minimum(guess, len(table._fingerprint) - 1)
            assert table.find(np.array(asked, np.uint64), known).tolist() == expected


def test_many_are_loaded_at_once():
    table = FingerprintTable()
    known = np.arange(5000, dtype=np.uint64) * np.uint64(1 << 30)  # the first has none
    table.load(known)
    assert (table.find(known)[1:] == np.arange(2, 5001)).all()
    table.put(*columns([(1, 3)]))
    assert table.find(np.array([3, 1 << 30], np.uint64)).tolist() == [1, 2]


def test_a_number_can_be_left_without_one():
    table = FingerprintTable()
    table.put(*columns([(1, 7), (2, 8)]))
    table.drop(np.array([1, 99]))
    assert table.find(np.array([7, 8], np.uint64)).tolist() == [0, 2]


def test_a_hundred_thousand_are_found_and_no_others():
    table = FingerprintTable()
    chance = np.random.default_rng(1)
    known = chance.integers(0, 2**64, 100_000, np.uint64)
    for start in range(0, 100_000, 7_000):
        part = known[start : start + 7_000]
        table.put(np.arange(start + 1, start + 1 + len(part)), part)
    assert (table.find(known) == np.arange(1, 100_001)).all()
    assert not table.find(chance.integers(0, 2**64, 100_000, np.uint64)).any()
    assert table.size_bytes < 40 * 100_000


def test_fingerprints_that_keep_changing_take_no_more_room():
    table = FingerprintTable()
    chance = np.random.default_rng(2)
    numbers = np.arange(1, 1001)
    table.put(numbers, chance.integers(0, 2**64, 1000, np.uint64))
    for _ in range(100):
        newest = chance.integers(0, 2**64, 1000, np.uint64)
        table.put(numbers, newest)
    assert (table.find(newest) == numbers).all()
    assert table.size_bytes < 50_000
