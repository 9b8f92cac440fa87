# SPDX-License-Identifier: Apache-2.0
"""Notifications to one URL that are sent together, with a real worker and receiver."""

import json
import time
from itertools import pairwise

import pytest
from sqlalchemy import update

from tests.service.alarm_support import ALICE, NOW_US, make_alarm, make_transition
from tests.service.hooks import Answer
from tests.service.waiting import wait_until
from thermostat.alarms.model import State
from thermostat.api.notifications import encode
from thermostat.db.deliveries import NEWEST_FIRST, Chosen, Deliveries
from thermostat.db.grouping import MOST_MEMBERS, Groups, group_wait_s
from thermostat.db.outbox import Status
from thermostat.db.paging import Page
from thermostat.db.tables import OPEN_GROUP
from thermostat.db.writing import writer
from thermostat.notify.grouper import Grouper


class Grouped:
    """A notifier whose groups are closed when the test says so."""

    def __init__(self, notifier):
        self.notifier = notifier
        self.alarms = notifier.alarms
        self.groups = Groups(notifier.engine)

    def fire(self, url, count=1, **changes):
        """Put so many alarms that call this URL into alarm, in one transaction, now."""
        now_us = int(time.time() * 1e6)
        kept = len(self.notifier.rows())
        made = [
            make_alarm(alarm_id=f"g{kept}-{number}", alarm_actions=(url,), **changes)
            for number in range(count)
        ]
        for alarm in made:
            self.alarms.create(alarm, ALICE)
        assert all(
            self.alarms.record_all([make_transition(alarm, timestamp_us=now_us) for alarm in made])
        )
        return [alarm.alarm_id for alarm in made]

    def close(self):
        """Close all groups, as if their time were up."""
        with writer(self.notifier.engine).begin() as connection:
            connection.execute(update(OPEN_GROUP).values(closes_us=0))
        made = self.groups.close(int(time.time() * 1e6))
        if self.notifier.worker:
            self.notifier.worker.wake()
        return made

    def finish(self, timeout_s=10.0):
        """Wait until nothing is pending."""

        def is_done():
            return not self.notifier.outbox.counts()[Status.PENDING]

        wait_until(is_done, timeout_s)
        return self.notifier.outbox.counts()


@pytest.fixture
def grouped(notifier):
    return Grouped(notifier)


def test_a_hundred_transitions_are_one_request(grouped, notifier, hook):
    notifier.start()
    url = f"{hook.url}/chat?thermostat-group=30"
    told = [alarm_id for _ in range(4) for alarm_id in grouped.fire(url, 25)]
    time.sleep(0.2)
    assert hook.calls == []
    assert grouped.close() == (1, 100)
    assert grouped.finish()[Status.DELIVERED] == 100
    (call,) = hook.calls
    body = json.loads(call.body)
    assert [one["alarm_id"] for one in body["alarms"]] == told
    newest = {name: value for name, value in body.items() if name != "alarms"}
    assert newest == {
        name: value for name, value in body["alarms"][-1].items() if name != "notification_id"
    }
    rows = notifier.rows()
    assert {one["notification_id"] for one in body["alarms"]} == {
        row["notification_id"] for row in rows
    }
    assert {row["group_id"] for row in rows} == {call.headers["webhook-id"]}
    assert {row["request_id"] for row in rows} == {call.headers["x-openstack-request-id"]}
    assert {row["attempts"] for row in rows} == {1}
    assert all(row["finished_us"] for row in rows)


def test_without_the_parameter_each_is_a_request(grouped, notifier, hook):
    notifier.start()
    grouped.fire(f"{hook.url}/signal?Signature=x", 5)
    assert grouped.finish()[Status.DELIVERED] == 5
    assert len(hook.calls) == 5
    assert "alarms" not in json.loads(hook.calls[0].body)


def test_groups_are_of_one_url_and_one_project(grouped, notifier, hook):
    notifier.start()
    for path, project_id in (("a", "p1"), ("a", "p1"), ("b", "p1"), ("a", "p2")):
        grouped.fire(f"{hook.url}/{path}?thermostat-group=30", project_id=project_id)
    grouped.fire(f"{hook.url}/plain", 2)
    assert grouped.close() == (3, 4)
    grouped.finish()
    assert len(hook.calls) == 5


def test_retries_are_the_same_request_and_members_know_the_end(grouped, notifier, hook):
    hook.answer = lambda _call: Answer(503 if len(hook.calls) < 3 else 200)
    notifier.start()
    grouped.fire(f"{hook.url}/?thermostat-group=30", 3)
    grouped.close()
    grouped.finish()
    assert len(hook.calls) == 3
    assert len({call.headers["webhook-id"] for call in hook.calls}) == 1
    assert len({call.body for call in hook.calls}) == 1


