# SPDX-License-Identifier: Apache-2.0
"""The judge's thread, with a real database and a fake load balancing service."""

import time

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from tests.service.alarm_support import ALICE, make_alarm, open_database, told
from thermostat.alarms.balancers import LoadBalancerRule
from thermostat.alarms.model import State, TimeConstraint
from thermostat.balancers.fake import FakeBalancers
from thermostat.balancers.judge import BalancerJudge
from thermostat.db.alarms import AlarmRepository
from thermostat.db.outbox import Outbox, Status

NOON_S = 1_764_072_000.0  # 2025-11-25T12:00:00
FAILING = {
    "id": "m1",
    "address": "10.0.0.11",
    "protocol_port": 80,
    "operating_status": "ERROR",
    "admin_state_up": True,
    "created_at": "2025-11-25T11:00:00",
}
NIGHT = TimeConstraint(name="night", start="0 22 * * *", duration=3600)


def rule(pool_id="pool"):
    return LoadBalancerRule(pool_id=pool_id, stack_id="s", autoscaling_group_id="g")


class Bench:
    """A judge whose rounds come when the test asks for them, and at each changed alarm."""

    def __init__(self, path):
        self.engine = open_database(path)
        self.alarms = AlarmRepository(self.engine)
        self.outbox = Outbox(self.engine)
        self.balancers = FakeBalancers()
        self.woken = 0
        self.changed = []
        self.now_s = NOON_S
        self.judge = self.make()

    def make(self, interval_s=3600.0):
        self.registry = CollectorRegistry()
        return BalancerJudge(
            self.balancers,
            self.alarms,
            interval_s=interval_s,
            grace_s=120,
            notify=self._notify,
            alarm_changed=self._changed,
            clock=lambda: self.now_s,
            registry=self.registry,
        )

    def _notify(self):
        self.woken += 1

    def _changed(self, alarm_id):
        """As the server does: every part is told, the judge itself among them."""
        self.changed.append(alarm_id)
        self.judge.alarm_changed(alarm_id)

    def create(self, **changes):
        alarm = make_alarm(
            **{"rule": rule(), "alarm_actions": ("trust+heat://",), "ok_actions": (), **changes}
        )
        self.alarms.create(alarm, ALICE)
        return alarm

    def edit(self, alarm_id="a1", **changes):
        self.alarms.replace(
            alarm_id, lambda alarm: msgspec.structs.replace(alarm, **changes), ALICE, 1
        )
        self.judge.alarm_changed(alarm_id)
        self.pass_()

    def pass_(self):
        """One pass of the judge's thread: what has changed."""
        return self.judge._pass()

    def round(self):
        """One pass after the interval is over."""
        self.judge._next_at = 0.0
        return self.pass_()

    def load(self):
        self.judge._watched = {
            one.alarm_id: one for one in self.alarms.standing({"loadbalancer_member_health"})
        }

    def find(self, alarm_id="a1"):
        return self.alarms.find(alarm_id)

    def states(self, alarm_id="a1"):
        """The states in the alarm's history, the oldest first."""
        return [
            detail["state"]
            for kind, detail in reversed(told(self.alarms, alarm_id))
            if kind == "state transition"
        ]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "alarms.sqlite")
    yield bench
    bench.engine.dispose()


def test_a_pool_through_its_states(bench):
    bench.balancers.have("pool", "p1")
    bench.create()
    bench.load()
    bench.round()
    assert bench.find().state is State.OK
    bench.balancers.have("pool", "p1", FAILING)
    bench.round()
    assert bench.find().state is State.ALARM
    assert bench.outbox.counts()[Status.PENDING] == 1
    (due,) = bench.outbox.due(2**62, 10)
    assert due.action == "trust+heat://"
    assert '"asg_id": "g"' in due.body or '"asg_id":"g"' in due.body
    assert '"m1"' in due.body
    bench.balancers.have("pool", "p1")
    bench.round()
    del bench.balancers.pools["pool"]
    bench.round()
    assert bench.states() == ["ok", "alarm", "ok", "insufficient data"]
    assert "does not exist in the project" in bench.find().state_reason
    assert bench.changed == ["a1"] * 4


def test_nothing_is_written_and_nobody_called_while_nothing_changes(bench):
    bench.balancers.have("pool", "p1", FAILING)
    bench.create()
    bench.load()
    bench.round()
    before = bench.find()
    for _ in range(3):
        bench.round()
    assert bench.find() == before
    assert bench.woken == 1
    assert bench.outbox.counts()[Status.PENDING] == 1


