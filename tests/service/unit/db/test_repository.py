# SPDX-License-Identifier: Apache-2.0
import threading

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.alarm_support import ALICE, NOW_US, make_alarm, make_transition, told
from thermostat.alarms.model import Severity, State, TimeConstraint
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import (
    AlarmRef,
    AllOf,
    AnyOf,
    CombinationRule,
    Combine,
    CompositeRule,
    Leaf,
    MissingData,
    Not,
    Statistic,
    ThresholdRule,
)
from thermostat.db.alarms import AlarmNotFound
from thermostat.db.mapping import _Shared, to_row
from thermostat.db.outbox import Enough, Outcome, Status
from thermostat.db.paging import Page, SortKey, UnknownMarker
from thermostat.db.tables import ALARM
from thermostat.db.writing import writer

BY_NAME = [SortKey("name"), SortKey("alarm_id")]


def rename(name):
    return lambda alarm: msgspec.structs.replace(alarm, name=name)


characters = st.characters(exclude_characters="\0", codec="utf-8")
texts = st.text(characters, max_size=20)
words = st.text(characters, min_size=1, max_size=20)
instants = st.integers(0, 4 * 10**15)  # until 2096
thresholds = st.builds(
    ThresholdRule,
    meter_name=words,
    threshold=st.floats(allow_nan=False, allow_infinity=False),
    period=st.integers(1, 100_000),
    statistic=st.sampled_from(Statistic),
    comparison_operator=st.sampled_from(Operator),
    treat_missing_data=st.sampled_from(MissingData),
    query=st.lists(
        st.builds(Condition, texts.map("metadata.{}".format), st.sampled_from(Operator), texts)
    ).map(tuple),
)
expressions = st.recursive(
    st.builds(Leaf, thresholds) | st.builds(AlarmRef, words),
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(AllOf, st.lists(inner).map(tuple))
        | st.builds(AnyOf, st.lists(inner).map(tuple))
    ),
    max_leaves=5,
)
rules = (
    thresholds
    | st.builds(CompositeRule, expression=expressions, suppressor=st.none() | words)
    | st.builds(
        CombinationRule, alarm_ids=st.lists(words).map(tuple), operator=st.sampled_from(Combine)
    )
)


