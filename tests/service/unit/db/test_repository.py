# SPDX-License-Identifier: Apache-2.0
import json
import threading

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.alarm_support import NOW_US, make_alarm, make_transition
from thermostat.alarms.model import Severity, State, TimeConstraint
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import MissingData, Statistic, ThresholdRule
from thermostat.db.alarms import AlarmNotFound, AlarmRepository
from thermostat.db.history import Author
from thermostat.db.outbox import Outbox, Outcome, Status
from thermostat.db.paging import Page, SortKey, UnknownMarker

ALICE = Author(user_id="alice", project_id="p1")
NEWEST = Page(sort=[SortKey("position", descending=True)])
BY_NAME = [SortKey("name"), SortKey("alarm_id")]


@pytest.fixture
def alarms(engine):
    return AlarmRepository(engine)


@pytest.fixture
def outbox(engine):
    return Outbox(engine)


@pytest.fixture
def alarm(alarms):
    alarm = make_alarm()
    alarms.create(alarm, ALICE)
    return alarm


def rename(name):
    return lambda alarm: msgspec.structs.replace(alarm, name=name)


def history(alarms, alarm_id="a1"):
    return [
        (event.type, json.loads(event.detail)) for event in alarms.history(alarm_id, {}, NEWEST)
    ]


texts = st.text(max_size=20)
words = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)
rules = st.builds(
    ThresholdRule,
    meter_name=st.text(min_size=1, max_size=20),
    threshold=st.floats(allow_nan=False, allow_infinity=False),
    period=st.integers(1, 100_000),
    statistic=st.sampled_from(Statistic),
    comparison_operator=st.sampled_from(Operator),
    treat_missing_data=st.sampled_from(MissingData),
    query=st.lists(
        st.builds(Condition, texts.map("metadata.{}".format), st.sampled_from(Operator), texts)
    ).map(tuple),
)


class TestStoring:
    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
    )
    @given(
        rule=rules,
        name=words,
        severity=st.sampled_from(Severity),
        constraints=st.lists(
            st.builds(TimeConstraint, name=words, start=texts, duration=st.integers(0, 10**6))
        ).map(tuple),
    )
    def test_what_goes_in_comes_out(self, alarms, rule, name, severity, constraints):
        alarm = make_alarm(
            name=name, rule=rule, severity=severity, time_constraints=constraints, trust_id="t1"
        )
        if alarms.find("a1"):
            alarms.replace("a1", lambda _: alarm, ALICE, NOW_US)
        else:
            alarms.create(alarm, ALICE)
        stored = alarms.find("a1")
        assert msgspec.structs.replace(stored, revision=1) == alarm

    def test_enabled_ones(self, alarms, alarm):
        alarms.create(make_alarm(alarm_id="a2", enabled=False), ALICE)
        assert alarms.enabled() == [alarm]

    def test_unknown(self, alarms):
        assert alarms.find("nothing") is None
        with pytest.raises(AlarmNotFound):
            alarms.delete("nothing", ALICE, NOW_US)
        with pytest.raises(AlarmNotFound):
            alarms.set_state("nothing", State.OK, ALICE, NOW_US)
        with pytest.raises(AlarmNotFound):
            alarms.replace("nothing", rename("x"), ALICE, NOW_US)


class TestList:
    def test_filters_and_pages(self, alarms):
        for number in range(5):
            alarms.create(
                make_alarm(alarm_id=f"a{number}", name=f"n{number // 2}", timestamp_us=number),
                ALICE,
            )
        seen, marker = [], None
        while page := alarms.list({"project_id": "p1"}, Page(BY_NAME, marker=marker, limit=2)):
            seen += [alarm.alarm_id for alarm in page]
            marker = seen[-1]
        assert seen == ["a0", "a1", "a2", "a3", "a4"]
        backwards = [SortKey("name", descending=True), SortKey("alarm_id")]
        listed = [alarm.alarm_id for alarm in alarms.list({}, Page(backwards, marker="a4"))]
        assert listed == ["a2", "a3", "a0", "a1"]
        assert alarms.list({"project_id": "p2"}, Page(BY_NAME)) == []

    def test_a_marker_of_another_project_is_unknown(self, alarms, alarm):
        page = Page(BY_NAME, marker=alarm.alarm_id)
        assert alarms.list({"project_id": "p1"}, page) == []
        with pytest.raises(UnknownMarker):
            alarms.list({"project_id": "p2"}, page)


