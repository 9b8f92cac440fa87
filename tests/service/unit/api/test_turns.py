# SPDX-License-Identifier: Apache-2.0
import threading
import time

import falcon
import pytest

from thermostat.api.turns import Turns


def test_one_project_takes_no_more_than_its_turns_and_none_of_anothers():
    turns = Turns(2, wait_s=0.05)
    with turns.of("p1", "searches"), turns.of("p1", "searches"):
        began = time.monotonic()
        with pytest.raises(falcon.HTTPServiceUnavailable) as error, turns.of("p1", "searches"):
            pass
        assert time.monotonic() - began >= 0.05
        assert "too many searches at once" in error.value.description
        with turns.of("p2", "searches"):
            pass
    with turns.of("p1", "searches"):
        pass
    assert not turns._running


def test_whoever_waits_gets_the_turn_that_comes_free():
    turns = Turns(1, wait_s=30)
    done = []

    def wait():
        with turns.of("p1", "searches"):
            done.append(True)

    with turns.of("p1", "searches"):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.05)
        assert not done
    thread.join(5)
    assert done == [True]


def test_a_turn_that_fails_is_over():
    turns = Turns(1, wait_s=0)
    with pytest.raises(KeyError), turns.of("p1", "searches"):
        raise KeyError
    with turns.of("p1", "searches"):
        pass
