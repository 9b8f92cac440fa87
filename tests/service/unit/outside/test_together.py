# SPDX-License-Identifier: Apache-2.0
"""Requests that are made at once: their order, their bound."""

import threading

from thermostat.outside.drivers._together import Deadline, Together, in_turn


def test_each_owner_has_its_turn():
    tasks = ["a1", "a2", "a3", "b1", "c1", "c2"]
    assert in_turn(tasks, lambda task: task[0]) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_no_more_at_once_than_allowed():
    running, most, lock = [0], [0], threading.Lock()
    barrier = threading.Barrier(3)

    def act(task: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        barrier.wait(10)
        with lock:
            running[0] -= 1
        return task * 2

    assert Together("test", 3).each(act, range(9)) == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert most[0] == 3


def test_a_deadline_never_goes_below_nothing():
    assert Deadline(-1).left_s() == 0
    assert 0 < Deadline(60).left_s() <= 60