def test_what_is_given_up_is_given_up_for_all(grouped, notifier, hook):
    hook.answer = lambda _call: Answer(410)
    notifier.start()
    grouped.fire(f"{hook.url}/?thermostat-group=30", 3)
    grouped.close()
    assert grouped.finish()[Status.DEAD] == 3
    assert {row["last_error"] for row in notifier.rows()} == {"HTTP 410"}


def test_nothing_joins_a_closed_group(grouped, notifier, hook):
    url = f"{hook.url}/?thermostat-group=30"
    grouped.fire(url, 2)
    assert grouped.groups.close(NOW_US) == (0, 0)  # its time is not up
    assert grouped.close() == (1, 2)
    grouped.fire(url)
    notifier.start()
    wait_until(lambda: len(hook.calls) == 1)
    assert len(json.loads(hook.calls[0].body)["alarms"]) == 2
    assert grouped.close() == (1, 1)
    grouped.finish()
    assert [len(json.loads(call.body)["alarms"]) for call in hook.calls] == [2, 1]


def test_groups_outlive_a_restart(grouped, notifier, hook):
    """What was gathered and closed by one process is sent by the next."""
    grouped.fire(f"{hook.url}/?thermostat-group=30", 2)
    assert Grouped(notifier).close() == (1, 2)
    notifier.start()
    assert Grouped(notifier).finish()[Status.DELIVERED] == 2


def test_more_than_a_request_has_room_for(grouped, notifier, hook, monkeypatch):
    assert MOST_MEMBERS == 500
    monkeypatch.setattr("thermostat.db.grouping.MOST_MEMBERS", 4)
    notifier.start()
    told = grouped.fire(f"{hook.url}/?thermostat-group=30", 10)
    assert grouped.close() == (3, 10)
    assert grouped.finish()[Status.DELIVERED] == 10
    bodies = [json.loads(call.body)["alarms"] for call in hook.calls]
    assert sorted(map(len, bodies)) == [2, 4, 4]
    assert sorted(one["alarm_id"] for body in bodies for one in body) == sorted(told)


def test_changes_of_one_alarm_stay_in_order(grouped, notifier, hook):
    url = f"{hook.url}/?thermostat-group=30"
    (alarm_id,) = grouped.fire(url, ok_actions=(url,), insufficient_data_actions=(url,))
    now_us = int(time.time() * 1e6)
    alarm = grouped.alarms.find(alarm_id)
    states = [State.OK, State.ALARM, State.INSUFFICIENT_DATA, State.OK]
    grouped.alarms.record_all(
        [
            make_transition(alarm, state, revision=alarm.revision + place, previous=before,
                            timestamp_us=now_us)
            for place, (before, state) in enumerate(pairwise([State.ALARM, *states]))
        ]
    )  # fmt: skip
    notifier.start()
    grouped.close()
    grouped.finish()
    told = [one["current"] for one in json.loads(hook.calls[0].body)["alarms"]]
    assert told == ["alarm", "ok", "alarm", "insufficient data", "ok"]


def test_the_grouper_closes_in_time(grouped, notifier, hook):
    notifier.start()
    grouper = Grouper(grouped.groups, notify=notifier.worker.wake)
    grouper.start()
    try:
        begun = time.monotonic()
        grouped.fire(f"{hook.url}/?thermostat-group=1", 3)
        wait_until(lambda: hook.calls)
        assert 0.9 < time.monotonic() - begun < 5
        wait_until(lambda: notifier.outbox.counts()[Status.DELIVERED] == 3)
        assert grouper.check() is None
    finally:
        grouper.stop()
    assert grouper.check() == "the grouper has stopped"


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        ("http://h/?thermostat-group=30", 30),
        ("https://h/x?a=1&thermostat-group=600", 600),
        ("http://h/thermostat-group=30", None),
        ("http://h/", None),
    ],
)
def test_what_a_url_asks_for(url, seconds):
    assert group_wait_s(url) == seconds


@pytest.mark.parametrize("value", ["0", "601", "-1", "1.5", "", "soon", "9" * 30])
def test_what_no_url_may_ask_for(value):
    with pytest.raises(ValueError, match="whole number of seconds from 1 to 600"):
        group_wait_s(f"http://h/?thermostat-group={value}")


def test_trusts_are_not_shared():
    with pytest.raises(ValueError, match="http and https"):
        group_wait_s("trust+http://h/?thermostat-group=3")


def now_us():
    return int(time.time() * 1e6)


