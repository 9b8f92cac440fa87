# SPDX-License-Identifier: Apache-2.0
"""What the evaluator writes: transitions, and how far it has come."""

import json
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tests.service.alarm_support import ALICE, NOW_US, make_alarm, make_transition, told
from thermostat.alarms.model import RefusedTransition, State
from thermostat.db.tables import ALARM, HISTORY, NOTIFICATION
from thermostat.db.writing import writer

UNIQUE = {"event_id", "notification_id", "request_id", "position"}
"""Columns that differ however often the same is written."""


def rename(name):
    return lambda alarm: msgspec.structs.replace(alarm, name=name)


class TestRecord:
    @pytest.mark.parametrize("quiet", [False, True])
    def test_a_reason_that_not_every_database_can_hold(self, alarms, alarm, quiet):
        told = msgspec.structs.replace(make_transition(alarm), reason="a\0b", quiet=quiet)
        assert alarms.record(told)
        assert alarms.find("a1").state_reason == "a\ufffdb"

    def test_writes_state_history_and_notifications(self, alarms, outbox, alarm):
        assert alarms.record(make_transition(alarm))
        stored = alarms.find("a1")
        assert (stored.state, stored.state_reason, stored.revision) == (State.ALARM, "because", 2)
        assert stored.state_timestamp_us == stored.evaluate_timestamp_us == NOW_US + 1
        assert stored.timestamp_us == NOW_US
        kind, detail = told(alarms)[0]
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

    def test_a_change_writes_what_was_judged(self, alarms, alarm):
        states = (State.ALARM, State.INSUFFICIENT_DATA)
        alarms.record(make_transition(alarm, step_us=NOW_US - 5, rule_states=states))
        stored = alarms.find("a1")
        assert (stored.judged_us, stored.rule_states) == (NOW_US - 5, states)
        assert not stored.suppressed

    def test_a_suppressed_change_is_in_the_history_and_tells_nobody(self, alarms, outbox, alarm):
        assert alarms.record(make_transition(alarm, suppressed=True))
        stored = alarms.find("a1")
        assert (stored.state, stored.suppressed, stored.revision) == (State.ALARM, True, 2)
        assert [kind for kind, _ in told(alarms)] == ["state transition", "creation"]
        assert outbox.due(NOW_US + 1, 10) == []

    def test_letting_go_tells_what_was_withheld(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm, suppressed=True))
        stored = alarms.find("a1")
        states = (State.OK,)
        assert alarms.record(
            make_transition(stored, step_us=NOW_US + 8, rule_states=states, timestamp_us=NOW_US + 9)
        )
        assert alarms.find("a1") == msgspec.structs.replace(
            stored,
            suppressed=False,
            judged_us=NOW_US + 8,
            rule_states=states,
            evaluate_timestamp_us=NOW_US + 9,
        )
        assert len(told(alarms)) == 2
        assert len(outbox.due(NOW_US + 9, 10)) == 2

    def test_a_repetition_may_be_suppressed_too(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm, suppressed=True))
        assert alarms.record(make_transition(alarms.find("a1"), suppressed=True))
        assert outbox.due(NOW_US + 9, 10) == []

    def test_a_quiet_one_writes_only_what_is_known(self, alarms, outbox, alarm):
        assert alarms.record(
            make_transition(
                alarm,
                state=alarm.state,
                reason="2 of 3 datapoints missing",
                quiet=True,
                suppressed=True,
                step_us=NOW_US,
                rule_states=(State.OK,),
            )
        )
        assert alarms.find("a1") == msgspec.structs.replace(
            alarm,
            state_reason="2 of 3 datapoints missing",
            suppressed=True,
            judged_us=NOW_US,
            rule_states=(State.OK,),
            evaluate_timestamp_us=NOW_US + 1,
        )
        assert [kind for kind, _ in told(alarms)] == ["creation"]
        assert outbox.due(NOW_US + 1, 10) == []

    def test_a_repetition_tells_again(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        stored = alarms.find("a1")
        assert alarms.record(make_transition(stored, reason="still", timestamp_us=NOW_US + 9))
        assert alarms.find("a1") == msgspec.structs.replace(
            stored, evaluate_timestamp_us=NOW_US + 9
        )
        assert len(told(alarms)) == 2
        assert len(outbox.due(NOW_US + 9, 10)) == 4

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
        before, events = alarms.find("a1"), told(alarms)
        assert not alarms.record(make_transition(alarm))
        assert (alarms.find("a1"), told(alarms)) == (before, events)
        assert outbox.due(NOW_US + 1, 10) == []

    def test_a_disabled_alarm_tells_nothing(self, alarms, outbox):
        alarm = make_alarm(enabled=False)
        alarms.create(alarm, ALICE)
        assert not alarms.record(make_transition(alarm))
        assert outbox.due(NOW_US + 1, 10) == []

    def test_either_everything_or_nothing(self, alarms, alarm, engine):
        """The notifications are written last, so all else was written when they fail."""
        alarms.create(make_alarm(alarm_id="a2"), ALICE)
        other = alarms.find("a2")
        with writer(engine).begin() as connection:
            connection.exec_driver_sql("alter table notification rename to gone")
        with pytest.raises(DBAPIError, match="notification"):
            alarms.record_all(
                [make_transition(alarm, quiet=True, state=alarm.state), make_transition(other)]
            )
        assert alarms.find("a1") == alarm
        assert alarms.find("a2") == other
        assert [kind for kind, _ in told(alarms, "a2")] == ["creation"]

    def test_nothing_to_write(self, alarms):
        assert alarms.record_all([]) == []

    def test_more_than_one_statement_may_ask_for(self, alarms, monkeypatch):
        monkeypatch.setattr("thermostat.db.locking.MOST_IDS", 2)
        created = [make_alarm(alarm_id=f"a{number}") for number in range(5)]
        for alarm in created:
            alarms.create(alarm, ALICE)
        assert alarms.record_all([make_transition(alarm) for alarm in created]) == [True] * 5
        assert {alarm.state for alarm in alarms.standing()} == {State.ALARM}


@dataclass(frozen=True)
class Wish:
    """A transition of one of three alarms, onto the revision that it will have or another."""

    alarm_id: str
    revision: int
    previous: State
    state: State
    quiet: bool
    suppressed: bool


wishes = st.lists(
    st.builds(
        Wish,
        alarm_id=st.sampled_from(["a0", "a1", "a2", "disabled", "gone"]),
        revision=st.integers(1, 3),
        previous=st.sampled_from(State),
        state=st.sampled_from(State),
        quiet=st.booleans(),
        suppressed=st.booleans(),
    ),
    max_size=12,
)


class TestManyAtOnce:
    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
    )
    @given(wishes=wishes)
    def test_give_what_one_after_the_other_gives(self, engine, alarms, wishes):
        transitions = [
            make_transition(
                make_alarm(alarm_id=wish.alarm_id, revision=wish.revision, state=wish.previous),
                state=wish.previous if wish.quiet else wish.state,
                reason=f"reason {number}",
                quiet=wish.quiet,
                suppressed=wish.suppressed,
                step_us=number,
                timestamp_us=NOW_US + number,
                rule_states=(wish.state,),
            )
            for number, wish in enumerate(wishes)
        ]
        self._fill(engine, alarms)
        one_by_one = [alarms.record(transition) for transition in transitions]
        expected = self._content(engine)
        self._fill(engine, alarms)
        assert alarms.record_all(transitions) == one_by_one
        assert self._content(engine) == expected

    @staticmethod
    def _fill(engine, alarms):
        with writer(engine).begin() as connection:
            for table in (ALARM, HISTORY, NOTIFICATION):
                connection.execute(table.delete())
        for alarm_id in ("a0", "a1", "a2"):
            alarms.create(make_alarm(alarm_id=alarm_id), ALICE)
        alarms.create(make_alarm(alarm_id="disabled", enabled=False), ALICE)

    @staticmethod
    def _content(engine):
        with engine.connect() as connection:
            return [
                sorted(
                    json.dumps({k: v for k, v in row._mapping.items() if k not in UNIQUE})
                    for row in connection.execute(select(table))
                )
                for table in (ALARM, HISTORY, NOTIFICATION)
            ]


