# SPDX-License-Identifier: Apache-2.0
"""What silences withhold, and what is told when they end."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from tests.service.alarm_support import ALICE, NOW_US, make_alarm, make_transition, told
from thermostat.alarms.model import State
from thermostat.db.alarms import AlarmRepository
from thermostat.db.outbox import Outbox, Status
from thermostat.db.silences import (
    Op,
    Silence,
    SilenceExpired,
    SilenceNotFound,
    SilenceRepository,
    Term,
    TooManySilences,
)
from thermostat.db.silences import Status as Stands
from thermostat.db.tables import ALARM, ALARM_OWNER, HISTORY, NOTIFICATION, SILENCE, WITHHELD
from thermostat.db.withholding import Withheld
from thermostat.db.writing import writer

HOUR_US = 3_600_000_000
BUSY = (Term("name", "busy"),)


def make_silence(**changes):
    silence = Silence(
        silence_id="s1",
        project_id="p1",
        matcher=BUSY,
        from_us=NOW_US,
        until_us=NOW_US + HOUR_US,
        user_id="alice",
        comment="maintenance",
        created_us=NOW_US,
        updated_us=NOW_US,
    )
    return msgspec.structs.replace(silence, **changes)


@pytest.fixture
def silences(engine):
    return SilenceRepository(engine, most_per_project=3)


def end(silences, now_us, silence_id="s1"):
    silences.change(
        silence_id, lambda current: msgspec.structs.replace(current, until_us=now_us), now_us
    )


class World:
    """A database with an alarm whose states come one after the other, a microsecond apart."""

    def __init__(self, engine):
        self.engine = engine
        self.alarms = AlarmRepository(engine)
        self.outbox = Outbox(engine)
        self.silences = SilenceRepository(engine, most_per_project=3)
        self.withheld = Withheld(engine)
        self.now_us = NOW_US
        self.alarms.create(make_alarm(), ALICE)

    def go(self, state, alarm_id="a1", **changes):
        self.now_us += 1
        alarm = self.alarms.find(alarm_id)
        transition = make_transition(alarm, state, timestamp_us=self.now_us, **changes)
        assert self.alarms.record(transition)

    def end(self, now_us, silence_id="s1"):
        """Let a silence end by hand."""
        end(self.silences, now_us, silence_id)

    def pending(self):
        return [one.action for one in self.outbox.due(NOW_US + 10 * HOUR_US, 1000)]

    def rows(self, table=NOTIFICATION):
        with self.engine.connect() as connection:
            return connection.execute(select(table)).all()


@pytest.fixture
def world(engine):
    return World(engine)


class TestASilencedTransition:
    def test_is_in_state_and_history_but_never_sent(self, world):
        world.silences.create(make_silence())
        world.go(State.ALARM)
        assert world.alarms.find("a1").state is State.ALARM
        kind, detail = told(world.alarms)[0]
        assert (kind, detail["state"], detail["silenced_by"]) == (
            "state transition", "alarm", "s1",
        )  # fmt: skip
        kept = world.rows()
        assert len(kept) == 2
        for row in kept:
            assert (row.status, row.attempts) == ("silenced", 0)
            assert row.last_error == "silenced by silence s1"
            assert row.finished_us == world.now_us
        assert world.outbox.counts()[Status.SILENCED] == 2
        assert world.withheld.tell(world.now_us) == 0
        assert world.pending() == []

    def test_repetitions_are_silenced_too(self, world):
        world.go(State.ALARM)
        world.silences.create(make_silence(from_us=NOW_US + 2))
        world.go(State.ALARM)
        assert len(world.pending()) == 2
        assert len(world.rows()) == 4
        assert world.rows(WITHHELD) == []  # the state is known already

    def test_one_that_happens_again_is_in_the_history_as_silenced(self, world):
        world.silences.create(make_silence())
        world.go(State.ALARM)
        world.go(State.ALARM, recurs=True)
        assert [detail.get("silenced_by") for _, detail in told(world.alarms)] == ["s1", "s1", None]

    @pytest.mark.parametrize(
        "changes",
        [
            {"from_us": NOW_US + 2},
            {"from_us": NOW_US - 9, "until_us": NOW_US + 1},
            {"project_id": "p2"},
            {"matcher": (Term("name", "bus"),)},
            {"matcher": (*BUSY, Term("severity", "critical"))},
            {"matcher": (Term("state", "ok"),)},
            {"matcher": (Term("name", "busy", Op.NE),)},
            {"matcher": (Term("name", "^us", Op.REGEX),)},
        ],
    )
    def test_others_are_told(self, world, changes):
        world.silences.create(make_silence(**changes))
        world.go(State.ALARM)
        assert len(world.pending()) == 2
        assert "silenced_by" not in told(world.alarms)[0][1]

    @pytest.mark.parametrize(
        "term",
        [
            Term("name", "us", Op.REGEX),
            Term("alarm_id", "a1"),
            Term("type", "threshold"),
            Term("description", ""),
            Term("severity", "critical", Op.NE),
            Term("state", "^(alarm|insufficient data)$", Op.REGEX),
        ],
    )
    @pytest.mark.parametrize("project_id", ["p1", None])
    def test_matchers(self, world, term, project_id):
        world.silences.create(make_silence(matcher=(term,), project_id=project_id))
        world.go(State.ALARM)
        assert world.pending() == []

    def test_a_suppressed_one_is_not_marked(self, world):
        world.silences.create(make_silence())
        world.go(State.ALARM, suppressed=True)
        assert "silenced_by" not in told(world.alarms)[0][1]

    def test_many_in_one_transaction(self, world):
        for number in range(40):
            name = "quiet" if number % 2 else "loud"
            world.alarms.create(make_alarm(alarm_id=f"m{number}", name=name), ALICE)
        world.silences.create(make_silence(matcher=(Term("name", "quiet"),)))
        found = [world.alarms.find(f"m{number}") for number in range(40)]
        assert all(world.alarms.record_all([make_transition(alarm) for alarm in found]))
        counts = world.outbox.counts()
        assert (counts[Status.PENDING], counts[Status.SILENCED]) == (40, 40)
        assert len(world.rows(WITHHELD)) == 20


class TestTheEnd:
    def test_the_state_is_told_once(self, world):
        world.silences.create(make_silence())
        world.go(State.OK)
        world.go(State.ALARM)
        end_us = NOW_US + HOUR_US
        assert world.withheld.tell(end_us - 1) == 0
        assert world.withheld.tell(end_us) == 1
        assert world.withheld.tell(end_us) == 0
        due = world.outbox.due(end_us, 10)
        assert sorted(one.action for one in due) == sorted(make_alarm().alarm_actions)
        body = json.loads(due[0].body)
        assert (body["previous"], body["current"]) == ("insufficient data", "alarm")
        assert body["reason"] == "because"
        assert body["reason_data"]["most_recent"] == 90.0
        assert due[0].created_us == end_us
        assert world.rows(WITHHELD) == []

    def test_a_state_that_is_known_is_not_told_again(self, world):
        world.go(State.ALARM)
        world.silences.create(make_silence())
        world.go(State.OK)
        world.go(State.ALARM)
        assert world.withheld.tell(NOW_US + HOUR_US) == 0
        assert len(world.pending()) == 2

    def test_when_it_is_ended_by_hand(self, world):
        world.silences.create(make_silence())
        world.go(State.ALARM)
        world.end(world.now_us + 5)
        assert world.withheld.tell(world.now_us + 5) == 1
        assert len(world.pending()) == 2

    def test_not_when_it_is_extended(self, world):
        world.silences.create(make_silence())
        world.go(State.ALARM)
        world.silences.change(
            "s1",
            lambda now: msgspec.structs.replace(now, until_us=NOW_US + 2 * HOUR_US),
            world.now_us,
        )
        assert world.withheld.tell(NOW_US + HOUR_US) == 0
        assert world.withheld.tell(NOW_US + 2 * HOUR_US) == 1
        assert len(world.pending()) == 2

    def test_when_the_matcher_lets_go(self, world):
        world.silences.create(make_silence())
        world.go(State.ALARM)
        world.silences.change(
            "s1",
            lambda now: msgspec.structs.replace(now, matcher=(Term("name", "other"),)),
            world.now_us,
        )
        assert world.withheld.tell(world.now_us) == 1

    def test_another_one_goes_on(self, world):
        world.silences.create(make_silence())
        world.silences.create(make_silence(silence_id="s2", until_us=NOW_US + 2 * HOUR_US))
        world.go(State.ALARM)
        world.end(world.now_us, "s2")
        assert world.withheld.tell(world.now_us) == 0
        assert world.withheld.tell(NOW_US + HOUR_US) == 1

    def test_what_was_told_meanwhile_is_not_told_again(self, world):
        """It changed after the end, before anybody looked."""
        world.silences.create(make_silence())
        world.go(State.ALARM)
        world.end(world.now_us)
        world.go(State.OK)
        assert world.withheld.tell(world.now_us) == 0
        assert world.pending() == ["http://one.example/ok"]

    def test_what_was_set_by_hand_is_not_told(self, world):
        world.silences.create(make_silence())
        world.go(State.ALARM)
        world.now_us += 1
        world.alarms.set_state("a1", State.OK, ALICE, world.now_us)
        assert world.withheld.tell(NOW_US + HOUR_US) == 0
        assert world.pending() == []

    @pytest.mark.parametrize("gone", ["deleted", "disabled"])
    def test_alarms_that_are_not_there(self, world, gone):
        world.silences.create(make_silence())
        world.go(State.ALARM)
        if gone == "deleted":
            world.alarms.delete("a1", ALICE, world.now_us)
        else:
            world.alarms.replace(
                "a1", lambda now: msgspec.structs.replace(now, enabled=False), ALICE, world.now_us
            )
        assert world.withheld.tell(NOW_US + HOUR_US) == 0
        assert world.pending() == []
        assert world.rows(WITHHELD) == []

    def test_a_suppressor_that_let_go_meanwhile(self, world):
        world.go(State.ALARM, suppressed=True)
        world.silences.create(make_silence())
        world.go(State.ALARM)
        assert world.pending() == []
        assert world.withheld.tell(NOW_US + HOUR_US) == 1
        assert len(world.pending()) == 2

    def test_a_suppressor_goes_on(self, world):
        world.silences.create(make_silence())
        world.go(State.ALARM)
        world.go(State.OK, suppressed=True)
        assert world.withheld.tell(NOW_US + HOUR_US) == 0
        assert world.pending() == []

    def test_more_than_one_transaction_has_room_for(self, world, monkeypatch):
        monkeypatch.setattr("thermostat.db.withholding.AT_ONCE", 3)
        for number in range(10):
            world.alarms.create(make_alarm(alarm_id=f"m{number}"), ALICE)
        world.silences.create(make_silence())
        found = [world.alarms.find(f"m{number}") for number in range(10)]
        world.alarms.record_all([make_transition(alarm) for alarm in found])
        assert world.withheld.tell(NOW_US + HOUR_US) == 10
        assert len(world.pending()) == 20


class TestRepository:
    def test_what_is_stored_is_found(self, silences):
        terms = (Term("name", "^web", Op.REGEX), Term("severity", "low", Op.NE))
        silence = make_silence(matcher=terms)
        silences.create(silence)
        assert silences.find("s1") == silence
        assert silences.find("s2") is None

    def test_lists_of_a_project_have_those_for_all(self, silences):
        silences.create(make_silence())
        silences.create(make_silence(silence_id="s2", project_id="p2"))
        silences.create(make_silence(silence_id="s3", project_id=None, until_us=NOW_US + 1))
        assert [one.silence_id for one in silences.list("p1")] == ["s1", "s3"]
        assert {one.silence_id for one in silences.list(None)} == {"s1", "s2", "s3"}

    def test_a_project_may_have_so_many(self, silences):
        for number in range(3):
            silences.create(make_silence(silence_id=f"s{number}"))
        with pytest.raises(TooManySilences, match="3"):
            silences.create(make_silence(silence_id="s3"))
        silences.create(make_silence(silence_id="o", project_id="p2"))
        end(silences, NOW_US + 1, "s0")
        silences.create(make_silence(silence_id="s3", created_us=NOW_US + 2))

    def test_creations_at_once_do_not_pass_the_limit(self, engine):
        silences = SilenceRepository(engine, 3)

        def attempt(number):
            with contextlib.suppress(TooManySilences):
                silences.create(make_silence(silence_id=f"s{number}"))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(attempt, range(32)))
        assert len(silences.list("p1")) == 3

    def test_as_many_that_are_over_are_kept(self, silences):
        for number in range(9):
            now_us = NOW_US + number
            silences.create(
                make_silence(silence_id=f"s{number}", from_us=now_us, created_us=now_us)
            )
            end(silences, now_us, f"s{number}")
        assert [one.silence_id for one in silences.list("p1")] == ["s8", "s7", "s6", "s5"]

    def test_what_is_over_cannot_be_changed(self, silences):
        silences.create(make_silence())
        with pytest.raises(SilenceExpired):
            silences.change("s1", lambda now: now, NOW_US + HOUR_US)
        with pytest.raises(SilenceNotFound):
            silences.change("s2", lambda now: now, NOW_US)

    def test_purge(self, silences):
        silences.create(make_silence())
        assert silences.purge(NOW_US + HOUR_US) == 0
        assert silences.purge(NOW_US + HOUR_US + 1) == 1

    def test_counts(self, silences):
        silences.create(make_silence())
        assert silences.count_by_status(NOW_US - 1)[Stands.PENDING] == 1
        assert silences.count_by_status(NOW_US)[Stands.ACTIVE] == 1
        assert silences.count_by_status(NOW_US + HOUR_US)[Stands.EXPIRED] == 1


STEP = st.one_of(
    st.tuples(st.just("go"), st.sampled_from(["busy", "calm"]), st.sampled_from(State)),
    st.tuples(st.just("silence"), st.sampled_from(["busy", "calm"]), st.integers(1, 6)),
    st.tuples(st.just("expire"), st.just(""), st.just(0)),
    st.tuples(st.just("look"), st.just(""), st.just(0)),
)


class Model:
    """It only knows which spans were silent, and which state was told last."""

    def __init__(self, world, names):
        self.world = world
        self.now_us = NOW_US
        self.spans = {name: {} for name in names}
        self.states = dict.fromkeys(names, State.INSUFFICIENT_DATA)
        self.known = dict(self.states)
        self.happened = dict.fromkeys(names, 0)
        self.sent = []
        for name in names:
            world.alarms.create(
                make_alarm(
                    alarm_id=name,
                    name=name,
                    ok_actions=(hook(name, State.OK),),
                    alarm_actions=(hook(name, State.ALARM),),
                    insufficient_data_actions=(hook(name, State.INSUFFICIENT_DATA),),
                ),
                ALICE,
            )

    def is_silent(self, name):
        return any(until_us > self.now_us for until_us in self.spans[name].values())

    def tell(self, name):
        self.known[name] = self.states[name]
        self.sent.append(hook(name, self.states[name]))

    def go(self, name, state):
        if self.states[name] is state:
            return
        transition = make_transition(self.world.alarms.find(name), state, timestamp_us=self.now_us)
        assert self.world.alarms.record(transition)
        self.states[name] = state
        self.happened[name] += 1
        if not self.is_silent(name):
            self.tell(name)

    def silence(self, name, length_us):
        silence = make_silence(
            silence_id=f"s{self.now_us}",
            matcher=(Term("name", name),),
            from_us=self.now_us,
            until_us=self.now_us + length_us,
            created_us=self.now_us,
        )
        try:
            self.world.silences.create(silence)
        except TooManySilences:
            return
        self.spans[name][silence.silence_id] = silence.until_us

    def expire(self, *_):
        for spans in self.spans.values():
            for silence_id, until_us in spans.items():
                if until_us > self.now_us:
                    self.world.end(self.now_us, silence_id)
                    spans[silence_id] = self.now_us

    def look(self, *_):
        self.world.withheld.tell(self.now_us)
        for name, state in self.states.items():
            if not self.is_silent(name) and self.known[name] is not state:
                self.tell(name)


def hook(name, state):
    return f"http://hook.example/{name}/{state.value}"


@given(st.lists(STEP, max_size=25))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_is_lost_and_nothing_silenced_is_sent(world, steps):
    with writer(world.engine).begin() as connection:
        for table in (ALARM, ALARM_OWNER, HISTORY, NOTIFICATION, SILENCE, WITHHELD):
            connection.execute(delete(table))
    model = Model(world, ("busy", "calm"))
    for what, name, value in steps:
        model.now_us += 1
        getattr(model, what)(name, value)
    model.now_us += HOUR_US
    model.look()
    for name, happened in model.happened.items():
        changes = [kind for kind, _ in told(world.alarms, name)]
        assert changes.count("state transition") == happened
    assert sorted(world.pending()) == sorted(model.sent)
    told_of = len(world.rows()) - len(model.sent)
    counts = world.outbox.counts()
    assert counts[Status.SILENCED] == told_of
    assert len(world.rows()) >= sum(model.happened.values())  # each has one, sent or silenced