def told(call):
    """The alarms that a request told of."""
    return [one["alarm_id"] for one in json.loads(call.body)["alarms"]]


class GivenUp(Grouped):
    """A group of three whose target does not take it yet."""

    def __init__(self, notifier, hook, status=503):
        super().__init__(notifier)
        self.hook = hook
        self.deliveries = Deliveries(notifier.engine)
        hook.answer = lambda _call: Answer(status)
        notifier.start(backoff_base=0.4, backoff_max=0.4)
        self.alarm_ids = self.fire(f"{hook.url}/?thermostat-group=30", 3)
        rows = {row["alarm_id"]: row["notification_id"] for row in notifier.rows()}
        self.ids = [rows[alarm_id] for alarm_id in self.alarm_ids]

    def attempt(self):
        self.close()
        wait_until(lambda: self.hook.calls and self.row(self.ids[0])["attempts"])

    def row(self, notification_id):
        (row,) = [one for one in self.notifier.rows() if one["notification_id"] == notification_id]
        return row

    def statuses(self):
        return [self.row(one)["status"] for one in self.ids]

    def drop(self, *positions):
        ids = [self.ids[position] for position in positions]
        return self.deliveries.drop(Chosen(ids=ids), now_us())

    def retry(self, *positions):
        ids = [self.ids[position] for position in positions]
        count = self.deliveries.retry(Chosen(ids=ids), now_us())
        self.notifier.worker.wake()
        return count

    def take(self):
        """Have the target take what comes; give what comes until nothing waits."""
        before = len(self.hook.calls)
        self.hook.answer = lambda _call: Answer(200)
        self.finish()
        return [call for call in self.hook.calls[before:] if call.path.startswith("/?")]


class TestDrop:
    @pytest.fixture
    def group(self, notifier, hook):
        return GivenUp(notifier, hook)

    @pytest.mark.parametrize("given_up", [(0,), (1,), (2,), (0, 1), (0, 2)])
    def test_the_others_of_a_closed_group_are_told_without_it(self, group, given_up):
        group.attempt()
        assert group.drop(*given_up) == len(given_up)
        left = [position for position in range(3) if position not in given_up]
        (call,) = group.take()
        assert told(call) == [group.alarm_ids[position] for position in left]
        assert call.headers["webhook-id"] == group.ids[left[0]]
        assert json.loads(call.body)["alarm_id"] == group.alarm_ids[left[-1]]
        wanted = ["dropped" if position in given_up else "delivered" for position in range(3)]
        assert group.statuses() == wanted

    def test_all_of_a_group(self, group):
        group.attempt()
        assert group.drop(0, 1, 2) == 3
        assert group.take() == []
        assert group.statuses() == ["dropped"] * 3

    @pytest.mark.parametrize("given_up", [0, 1])
    def test_of_an_open_group(self, group, given_up):
        assert group.drop(given_up) == 1
        group.close()
        (call,) = group.take()
        assert told(call) == [
            group.alarm_ids[position] for position in range(3) if position != given_up
        ]
        assert group.statuses().count("dropped") == 1

    @pytest.mark.parametrize("is_open", [True, False])
    @pytest.mark.parametrize("given_up", [0, 2])
    def test_what_was_dropped_is_sent_alone_when_it_is_sent_again(self, group, is_open, given_up):
        if not is_open:
            group.attempt()
        group.drop(given_up)
        assert group.retry(given_up) == 1
        assert group.row(group.ids[given_up])["status"] == "pending"
        group.close()
        by_id = {call.headers["webhook-id"]: call for call in group.take()}
        assert len(by_id) == 2
        assert told(by_id[group.ids[given_up]]) == [group.alarm_ids[given_up]]
        assert group.statuses() == ["delivered"] * 3

    def test_it_is_not_told_if_it_waits_behind_another_request(self, grouped, notifier, hook):
        hook.answer = lambda _call: Answer(503 if len(hook.calls) > 1 else 200, delay_s=0.9)
        notifier.start(read_timeout=5, per_target_limit=1)
        grouped.fire(f"{hook.url}/first")
        wait_until(lambda: hook.calls)
        grouped.fire(f"{hook.url}/?thermostat-group=30", 2)
        grouped.close()
        wait_until(lambda: notifier.worker._lanes.unsettled == 2)
        first, second = [row for row in notifier.rows() if row["group_id"]]
        deliveries = Deliveries(notifier.engine)
        assert deliveries.drop(Chosen(ids=[second["notification_id"]]), now_us()) == 1
        wait_until(lambda: len(hook.calls) == 2)
        assert told(hook.calls[1]) == [first["alarm_id"]]
        assert deliveries.drop(Chosen(ids=[first["notification_id"]]), now_us()) == 1

    def test_what_a_request_under_way_tells_of_is_delivered(self, group):
        """Its target has been told of all three, so their status says that."""
        group.hook.answer = lambda _call: Answer(200, delay_s=0.5)
        group.close()
        wait_until(lambda: group.hook.calls)
        assert group.drop(0, 1) == 2
        wait_until(lambda: group.statuses() == ["delivered"] * 3)


