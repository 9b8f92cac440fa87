# SPDX-License-Identifier: Apache-2.0
"""Groups of notifications on each database; see also notify/test_groups.py."""

import json

from sqlalchemy import select

from tests.service.alarm_support import ALICE, NOW_US, make_alarm, make_transition
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
    assert groups.finish() == 0
    outbox.settle([Outcome(first.notification_id, Status.DELIVERED)], CLOSES_US + 1)
    assert groups.finish() == 2
    with engine.connect() as connection:
        of_url = select(NOTIFICATION).where(NOTIFICATION.c.action == URL)
        rows = connection.execute(of_url).all()
        assert connection.execute(select(OPEN_GROUP)).all() == []
    assert {(row.status, row.finished_us) for row in rows} == {("delivered", CLOSES_US + 1)}
    assert {row.request_id for row in rows} == {first.request_id}