class TestStoring:
    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
    )
    @given(
        alarm=st.builds(
            make_alarm,
            name=words,
            description=words,
            enabled=st.booleans(),
            rule=rules,
            severity=st.sampled_from(Severity),
            insufficient_data_actions=st.lists(words).map(tuple),
            repeat_actions=st.booleans(),
            time_constraints=st.lists(
                st.builds(TimeConstraint, name=words, start=texts, duration=st.integers(0, 10**6))
            ).map(tuple),
            trust_id=st.none() | words,
            state=st.sampled_from(State),
            state_reason=words,
            state_timestamp_us=instants,
            timestamp_us=instants,
            evaluate_timestamp_us=st.none() | instants,
            revision=st.integers(1, 10**6),
            judged_us=st.none() | instants,
            rule_states=st.lists(st.sampled_from(State)).map(tuple),
            suppressed=st.booleans(),
        )
    )
    def test_what_goes_in_comes_out(self, engine, alarms, alarm):
        with writer(engine).begin() as connection:
            connection.execute(ALARM.delete())
            connection.execute(ALARM.insert(), to_row(alarm))
        assert alarms.find("a1") == alarm
        assert list(alarms.standing()) == ([alarm.standing] if alarm.enabled else [])

    def test_enabled_ones(self, alarms, alarm):
        alarms.create(make_alarm(alarm_id="a2", enabled=False), ALICE)
        assert list(alarms.standing()) == [alarm.standing]

    def test_enabled_ones_share_what_is_equal(self, alarms):
        for number in range(3):
            alarms.create(make_alarm(alarm_id=f"a{number}", name=f"n{number}"), ALICE)
        one, *others = alarms.standing()
        for other in others:
            assert other.acts_on is one.acts_on
            assert other.project_id is one.project_id
            assert other.time_constraints is one.time_constraints

    def test_enabled_ones_are_read_piece_by_piece(self, alarms, monkeypatch):
        monkeypatch.setattr("thermostat.db.alarms.ROWS_AT_ONCE", 2)
        created = {f"a{number}" for number in range(7)}
        for alarm_id in created:
            alarms.create(make_alarm(alarm_id=alarm_id), ALICE)
        reading = alarms.standing()
        seen = {next(reading).alarm_id}
        alarms.create(make_alarm(alarm_id="later"), ALICE)
        assert seen | {alarm.alarm_id for alarm in reading} == created

    def test_a_million_different_values_are_not_all_remembered(self, monkeypatch):
        monkeypatch.setattr("thermostat.db.mapping.MOST_SHARED", 3)
        shared = _Shared(str.upper)
        assert [shared[text] for text in "abcabcddd"] == list("ABCABCDDD")
        assert len(shared) <= 3

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
        assert told(alarms)[0] == ("rule change", {"name": "calm"})

    def test_nothing_changed_writes_nothing(self, alarms, alarm):
        assert alarms.replace("a1", rename("busy"), ALICE, NOW_US + 5) == alarm
        assert [kind for kind, _ in told(alarms)] == ["creation"]

    def test_a_dropped_trust_is_retired(self, alarms, retired):
        alarms.create(make_alarm(trust_id="t1"), ALICE)
        assert retired.unused(NOW_US) == []
        alarms.replace(
            "a1", lambda alarm: msgspec.structs.replace(alarm, trust_id=None), ALICE, NOW_US
        )
        assert retired.unused(NOW_US) == ["t1"]
        retired.postpone("t1", NOW_US + 5)
        assert retired.unused(NOW_US + 4) == []
        retired.forget("t1")
        assert retired.unused(NOW_US + 5) == []

    def test_a_new_trust_is_deleted_unless_an_alarm_takes_it_up(self, alarms, retired):
        alarms.create(make_alarm(), ALICE)
        for trust_id in ("t1", "t2", "t3"):
            retired.add(trust_id, NOW_US)
        alarms.replace(
            "a1", lambda alarm: msgspec.structs.replace(alarm, trust_id="t1"), ALICE, NOW_US
        )
        alarms.create(make_alarm(alarm_id="a2", trust_id="t2"), ALICE)
        assert retired.unused(NOW_US) == ["t3"]

    def test_keeps_what_was_judged_by_the_same_rule(self, alarms, alarm):
        judged = make_transition(
            alarm, step_us=NOW_US, suppressed=True, rule_states=(State.ALARM, State.OK)
        )
        alarms.record(judged)
        renamed = alarms.replace(
            "a1", lambda _: make_alarm(name="calm", state=State.ALARM), ALICE, 1
        )
        assert renamed == alarms.find("a1")
        assert (renamed.judged_us, renamed.suppressed) == (NOW_US, True)
        assert renamed.rule_states == (State.ALARM, State.OK)
        by_hand = alarms.replace("a1", lambda _: make_alarm(state=State.OK), ALICE, 2)
        assert (by_hand.judged_us, by_hand.suppressed) == (NOW_US, False)
        assert by_hand.rule_states == (State.ALARM, State.OK)

    @pytest.mark.parametrize(
        "change",
        [
            lambda alarm: msgspec.structs.replace(
                alarm, rule=msgspec.structs.replace(alarm.rule, threshold=71.0)
            ),
            lambda alarm: msgspec.structs.replace(alarm, project_id="p2"),
        ],
        ids=["rule", "project"],
    )
    def test_forgets_what_was_judged_by_another_rule(self, alarms, alarm, change):
        alarms.record(
            make_transition(alarm, step_us=NOW_US, suppressed=True, rule_states=(State.ALARM,))
        )
        changed = alarms.replace("a1", change, ALICE, NOW_US)
        assert (changed.judged_us, changed.suppressed, changed.rule_states) == (None, False, ())

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