class TestReplace:
    def test_keeps_state_and_grows_the_revision(self, alarms, alarm):
        alarms.record(make_transition(alarm))
        changed = alarms.replace("a1", rename("calm"), ALICE, NOW_US + 5)
        assert changed == alarms.find("a1")
        assert (changed.name, changed.state, changed.revision) == ("calm", State.ALARM, 3)
        assert changed.timestamp_us == NOW_US + 5
        assert history(alarms)[0] == ("rule change", {"name": "calm"})

    def test_nothing_changed_writes_nothing(self, alarms, alarm):
        assert alarms.replace("a1", rename("busy"), ALICE, NOW_US + 5) == alarm
        assert [kind for kind, _ in history(alarms)] == ["creation"]

    def test_a_dropped_trust_is_retired(self, alarms, outbox):
        alarms.create(make_alarm(trust_id="t1"), ALICE)
        assert outbox.unused_trusts() == []
        alarms.replace(
            "a1", lambda alarm: msgspec.structs.replace(alarm, trust_id=None), ALICE, NOW_US
        )
        assert outbox.unused_trusts() == ["t1"]
        outbox.forget_trust("t1")
        assert outbox.unused_trusts() == []

    @pytest.mark.usefixtures("alarm")
    def test_many_at_once_lose_nothing(self, alarms):
        def add_one(current):
            return msgspec.structs.replace(current, description=f"{current.description}.")

        threads = [
            threading.Thread(target=alarms.replace, args=("a1", add_one, ALICE, NOW_US))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert alarms.find("a1").description == "." * 20
        assert alarms.find("a1").revision == 21


class TestRecord:
    def test_writes_state_history_and_notifications(self, alarms, outbox, alarm):
        assert alarms.record(make_transition(alarm))
        stored = alarms.find("a1")
        assert (stored.state, stored.state_reason, stored.revision) == (State.ALARM, "because", 2)
        assert stored.state_timestamp_us == stored.evaluate_timestamp_us == NOW_US + 1
        assert stored.timestamp_us == NOW_US
        kind, detail = history(alarms)[0]
        assert kind == "state transition"
        assert detail == {
            "state": "alarm",
            "transition_reason": "because",
            "reason_data": {"type": "threshold", "most_recent": 90.0},
        }
        due = outbox.due(NOW_US + 1, 10)
        assert sorted(one.action for one in due) == sorted(alarm.alarm_actions)
        assert {one.target for one in due} == {"one.example", "two.example"}
        assert len({one.notification_id for one in due}) == 2
        assert all(one.request_id.startswith("req-") for one in due)
        assert json.loads(due[0].body) == {
            "alarm_name": "busy",
            "alarm_id": "a1",
            "severity": "low",
            "previous": "insufficient data",
            "current": "alarm",
            "reason": "because",
            "reason_data": {"type": "threshold", "most_recent": 90.0},
        }

    def test_a_repetition_writes_notifications_only(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        stored = alarms.find("a1")
        assert alarms.record(make_transition(stored))
        assert alarms.find("a1") == stored
        assert len(history(alarms)) == 2
        assert len(outbox.due(NOW_US + 1, 10)) == 4

    @pytest.mark.parametrize(
        "edit",
        [
            lambda alarms: alarms.replace("a1", rename("calm"), ALICE, NOW_US),
            lambda alarms: alarms.set_state("a1", State.OK, ALICE, NOW_US),
            lambda alarms: alarms.delete("a1", ALICE, NOW_US),
            lambda alarms: alarms.replace(
                "a1", lambda alarm: msgspec.structs.replace(alarm, enabled=False), ALICE, NOW_US
            ),
        ],
        ids=["edited", "state set", "deleted", "disabled"],
    )
    def test_an_edit_is_never_overwritten(self, alarms, outbox, alarm, edit):
        edit(alarms)
        before, events = alarms.find("a1"), history(alarms)
        assert not alarms.record(make_transition(alarm))
        assert (alarms.find("a1"), history(alarms)) == (before, events)
        assert outbox.due(NOW_US + 1, 10) == []

    def test_a_disabled_alarm_tells_nothing(self, alarms, outbox):
        alarm = make_alarm(enabled=False)
        alarms.create(alarm, ALICE)
        assert not alarms.record(make_transition(alarm))
        assert outbox.due(NOW_US + 1, 10) == []

    def test_either_everything_or_nothing(self, alarms, alarm, monkeypatch):
        monkeypatch.setattr(
            "thermostat.db.outbox.queue", lambda *_: (_ for _ in ()).throw(OSError("disk"))
        )
        with pytest.raises(OSError, match="disk"):
            alarms.record(make_transition(alarm))
        assert alarms.find("a1") == alarm
        assert [kind for kind, _ in history(alarms)] == ["creation"]


class TestManualState:
    @pytest.mark.usefixtures("alarm")
    def test_is_in_the_history_and_tells_nobody(self, alarms, outbox):
        changed = alarms.set_state("a1", State.ALARM, ALICE, NOW_US + 7)
        assert (changed.state, changed.state_timestamp_us) == (State.ALARM, NOW_US + 7)
        assert changed.state_reason == "Manually set via API"
        assert history(alarms)[0] == (
            "state transition",
            {"state": "alarm", "transition_reason": "Manually set via API"},
        )
        assert outbox.due(NOW_US + 7, 10) == []


class TestDelete:
    def test_what_was_decided_is_still_told(self, alarms, outbox):
        alarm = make_alarm(trust_id="t1", alarm_actions=("trust+http://heat.example/signal",))
        alarms.create(alarm, ALICE)
        alarms.record(make_transition(alarm))
        alarms.delete("a1", ALICE, NOW_US + 2)
        assert alarms.find("a1") is None
        (pending,) = outbox.due(NOW_US + 2, 10)
        assert pending.trust_id == "t1"
        assert outbox.unused_trusts() == []  # the pending one needs it
        outbox.settle([Outcome(pending.notification_id, Status.DELIVERED)], NOW_US + 3)
        assert outbox.unused_trusts() == ["t1"]


class TestOutbox:
    def test_retry_comes_back_when_it_is_due(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        first, second = outbox.due(NOW_US + 1, 10)
        outbox.settle(
            [
                Outcome(first.notification_id, Status.PENDING, "HTTP 500", NOW_US + 100),
                Outcome(second.notification_id, Status.DEAD, "HTTP 410"),
            ],
            NOW_US + 2,
        )
        assert outbox.due(NOW_US + 99, 10) == []
        (again,) = outbox.due(NOW_US + 100, 10)
        assert (again.notification_id, again.attempts) == (first.notification_id, 1)
        assert again.request_id == first.request_id
        assert outbox.counts() == {Status.PENDING: 1, Status.DELIVERED: 0, Status.DEAD: 1}

    def test_leaves_out(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        one, other = outbox.due(NOW_US + 1, 10)
        assert outbox.due(NOW_US + 1, 10, without=[one.notification_id]) == [other]
        assert outbox.due(NOW_US + 1, 10, without_targets=[one.target]) == [other]

    def test_purge_keeps_what_is_pending(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        one, _ = outbox.due(NOW_US + 1, 10)
        outbox.settle([Outcome(one.notification_id, Status.DELIVERED)], NOW_US + 2)
        assert outbox.purge(NOW_US + 2) == 0
        assert outbox.purge(NOW_US + 10**15) == 1
        assert len(outbox.due(NOW_US + 10**15, 10)) == 1
        assert alarms.purge_history(NOW_US) == 0
        assert alarms.purge_history(NOW_US + 2) == 2
