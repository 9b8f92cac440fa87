# SPDX-License-Identifier: Apache-2.0
"""Groups of notifications on each database; see also notify/test_groups.py."""

import json
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from tests.service.alarm_support import ALICE, NOW_US, make_alarm, make_transition
from thermostat.db.deliveries import Chosen, Deliveries
from thermostat.db.grouping import Groups
from thermostat.db.outbox import Outcome, Status
from thermostat.db.tables import NOTIFICATION, OPEN_GROUP

URL = "http://chat.example/hook?thermostat-group=10"
CLOSES_US = NOW_US + 1 + 10_000_000


def fire(alarms, alarm_id):
    alarm = make_alarm(alarm_id=alarm_id, alarm_actions=(URL, "http://one.example/"))
    alarms.create(alarm, ALICE)
    assert alarms.record(make_transition(alarm))


def test_from_the_transition_to_the_end(engine, alarms, outbox):
    groups = Groups(engine)
    for alarm_id in ("a1", "a2", "a3"):
        fire(alarms, alarm_id)
    assert len(outbox.due(CLOSES_US, 10)) == 3  # those of the other URL
    assert groups.close(CLOSES_US - 1) == (0, 0)
    assert groups.close(CLOSES_US) == (1, 3)
    assert groups.close(CLOSES_US) == (0, 0)
    (first,) = [one for one in outbox.due(CLOSES_US, 10) if one.action == URL]
    assert [one["alarm_id"] for one in json.loads(first.body)["alarms"]] == ["a1", "a2", "a3"]
    delivered = Outcome(first.notification_id, Status.DELIVERED, told=first.told)
    outbox.settle([delivered], CLOSES_US + 1)
    with engine.connect() as connection:
        of_url = select(NOTIFICATION).where(NOTIFICATION.c.action == URL)
        rows = connection.execute(of_url).all()
        assert connection.execute(select(OPEN_GROUP)).all() == []
    assert {(row.status, row.finished_us) for row in rows} == {("delivered", CLOSES_US + 1)}
    assert {row.request_id for row in rows} == {first.request_id}


def members(engine):
    """The group's notifications, the oldest first."""
    in_groups = select(NOTIFICATION).where(NOTIFICATION.c.action == URL)
    with engine.connect() as connection:
        return connection.execute(in_groups.order_by(NOTIFICATION.c.group_place)).all()


def sent(outbox):
    """The alarms that each request of a group which is due tells of."""
    due = [one for one in outbox.due(CLOSES_US + 9, 99) if one.action == URL]
    return [[one["alarm_id"] for one in json.loads(request.body)["alarms"]] for request in due]


def test_what_is_dropped_leaves_and_may_come_back(engine, alarms, outbox):
    for alarm_id in ("a1", "a2", "a3", "a4"):
        fire(alarms, alarm_id)
    deliveries, groups = Deliveries(engine), Groups(engine)
    ids = [row.notification_id for row in members(engine)]
    assert deliveries.drop(Chosen(ids=ids[3:]), CLOSES_US - 5) == 1
    assert groups.close(CLOSES_US) == (1, 3)
    assert deliveries.drop(Chosen(ids=ids[:1]), CLOSES_US + 1) == 1
    assert sent(outbox) == [["a2", "a3"]]
    assert deliveries.retry(Chosen(ids=[ids[0], ids[3]]), CLOSES_US + 2) == 2
    assert sorted(sent(outbox)) == [["a1"], ["a2", "a3"], ["a4"]]
    (due,) = [one for one in outbox.due(CLOSES_US + 9, 99) if one.notification_id == ids[1]]
    outbox.settle([Outcome(ids[1], Status.DEAD, "HTTP 410", told=due.told)], CLOSES_US + 3)
    assert [row.attempts for row in members(engine)] == [0, 1, 1, 0]
    assert deliveries.retry(Chosen(ids=ids[1:3]), CLOSES_US + 4) == 2
    assert sorted(sent(outbox)) == [["a1"], ["a2", "a3"], ["a4"]]


def test_many_drop_members_of_one_group_at_once(engine, alarms, outbox):
    names = [f"a{number:02}" for number in range(12)]
    for alarm_id in names:
        fire(alarms, alarm_id)
    Groups(engine).close(CLOSES_US)
    ids = [row.notification_id for row in members(engine)]
    deliveries = Deliveries(engine)
    with ThreadPoolExecutor(8) as threads:
        counts = threads.map(lambda one: deliveries.drop(Chosen(ids=[one]), CLOSES_US), ids[:10])
        assert list(counts) == [1] * 10
    assert sent(outbox) == [names[10:]]


def test_some_drop_while_the_group_is_closed(engine, alarms, outbox):
    names = [f"a{number:02}" for number in range(12)]
    for alarm_id in names:
        fire(alarms, alarm_id)
    ids = [row.notification_id for row in members(engine)]
    deliveries, groups = Deliveries(engine), Groups(engine)
    with ThreadPoolExecutor(8) as threads:
        dropped = [
            threads.submit(deliveries.drop, Chosen(ids=[one]), CLOSES_US) for one in ids[:10]
        ]
        closed = threads.submit(groups.close, CLOSES_US)
        assert [one.result() for one in dropped] == [1] * 10
    assert closed.result()[0] == 1
    assert sent(outbox) == [names[10:]]