class TestManualState:
    @pytest.mark.usefixtures("alarm")
    def test_is_in_the_history_and_tells_nobody(self, alarms, outbox):
        changed = alarms.set_state("a1", State.ALARM, ALICE, NOW_US + 7)
        assert (changed.state, changed.state_timestamp_us) == (State.ALARM, NOW_US + 7)
        assert changed.state_reason == "Manually set via API"
        assert told(alarms)[0] == (
            "state transition",
            {"state": "alarm", "transition_reason": "Manually set via API"},
        )
        assert outbox.due(NOW_US + 7, 10) == []

    def test_keeps_what_was_judged_but_withholds_nothing_any_more(self, alarms, alarm):
        alarms.record(
            make_transition(alarm, step_us=NOW_US, suppressed=True, rule_states=(State.OK,))
        )
        changed = alarms.set_state("a1", State.ALARM, ALICE, NOW_US + 7)
        assert changed == alarms.find("a1")
        assert (changed.judged_us, changed.suppressed) == (NOW_US, False)
        assert changed.rule_states == (State.OK,)


class TestDelete:
    def test_what_was_decided_is_still_told(self, alarms, outbox, retired):
        alarm = make_alarm(trust_id="t1", alarm_actions=("trust+http://heat.example/signal",))
        alarms.create(alarm, ALICE)
        alarms.record(make_transition(alarm))
        alarms.delete("a1", ALICE, NOW_US + 2)
        assert alarms.find("a1") is None
        (pending,) = outbox.due(NOW_US + 2, 10)
        assert pending.trust_id == "t1"
        assert retired.unused(NOW_US + 3) == []  # the pending one needs it
        outbox.settle([Outcome(pending.notification_id, Status.DELIVERED)], NOW_US + 3)
        assert retired.unused(NOW_US + 3) == ["t1"]


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
        counts = {status: count for status, count in outbox.counts().items() if count}
        assert counts == {Status.PENDING: 1, Status.DEAD: 1}

    def test_leaves_out(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        one, other = outbox.due(NOW_US + 1, 10)
        project = one.project_id

        def left(**enough):
            return outbox.due(NOW_US + 1, 10, Enough(**enough))

        assert left(ids=[one.notification_id]) == [other]
        assert left(urls=[(project, one.action)]) == [other]
        assert left(targets=[(project, one.target)]) == [other]
        assert left(projects=[project]) == []
        assert left(
            projects=["another"],
            targets=[("another", one.target)],
            urls=[("another", one.action), (project, "http://another.example/")],
        ) == [one, other]

    def test_one_alarm_tells_a_url_in_the_order_of_its_transitions(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        again = alarms.find(alarm.alarm_id)
        assert alarms.record(make_transition(again, timestamp_us=NOW_US + 50))

        def due(now_us=NOW_US + 99):
            return [(one.action, one.created_us - NOW_US) for one in outbox.due(now_us, 10)]

        a, b = alarm.alarm_actions
        assert due()[:2] in ([(a, 1), (b, 1)], [(b, 1), (a, 1)])
        assert due()[2:] in ([(a, 50), (b, 50)], [(b, 50), (a, 50)])
        (first,) = [one for one in outbox.due(NOW_US + 1, 10) if one.action == a]
        failure = Outcome(first.notification_id, Status.PENDING, "HTTP 500", NOW_US + 500)
        outbox.settle([failure], NOW_US + 60)
        assert due() == [(b, 1), (b, 50)]  # what follows on the failure waits with it
        assert due(NOW_US + 500) == [(b, 1), (b, 50), (a, 1)]
        told = {(alarm.alarm_id, a)}
        assert outbox.following(told, NOW_US + 99, 10) == []
        outbox.settle([Outcome(first.notification_id, Status.DEAD, "HTTP 500")], NOW_US + 70)
        (next_one,) = outbox.following(told, NOW_US + 99, 10)
        assert (next_one.action, next_one.created_us) == (a, NOW_US + 50)
        assert outbox.following(told, NOW_US + 49, 10) == []
        assert outbox.following({("another", a)}, NOW_US + 99, 10) == []

    def test_purge_keeps_what_is_pending(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        one, _ = outbox.due(NOW_US + 1, 10)
        outbox.settle([Outcome(one.notification_id, Status.DELIVERED)], NOW_US + 2)
        assert outbox.purge(NOW_US + 2) == 0
        assert outbox.purge(NOW_US + 10**15) == 1
        assert len(outbox.due(NOW_US + 10**15, 10)) == 1
        assert alarms.purge_history(NOW_US) == 0
        assert alarms.purge_history(NOW_US + 2) == 2
