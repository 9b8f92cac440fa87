# SPDX-License-Identifier: Apache-2.0
import time

import pytest
from sqlalchemy import text

from tests.service.alarm_support import ALICE, make_alarm
from thermostat.db.filters import Compare, Comparison, Matches, Opposite
from thermostat.db.paging import Page, SortKey
from thermostat.db.searching import TooLong, _time_limit, search
from thermostat.db.tables import ALARM

ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}
BY_NAME = Page(sort=[SortKey("name"), SortKey("alarm_id")])


def test_the_database_works_no_longer_than_it_may(engine):
    began = time.monotonic()
    with engine.begin() as connection, pytest.raises(TooLong), _time_limit(connection, 0.1):
        connection.execute(text(ENDLESS[engine.dialect.name]))
    assert time.monotonic() - began < 5
    with engine.begin() as connection:  # the limit was that transaction's own
        if engine.dialect.name == "postgresql":
            assert connection.scalar(text("SHOW statement_timeout")) == "0"
        else:
            connection.execute(text(ENDLESS["sqlite"] + " LIMIT 0"))


@pytest.mark.usefixtures("alarm")
def test_rows_are_judged_no_longer_than_they_may(engine):
    def slow(_text):
        time.sleep(0.2)
        return False

    wanted = Opposite(Matches("name", "x", slow))
    with engine.begin() as connection, pytest.raises(TooLong, match=r"longer than 0\.001 seconds"):
        search(connection, list(ALARM.c), wanted, BY_NAME, read=tuple, limit_s=0.001)


def test_no_more_is_found_than_may_be(alarms, monkeypatch):
    monkeypatch.setattr("thermostat.db.searching.MOST_FOUND", 2)
    for number in range(3):
        alarms.create(make_alarm(alarm_id=f"a{number}"), ALICE)
    everything = Compare("name", Comparison.EQ, "busy")
    with pytest.raises(TooLong, match="more than 2 are found"):
        alarms.search(everything, BY_NAME)
    assert len(alarms.search(everything, Page(sort=BY_NAME.sort, limit=2))) == 2


@pytest.mark.usefixtures("alarm")
def test_other_failures_of_the_database_are_not_taken_for_slowness(engine):
    wanted = Compare("name", Comparison.EQ, "busy")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE alarm RENAME TO gone"))
        with pytest.raises(Exception, match="alarm") as error:
            search(connection, list(ALARM.c), wanted, BY_NAME, read=tuple)
        assert not isinstance(error.value, TooLong)
        connection.rollback()