def test_all_of_a_failing_group_show_why(notifier, hook, caplog):
    caplog.set_level("INFO")
    group = GivenUp(notifier, hook)
    group.attempt()
    found = group.deliveries.list(Chosen(), Page(sort=NEWEST_FIRST))
    assert {(one.attempts > 0, one.last_error) for one in found} == {(True, "HTTP 503")}
    assert len({one.attempts for one in found}) == 1
    (obstacle,) = group.deliveries.obstacles(9)
    assert (obstacle.reason, obstacle.notifications) == ("HTTP 503", 3)
    (line,) = [line for line in caplog.messages if group.ids[2] in line]
    first = group.row(group.ids[0])
    assert f"Notification {first['notification_id']} ({first['request_id']})" in line
    assert f"{group.ids[1]} of alarm {group.alarm_ids[1]}" in line
    assert any(f"{group.ids[0]} and 2 more" in line for line in caplog.messages)


class TestSentAgain:
    @pytest.fixture
    def group(self, notifier, hook):
        group = GivenUp(notifier, hook, status=410)
        group.close()
        assert group.finish()[Status.DEAD] == 3
        return group

    @pytest.mark.parametrize("chosen", [(0,), (2,), (0, 1), (1, 2), (0, 1, 2)])
    def test_what_is_chosen_of_a_dead_group_is_one_request(self, group, chosen):
        group.hook.answer = lambda _call: Answer(200)
        assert group.retry(*chosen) == len(chosen)
        (call,) = group.take()
        assert told(call) == [group.alarm_ids[position] for position in chosen]
        assert call.headers["webhook-id"] == group.ids[chosen[0]]
        wanted = ["delivered" if position in chosen else "dead" for position in range(3)]
        assert group.statuses() == wanted
        if rest := [position for position in range(3) if position not in chosen]:
            group.retry(*rest)
            (call,) = group.take()
            assert told(call) == [group.alarm_ids[position] for position in rest]

    def test_what_is_dropped_is_not(self, group):
        assert group.drop(0) == 1
        group.hook.answer = lambda _call: Answer(200)
        assert group.deliveries.retry(Chosen(statuses=[Status.DEAD]), now_us()) == 2
        group.notifier.worker.wake()
        (call,) = group.take()
        assert told(call) == group.alarm_ids[1:]
        assert group.statuses() == ["dropped", "delivered", "delivered"]

    def test_a_member_of_a_failing_group_is_sent_with_it(self, notifier, hook):
        group = GivenUp(notifier, hook)
        group.notifier.stop()
        group.notifier.start(backoff_base=600, backoff_max=600)
        group.attempt()
        hook.answer = lambda _call: Answer(200)
        assert group.retry(2) == 1
        (call,) = group.take()
        assert told(call) == group.alarm_ids


def test_what_waits_for_others_is_not_sent_alone(grouped, notifier, hook):
    notifier.start()
    grouped.fire(f"{hook.url}/?thermostat-group=30", 2)
    deliveries = Deliveries(notifier.engine)
    assert deliveries.retry(Chosen(statuses=[Status.PENDING]), int(time.time() * 1e6)) == 2
    grouped.close()
    assert deliveries.retry(Chosen(statuses=[Status.PENDING]), int(time.time() * 1e6)) <= 2
    notifier.worker.wake()
    assert grouped.finish()[Status.DELIVERED] == 2
    assert {call.headers["webhook-id"] for call in hook.calls} == {notifier.rows()[0]["group_id"]}


def test_the_delivery_status_has_each_one_s_own_state(grouped, notifier, hook):
    grouped.fire(f"{hook.url}/?thermostat-group=30", 1, name="first")
    grouped.fire(f"{hook.url}/?thermostat-group=30", 1, state=State.OK)
    open_ones = Deliveries(notifier.engine).list(Chosen(), Page(sort=NEWEST_FIRST))
    assert [encode(one)["next_attempt_timestamp"] for one in open_ones] == [None, None]
    grouped.close()
    found = Deliveries(notifier.engine).list(Chosen(), Page(sort=NEWEST_FIRST))
    assert sorted(encode(one)["previous"] for one in found) == ["insufficient data", "ok"]