class TestWatermark:
    def test_is_kept(self, alarms):
        assert alarms.judged_us() is None
        alarms.note_judged(NOW_US)
        alarms.note_judged(NOW_US + 10)
        assert alarms.judged_us() == NOW_US + 10


class TestRecurring:
    def test_is_told_as_a_change_is_but_the_revision_stays(self, alarms, outbox, alarm):
        alarms.record(make_transition(alarm))
        fired = alarms.find("a1")
        again = make_transition(fired, recurs=True, reason="again", timestamp_us=NOW_US + 9)
        assert alarms.record(again)
        stored = alarms.find("a1")
        assert (stored.state, stored.state_reason) == (State.ALARM, "again")
        assert (stored.revision, stored.state_timestamp_us) == (2, NOW_US + 1)
        kind, detail = told(alarms)[0]
        assert (kind, detail["transition_reason"]) == ("state transition", "again")
        assert len(outbox.due(NOW_US + 9, 10)) == 4

    def test_nothing_is_written_after_what_was_refused(self, alarms, outbox, alarm):
        stale = make_transition(msgspec.structs.replace(alarm, revision=0))
        next_one = make_transition(alarm, recurs=True)
        assert alarms.record_all([stale, next_one]) == [False, False]
        assert alarms.find("a1") == alarm
        assert not outbox.due(NOW_US + 1, 10)


