# SPDX-License-Identifier: Apache-2.0
"""How SQLite finds rows: it chooses an index without knowing how many rows that leaves."""

from contextlib import contextmanager

import msgspec
import pytest
from sqlalchemy import event

from tests.service.alarm_support import ALICE, make_alarm, make_transition, open_database
from thermostat.alarms.rules import AlarmRef, AnyOf, CompositeRule
from thermostat.db.alarms import AlarmRepository

IDS = [f"a{number}" for number in range(20)]
BY_ID = "SEARCH alarm USING INDEX sqlite_autoindex_alarm_1 (alarm_id=?)"


@pytest.fixture
def engine(tmp_path):
    engine = open_database(tmp_path / "db.sqlite")
    yield engine
    engine.dispose()


@pytest.fixture
def alarms(engine):
    repository = AlarmRepository(engine)
    for alarm_id in IDS:
        repository.create(make_alarm(alarm_id=alarm_id), ALICE)
    return repository


@contextmanager
def planned(engine):
    """Give how SQLite finds the rows of each statement about alarms in the block."""
    plans = set()

    def explain(connection, _cursor, statement, parameters, _context, is_many):
        if "alarm" in statement and statement.split()[0] in ("SELECT", "UPDATE"):
            plan = connection.connection.dbapi_connection.execute(
                f"EXPLAIN QUERY PLAN {statement}", parameters[0] if is_many else parameters
            )
            plans.update(row[3] for row in plan if " alarm " in row[3])

    event.listen(engine, "before_cursor_execute", explain)
    yield plans
    event.remove(engine, "before_cursor_execute", explain)


def test_changed_alarms_are_read_by_their_ids(engine, alarms):
    with planned(engine) as plans:
        assert len(alarms.standing_of(IDS)) == len(IDS)
    assert plans == {BY_ID}


def test_alarms_that_a_rule_names_are_read_by_their_ids(engine, alarms):
    rule = CompositeRule(expression=AnyOf(tuple(map(AlarmRef, IDS))))
    with planned(engine) as plans:
        alarms.create(msgspec.structs.replace(make_alarm(alarm_id="of all"), rule=rule), ALICE)
    assert plans == {BY_ID}


def test_alarms_in_transition_are_read_and_written_by_their_ids(engine, alarms):
    transitions = [make_transition(make_alarm(alarm_id=alarm_id)) for alarm_id in IDS]
    with planned(engine) as plans:
        assert all(alarms.record_all(transitions))
    assert plans == {BY_ID}