def test_alarms_that_share_a_pool_share_the_request(bench):
    bench.balancers.have("pool", "p1", FAILING)
    for number in range(5):
        bench.create(alarm_id=f"a{number}")
    bench.create(alarm_id="b", rule=rule("other"))
    bench.load()
    bench.round()
    assert bench.balancers.asked == [frozenset({"pool", "other"})]
    assert {bench.find(f"a{number}").state for number in range(5)} == {State.ALARM}
    assert bench.find("b").state is State.INSUFFICIENT_DATA


def test_another_projects_pool_tells_nothing(bench):
    bench.balancers.have("pool", "p2", FAILING)
    bench.create(alarm_id="foreign")
    bench.create(alarm_id="missing", rule=rule("none"))
    bench.load()
    bench.round()
    foreign, missing = bench.find("foreign"), bench.find("missing")
    assert foreign.state is missing.state is State.INSUFFICIENT_DATA
    assert foreign.state_reason.replace("pool", "none") == missing.state_reason.replace(
        "pool", "none"
    )
    assert bench.outbox.counts()[Status.PENDING] == 0


class TestChanges:
    def test_a_new_alarm_is_judged_at_once_and_alone(self, bench):
        bench.balancers.have("pool", "p1", FAILING)
        bench.create(alarm_id="old", rule=rule("other"))
        bench.load()
        bench.round()
        bench.create()
        bench.judge.alarm_changed("a1")
        bench.pass_()
        assert bench.find().state is State.ALARM
        assert bench.balancers.asked[1:] == [frozenset({"pool"})]

    def test_its_own_transition_is_not_judged_again(self, bench):
        """Or an alarm with repeat_actions would call them twice at once."""
        bench.balancers.have("pool", "p1", FAILING)
        bench.create(repeat_actions=True)
        bench.load()
        bench.round()
        assert bench.changed == ["a1"]
        bench.pass_()
        assert len(bench.balancers.asked) == 1
        assert bench.outbox.counts()[Status.PENDING] == 1

    def test_an_edited_rule_is_judged_at_once(self, bench):
        bench.balancers.have("pool", "p1")
        bench.balancers.have("other", "p1", FAILING)
        bench.create()
        bench.load()
        bench.round()
        bench.edit(rule=rule("other"))
        assert bench.find().state is State.ALARM

    def test_a_disabled_or_deleted_alarm_is_left_alone(self, bench):
        bench.balancers.have("pool", "p1")
        bench.create()
        bench.create(alarm_id="gone")
        bench.load()
        bench.round()
        bench.edit(enabled=False)
        bench.alarms.delete("gone", ALICE, 1)
        bench.judge.alarm_changed("gone")
        bench.balancers.have("pool", "p1", FAILING)
        asked = len(bench.balancers.asked)
        bench.round()
        assert bench.find().state is State.OK
        assert len(bench.balancers.asked) == asked
        bench.edit(enabled=True)
        assert bench.find().state is State.ALARM

    def test_alarms_of_other_types_are_none_of_its_business(self, bench):
        bench.create(rule=make_alarm().rule)
        bench.load()
        bench.judge.alarm_changed("a1")
        bench.round()
        assert bench.balancers.asked == []

    def test_an_alarm_that_becomes_one_of_its_own(self, bench):
        bench.balancers.have("pool", "p1", FAILING)
        bench.create(rule=make_alarm().rule)
        bench.load()
        bench.edit(rule=rule())
        assert bench.find().state is State.ALARM
        bench.edit(rule=make_alarm().rule)
        asked = len(bench.balancers.asked)
        bench.round()
        assert len(bench.balancers.asked) == asked

    def test_an_edit_during_a_round_wins(self, bench):
        bench.balancers.have("pool", "p1", FAILING)
        bench.create()
        bench.load()
        read = bench.balancers.read

        def edited_meanwhile(pool_ids):
            bench.balancers.read = read
            bench.alarms.set_state("a1", State.OK, ALICE, 1)
            return read(pool_ids)

        bench.balancers.read = edited_meanwhile
        bench.round()
        assert bench.find().state is State.OK
        bench.round()
        assert bench.find().state is State.ALARM

    def test_a_state_that_was_set_by_hand_is_judged_in_the_next_round(self, bench):
        bench.balancers.have("pool", "p1")
        bench.create()
        bench.load()
        bench.round()
        bench.alarms.set_state("a1", State.ALARM, ALICE, 1)
        bench.judge.alarm_changed("a1")
        bench.pass_()
        assert bench.find().state is State.ALARM
        bench.round()
        assert bench.find().state is State.OK


