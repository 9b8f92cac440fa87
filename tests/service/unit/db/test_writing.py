# SPDX-License-Identifier: Apache-2.0
"""Writers of an SQLite database that share transactions."""

import threading

import pytest
from sqlalchemy import event, text

from thermostat.db.engine import open_engine
from thermostat.db.writing import MOST_TOGETHER, writer


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/db.sqlite")
    with writer(engine).begin() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


def add(connection, number):
    connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": number})


def numbers(engine):
    with engine.connect() as connection:
        return sorted(connection.scalars(text("SELECT n FROM t")))


def refuse():
    raise KeyError("mine")


class Crowd:
    """Threads that wait for their turn while one of them holds it."""

    def __init__(self, engine):
        self.writes = writer(engine)
        self.errors = {}
        self.threads = []

    def write(self, number, fail):
        try:
            with self.writes.begin() as connection:
                add(connection, number)
                fail()
        except Exception as error:
            self.errors[number] = error

    def begin(self, *numbers, **failing):
        for number in numbers:
            fail = failing.get(f"n{number}", lambda: None)
            thread = threading.Thread(target=self.write, args=(number, fail))
            thread.start()
            self.threads.append(thread)
        while self.writes._waiting < len(self.threads):
            pass

    def join(self):
        for thread in self.threads:
            thread.join()


def test_the_same_engine_has_one_writer(engine):
    assert writer(engine) is writer(engine)


def test_those_who_waited_share_a_transaction(engine):
    begun = []
    crowd = Crowd(engine)
    with crowd.writes.begin() as connection:
        add(connection, 0)
        crowd.begin(*range(1, 11))
        begun.append(connection.get_transaction())
        assert numbers(engine) == [], "nothing is committed yet"
    crowd.join()
    assert crowd.errors == {}
    assert numbers(engine) == list(range(11))
    assert begun[0].is_active is False


def test_what_was_left_is_on_disk(engine):
    crowd = Crowd(engine)
    with crowd.writes.begin() as connection:
        add(connection, 0)
        crowd.begin(1, 2)
    assert 0 in numbers(engine), "leaving the block waits for the commit"
    crowd.join()


def test_one_that_fails_undoes_only_its_own(engine):
    crowd = Crowd(engine)
    with crowd.writes.begin() as connection:
        add(connection, 0)
        crowd.begin(1, 2, 3, n2=refuse)
    crowd.join()
    assert numbers(engine) == [0, 1, 3]
    assert [(number, type(error)) for number, error in crowd.errors.items()] == [(2, KeyError)]


def test_the_last_one_may_fail(engine):
    crowd = Crowd(engine)
    with crowd.writes.begin() as connection:
        add(connection, 0)
        crowd.begin(1, n1=refuse)
    crowd.join()
    assert numbers(engine) == [0]


def test_a_failed_statement_undoes_its_block(engine):
    with writer(engine).begin() as connection:
        add(connection, 1)
    crowd = Crowd(engine)
    with crowd.writes.begin() as connection:
        add(connection, 0)
        crowd.begin(1, 2)  # 1 is there already
    crowd.join()
    assert numbers(engine) == [0, 1, 2]
    assert set(crowd.errors) == {1}


def test_all_learn_that_the_commit_failed(engine):
    def fail(_connection):
        raise OSError("disk full")

    event.listen(engine, "commit", fail, once=True)
    crowd = Crowd(engine)
    crowd.write(0, lambda: crowd.begin(1, 2))
    crowd.join()
    assert {number: type(error) for number, error in crowd.errors.items()} == dict.fromkeys(
        (0, 1, 2), OSError
    )
    assert numbers(engine) == []
    with crowd.writes.begin() as connection:
        add(connection, 5)
    assert numbers(engine) == [5]


def test_a_transaction_is_bounded(engine):
    crowd = Crowd(engine)
    with crowd.writes.begin() as connection:
        add(connection, 0)
        crowd.begin(*range(1, 2 * MOST_TOGETHER))
        first = connection.get_transaction()
    assert len(numbers(engine)) in {MOST_TOGETHER, 2 * MOST_TOGETHER}
    assert not first.is_active
    crowd.join()
    assert numbers(engine) == list(range(2 * MOST_TOGETHER))
