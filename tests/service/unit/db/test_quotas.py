# SPDX-License-Identifier: Apache-2.0
"""Counts and limits of alarms, on each database: whoever comes at once, no limit is passed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, text

from tests.service.alarm_support import ALICE, NOW_US, make_alarm
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.db.mapping import to_row
from thermostat.db.quotas import Limits, OverQuota
from thermostat.db.schema import upgrade
from thermostat.db.tables import ALARM, ALARM_OWNER
from thermostat.db.writing import writer

THREADS = 6
EACH = 4


def counted(engine):
    with engine.connect() as connection:
        rows = connection.execute(select(ALARM_OWNER).order_by("kind", "owner_id"))
        return {(row.kind, row.owner_id): row.alarms for row in rows}


def there_are(engine, **owner):
    with engine.connect() as connection:
        columns = (ALARM.c[name] == value for name, value in owner.items())
        return connection.scalar(select(func.count()).select_from(ALARM).where(*columns))


def at_once(act, items):
    """Do this to all items from several threads; give how many were refused."""

    def attempt(item):
        try:
            act(item)
        except OverQuota:
            return 1
        return 0

    with ThreadPoolExecutor(THREADS) as threads:
        return sum(threads.map(attempt, items))


def move(alarms, alarm_id, **owner):
    return alarms.replace(alarm_id, lambda one: replace(one, **owner), ALICE, NOW_US)


def test_counts_follow_creation_move_and_deletion(engine, alarms):
    for number in range(3):
        alarms.create(make_alarm(alarm_id=f"a{number}"), ALICE)
    assert counted(engine) == {("project", "p1"): 3, ("user", "alice"): 3}
    move(alarms, "a0", project_id="p2")
    move(alarms, "a1", project_id="p2", user_id="bob")
    move(alarms, "a1", name="renamed")
    alarms.delete("a2", ALICE, NOW_US)
    assert counted(engine) == {
        ("project", "p1"): 0,
        ("project", "p2"): 2,
        ("user", "alice"): 1,
        ("user", "bob"): 1,
    }


def test_refused_creation_leaves_nothing(engine):
    alarms = AlarmRepository(engine, Limits(project=1))
    alarms.create(make_alarm(alarm_id="a1"), ALICE)
    with pytest.raises(
        OverQuota, match="Alarm quota exceeded for user alice on project p1: the project may have 1"
    ):
        alarms.create(make_alarm(alarm_id="a2"), ALICE)
    assert there_are(engine) == 1
    assert counted(engine) == {("project", "p1"): 1, ("user", "alice"): 1}
    alarms.delete("a1", ALICE, NOW_US)
    alarms.create(make_alarm(alarm_id="a2"), ALICE)


@pytest.mark.parametrize("limit", [Limits(project=5), Limits(user=5)])
def test_creations_at_once_do_not_pass_a_limit(engine, limit):
    alarms = AlarmRepository(engine, limit)
    names = [f"a{number}" for number in range(THREADS * EACH)]
    refused = at_once(lambda name: alarms.create(make_alarm(alarm_id=name), ALICE), names)
    assert refused == THREADS * EACH - 5
    assert there_are(engine) == 5
    assert counted(engine) == {("project", "p1"): 5, ("user", "alice"): 5}


def test_moves_and_creations_at_once_do_not_pass_a_quota(engine, alarms):
    for number in range(THREADS * EACH):
        alarms.create(make_alarm(alarm_id=f"a{number}"), ALICE)
    alarms.set_quota("p2", 7)

    def arrive(number):
        move(alarms, f"a{number}", project_id="p2")
        alarms.create(make_alarm(alarm_id=f"b{number}", project_id="p2"), ALICE)

    at_once(arrive, range(THREADS * EACH))
    assert there_are(engine, project_id="p2") == 7
    here = there_are(engine, project_id="p1")
    assert counted(engine) == {
        ("project", "p1"): here,
        ("project", "p2"): 7,
        ("user", "alice"): here + 7,
    }


def test_crossing_moves_do_not_wait_for_each_other(engine, alarms):
    for number in range(THREADS * EACH):
        owner = {"project_id": f"p{number % 2}", "user_id": f"u{number % 2}"}
        alarms.create(make_alarm(alarm_id=f"a{number}", **owner), ALICE)

    def cross(number):
        other = (number + 1) % 2
        move(alarms, f"a{number}", project_id=f"p{other}", user_id=f"u{other}")

    assert at_once(cross, range(THREADS * EACH)) == 0
    half = THREADS * EACH // 2
    assert set(counted(engine).values()) == {half}


def test_a_quota_goes_before_the_usual_limit(engine):
    alarms = AlarmRepository(engine, Limits(project=1))
    assert alarms.quota("p1") == 1
    assert counted(engine) == {}  # reading stored nothing
    alarms.set_quota("p1", -1)
    for number in range(3):
        alarms.create(make_alarm(alarm_id=f"a{number}"), ALICE)
    alarms.set_quota("p1", 0)
    with pytest.raises(OverQuota):
        alarms.create(make_alarm(alarm_id="a9"), ALICE)
    move(alarms, "a0", name="those that are there stay, and can be edited")
    alarms.delete_quota("p1")
    assert alarms.quota("p1") == 1
    assert counted(engine)["project", "p1"] == 3


def test_alarms_of_an_earlier_release_are_counted(database_url):
    engine = open_engine(database_url)
    upgrade(engine, "0002")
    with writer(engine).begin() as connection:
        for number in range(3):
            row = to_row(make_alarm(alarm_id=f"a{number}", user_id=f"u{number % 2}"))
            columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO alarm ({columns}) VALUES ({values})"), row)
    upgrade(engine)
    assert counted(engine) == {("project", "p1"): 3, ("user", "u0"): 2, ("user", "u1"): 1}
    engine.dispose()