class TestRefused:
    """What cannot be written for what is in it, and what cannot while nothing can."""

    @staticmethod
    def _refuse(engine, alarm_id):
        """Have the database refuse to change one alarm's row."""
        if engine.dialect.name == "sqlite":
            statements = [
                "create trigger refuse before update on alarm "
                f"when old.alarm_id = '{alarm_id}' begin select raise(abort, 'no'); end"
            ]
        else:
            statements = [f"alter table alarm add check (alarm_id != '{alarm_id}' or revision < 2)"]
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def test_one_alarm(self, engine, alarms, alarm):
        other = make_alarm(alarm_id="a2")
        alarms.create(other, ALICE)
        self._refuse(engine, "a1")
        with pytest.raises(RefusedTransition, match="IntegrityError"):
            alarms.record(make_transition(alarm))
        assert alarms.find("a1") == alarm
        assert alarms.record(make_transition(other))

    @pytest.mark.parametrize(
        "changes", [{"timestamp_us": 2**70}, {"reason": "\ud800"}, {"reason_data": {"a": object()}}]
    )
    def test_what_no_database_takes(self, alarms, alarm, changes):
        with pytest.raises(RefusedTransition):
            alarms.record(msgspec.structs.replace(make_transition(alarm), **changes))
        assert alarms.find("a1") == alarm

    def test_a_database_that_is_broken(self, engine, alarms, alarm):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"drop table {HISTORY.name}")
        with pytest.raises(SQLAlchemyError):
            alarms.record(make_transition(alarm))

    def test_a_definition_that_cannot_be_read_costs_the_others_nothing(self, engine, alarms):
        for alarm_id in ("a1", "a2"):
            alarms.create(make_alarm(alarm_id=alarm_id), ALICE)
        with engine.begin() as connection:
            connection.exec_driver_sql("update alarm set rule = '{}' where alarm_id = 'a1'")
        assert [one.alarm_id for one in alarms.standing()] == ["a2"]
        assert [one.alarm_id for one in alarms.standing_of({"a1", "a2"})] == ["a2"]