class TestActions:
    def test_repeated_ones_come_again_at_each_round(self, bench):
        bench.balancers.have("pool", "p1", FAILING)
        bench.create(repeat_actions=True)
        bench.load()
        for _ in range(3):
            bench.round()
        assert bench.outbox.counts()[Status.PENDING] == 3
        assert bench.states() == ["alarm"]
        bodies = [one.body for one in bench.outbox.due(2**62, 10)]
        assert sum("Remaining as alarm" in body for body in bodies) == 2

    def test_a_state_without_actions_is_not_repeated(self, bench):
        bench.balancers.have("pool", "p1")
        bench.create(repeat_actions=True)
        bench.load()
        bench.round()
        before = bench.find()
        bench.round()
        assert bench.find() == before

    def test_outside_its_time_constraints_an_alarm_keeps_its_state(self, bench):
        bench.balancers.have("pool", "p1", FAILING)
        bench.create(time_constraints=(NIGHT,))
        bench.load()
        bench.round()
        assert bench.balancers.asked == []
        bench.now_s += 10.5 * 3600
        bench.round()
        assert bench.find().state is State.ALARM

    def test_a_new_member_is_given_time(self, bench):
        bench.balancers.have("pool", "p1", {**FAILING, "created_at": "2025-11-25T11:59:00"})
        bench.create()
        bench.load()
        bench.round()
        assert bench.find().state is State.OK
        bench.now_s += 60
        bench.round()
        assert bench.find().state is State.ALARM


class TestTroubles:
    def test_an_absent_octavia_is_told_and_heals(self, bench):
        bench.balancers.have("pool", "p1")
        bench.create()
        bench.load()
        bench.round()
        bench.balancers.away = "Octavia being out of reach: no answer in time"
        assert bench.round() is None
        assert bench.find().state is State.INSUFFICIENT_DATA
        assert "out of reach" in bench.find().state_reason
        bench.balancers.away = "Octavia being out of reach: it answered 503"
        bench.round()
        assert "503" in bench.find().state_reason
        assert bench.states() == ["ok", "insufficient data"]
        bench.balancers.away = None
        bench.round()
        assert bench.find().state is State.OK

    def test_an_alarm_says_why_it_knows_nothing_from_the_start(self, bench):
        bench.create()
        bench.load()
        bench.round()
        assert bench.find().state is State.INSUFFICIENT_DATA
        assert "does not exist" in bench.find().state_reason
        assert bench.states() == []

    def test_what_cannot_be_written_is_judged_again(self, bench):
        bench.balancers.have("pool", "p1", FAILING)
        bench.create()
        bench.load()
        record_all = bench.alarms.record_all

        def fails(_transitions):
            raise OSError("disk full")

        bench.alarms.record_all = fails
        assert "cannot be written" in bench.round()
        bench.alarms.record_all = record_all
        assert bench.pass_() is None
        assert bench.find().state is State.ALARM
        assert bench.woken == 1

    def test_what_cannot_be_read_from_the_database_is_read_again(self, bench):
        bench.balancers.have("pool", "p1", FAILING)
        bench.load()
        bench.create()
        standing_of = bench.alarms.standing_of

        def fails(_alarm_ids, _types):
            raise OSError("no connection")

        bench.alarms.standing_of = fails
        bench.judge.alarm_changed("a1")
        with pytest.raises(OSError, match="no connection"):
            bench.pass_()
        bench.alarms.standing_of = standing_of
        bench.pass_()
        assert bench.find().state is State.ALARM


def test_the_thread(bench):
    bench.balancers.have("pool", "p1")
    bench.create()
    judge = bench.judge = bench.make(interval_s=0.05)
    assert judge.check() is not None
    judge.start()
    try:
        wait_until(lambda: bench.find().state is State.OK)
        bench.balancers.have("pool", "p1", FAILING)
        wait_until(lambda: bench.find().state is State.ALARM)
        assert judge.check() is None
    finally:
        judge.stop()
    assert judge.check() == "the judge of load balancers stopped"
    assert bench.registry.get_sample_value("thermostat_balancer_pools_total", {"outcome": "read"})


def wait_until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
