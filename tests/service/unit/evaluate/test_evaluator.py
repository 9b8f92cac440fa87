# SPDX-License-Identifier: Apache-2.0
"""The loop around the engine: what fails for one alarm costs the others nothing."""

import threading
import time

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from tests.service.unit.evaluate.world import batch_of, make_alarm
from thermostat.alarms.model import RefusedTransition, State
from thermostat.alarms.rules import AlarmRef, AllOf, CompositeRule, Not, Statistic
from thermostat.evaluate import loop, parking
from thermostat.evaluate.engine import Engine
from thermostat.evaluate.loop import Evaluator
from thermostat.evaluate.pool import Pool
from thermostat.samples.model import Sample, SampleType
from thermostat.store.base import StoreUnavailable
from thermostat.store.memory import MemoryStore


class Alarms:
    """The alarm database of one test: it records what it is told to, or fails as it is told to."""

    def __init__(self, *alarms):
        self.alarms = {alarm.alarm_id: alarm for alarm in alarms}
        self.recorded = []
        self.noted = []
        self.broken = set()
        self.is_down = False
        self.error = OSError("disk I/O error")
        self.tried = 0

    def standing(self):
        return [alarm.standing for alarm in self.alarms.values() if alarm.enabled]

    def standing_of(self, alarm_ids):
        return [
            alarm.standing
            for alarm in self.alarms.values()
            if alarm.enabled and alarm.alarm_id in alarm_ids
        ]

    def record(self, transition):
        if transition.alarm_id in self.broken:
            self.tried += 1
            raise self.error
        if not transition.quiet:
            self.recorded.append(transition)
        return True

    def record_all(self, transitions):
        if self.broken & {transition.alarm_id for transition in transitions}:
            raise self.error
        return [self.record(transition) for transition in transitions]

    def judged_us(self):
        return self.noted[-1] if self.noted else None

    def note_judged(self, judged_us):
        self.try_writing()
        self.noted.append(judged_us)

    def try_writing(self):
        if self.is_down:
            raise OSError("disk I/O error")


class World:
    def __init__(self, *alarms):
        self.store = MemoryStore()
        self.alarms = Alarms(*alarms)
        self.engine = Engine(self.store, allowed_lag_s=1000)
        self.registry = CollectorRegistry()
        self.evaluator = Evaluator(
            self.engine, self.alarms, notify=lambda: None, registry=self.registry
        )
        self.store.subscribe(self.evaluator.described)

    def report(self, volume, group="web"):
        """One member reports the step that has just begun; its time is given."""
        now_s = int(time.time()) // 10 * 10
        sample = Sample(
            name="cpu_util",
            type=SampleType.GAUGE,
            unit="%",
            volume=volume,
            resource_id=f"{group}-vm",
            project_id="p",
            timestamp_us=now_s * 1_000_000,
            metadata={"user_metadata": {"server_group": group}},
        )
        batch = self.store.append(batch_of(self.store.intern([sample]), [sample]))
        self.evaluator.stored(batch)
        return now_s * 1_000_000

    def refuse(self, *alarm_ids):
        self.alarms.error = RefusedTransition("IntegrityError")
        self.alarms.broken |= set(alarm_ids)

    @property
    def parked(self):
        return self.gauge("thermostat_alarms_parked")

    def gauge(self, name):
        return self.registry.get_sample_value(name)

    def states(self, alarm_id):
        return [t.state for t in self.alarms.recorded if t.alarm_id == alarm_id]


@pytest.fixture
def world():
    made = []

    def make(*alarms):
        world = World(*alarms)
        made.append(world)
        return world

    yield make
    for one in made:
        one.evaluator.stop()


def wait_until(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_transition_that_cannot_be_written_delays_no_other_and_is_written_later(world):
    one = world(make_alarm("bad"), make_alarm("good"))
    one.alarms.broken.add("bad")
    one.report(99.0)
    one.evaluator.start()
    wait_until(lambda: one.states("good") == ["alarm"])
    wait_until(lambda: "transitions cannot be written" in (one.evaluator.check() or ""))
    one.alarms.broken.clear()
    wait_until(lambda: one.states("bad") == ["alarm"])
    wait_until(lambda: one.evaluator.check() is None)


class TestRefused:
    @pytest.mark.parametrize("others", ["change too", "change not"])
    def test_is_parked_and_written_later(self, world, monkeypatch, caplog, others):
        monkeypatch.setattr(parking, "FIRST_PAUSE_S", 0.2)
        said = {"state_reason": "because", "state": State.OK}
        names = CompositeRule(expression=Not(AllOf((AlarmRef("bad"), AlarmRef("bad")))))
        one = world(
            make_alarm("bad", **said),
            make_alarm("good", **said, threshold=50.0 if others == "change too" else 100.0),
            make_alarm("names it", rule=names, state_reason="because", state=State.ALARM),
        )
        one.refuse("bad")
        step_us = one.report(99.0)
        one.evaluator.start()
        failed = []
        wait_until(
            lambda: (
                failed.append(one.evaluator.check())
                or (one.alarms.tried >= 3 and one.alarms.noted and one.alarms.noted[-1] >= step_us)
            )
        )
        assert set(failed) == {None}
        assert one.states("good") == (["alarm"] if others == "change too" else [])
        assert one.states("names it") == []
        assert len([record for record in caplog.records if record.exc_info]) == 1
        one.alarms.broken.clear()
        wait_until(lambda: one.states("bad") == ["alarm"])
        wait_until(lambda: one.states("names it") == ["ok"])
        assert one.parked == 0

    def test_an_edit_is_followed_at_once(self, world):
        one = world(make_alarm("bad"), make_alarm("gone"))
        one.refuse("bad", "gone")
        one.report(99.0)
        one.evaluator.start()
        wait_until(lambda: one.parked == 2)
        one.alarms.broken.clear()
        one.alarms.alarms["bad"] = make_alarm("bad", revision=2)
        del one.alarms.alarms["gone"]
        one.evaluator.alarm_changed("bad")
        one.evaluator.alarm_changed("gone")
        wait_until(lambda: one.states("bad") == ["alarm"], parking.FIRST_PAUSE_S / 2)
        assert one.parked == 0

    def test_an_edit_that_comes_between_is_not_parked(self, world, monkeypatch):
        one = world(make_alarm("bad"))
        one.refuse("bad")
        record = one.alarms.record

        def edited(transition):
            one.alarms.alarms["bad"] = make_alarm("bad", revision=2)
            one.evaluator.alarm_changed("bad")
            one.alarms.broken.clear() if transition.revision == 2 else None
            return record(transition)

        monkeypatch.setattr(one.alarms, "record", edited)
        one.report(99.0)
        one.evaluator.start()
        wait_until(lambda: one.states("bad") == ["alarm"], parking.FIRST_PAUSE_S / 2)
        assert one.parked == 0

    @pytest.mark.parametrize("fault", ["nothing is written", "too many are"])
    def test_where_it_is_the_database_none_is_parked(self, world, monkeypatch, fault):
        monkeypatch.setattr(loop, "RETRY_S", 0.01)
        ids = [f"a{number}" for number in range(loop.MOST_ALONE + (fault == "too many are"))]
        one = world(*map(make_alarm, ids))
        one.refuse(*ids)
        one.alarms.is_down = fault == "nothing is written"
        one.report(99.0)
        one.evaluator.start()
        wait_until(lambda: one.alarms.tried > 5 * len(ids))
        assert one.parked == 0
        assert "all are refused" in one.evaluator.check()
        one.alarms.broken.clear()
        one.alarms.is_down = False
        wait_until(lambda: all(map(one.states, ids)))
        wait_until(lambda: one.evaluator.check() is None)

    def test_many_are_parked_where_another_is_written(self, world):
        ids = [f"a{number}" for number in range(loop.MOST_ALONE + 1)]
        one = world(*map(make_alarm, ids), make_alarm("good"))
        one.refuse(*ids)
        one.report(99.0)
        one.evaluator.start()
        wait_until(lambda: one.parked == len(ids))
        assert one.evaluator.check() is None

    def test_pauses_grow_until_it_is_written(self):
        lot, now_s, pauses = parking.Parking(), 0.0, []
        for _ in range(30):
            lot.park("a", now_s)
            begun_s = now_s
            while not lot.due(now_s):
                now_s += 1.0
            pauses.append(now_s - begun_s)
        assert pauses[:4] == [5.0, 10.0, 20.0, 40.0]
        assert pauses[-1] == parking.LONGEST_PAUSE_S
        lot.park("a", now_s)
        lot.forget(["a", "b"])
        assert not len(lot)
        assert "a" not in lot
        lot.park("a", now_s)
        assert lot.due(now_s + parking.FIRST_PAUSE_S) == {"a"}


def test_an_alarm_that_cannot_be_judged_costs_the_others_nothing(world, monkeypatch):
    one = world(make_alarm("bad", threshold=-1.0), make_alarm("good"))
    real = Pool.judge

    def judge(pool, step, cols):
        if (pool.threshold[cols] == -1.0).any():
            raise RuntimeError("a fault of ours")
        return real(pool, step, cols)

    monkeypatch.setattr(Pool, "judge", judge)
    one.report(99.0)
    one.evaluator.start()
    wait_until(lambda: one.states("good") == ["alarm"])
    assert one.engine.failures


@pytest.mark.parametrize("statistic", [Statistic.AVG, Statistic.SUM, Statistic.STDDEV])
def test_volumes_that_overflow_stop_nobody(world, statistic):
    one = world(make_alarm("huge", group="huge", statistic=statistic), make_alarm("good"))
    one.report(1.7e308, group="huge")
    one.evaluator.start()
    for _ in range(2):
        one.report(1.7e308, group="huge")
    one.report(99.0)
    wait_until(lambda: one.states("good") == ["alarm"])
    assert not one.engine.failures


def test_an_alarm_whose_window_cannot_be_read_is_followed_as_soon_as_it_can(world, monkeypatch):
    one = world()
    one.report(99.0)
    one.evaluator.start()

    def scan(*_arguments):
        raise StoreUnavailable("closed for a moment")

    with monkeypatch.context() as patched:
        patched.setattr(one.store, "scan", scan)
        one.alarms.alarms["a"] = make_alarm("a")
        one.evaluator.alarm_changed("a")
        wait_until(lambda: one.evaluator.check() == "alarms cannot be loaded")
        assert len(one.engine) == 0
    wait_until(lambda: one.states("a") == ["alarm"])
    wait_until(lambda: one.evaluator.check() is None)


def test_an_alarm_that_cannot_be_loaded_stops_nobody(world, monkeypatch):
    one = world(make_alarm("good"))
    real = one.engine.put_all

    def put_all(alarms, now_us):
        if "bad" in [alarm.alarm_id for alarm in alarms]:
            raise StoreUnavailable("closed for a moment")
        real(alarms, now_us)

    monkeypatch.setattr(one.engine, "put_all", put_all)
    one.evaluator.start()
    one.alarms.alarms["bad"] = make_alarm("bad")
    one.evaluator.alarm_changed("bad")
    one.report(99.0)
    wait_until(lambda: one.states("good") == ["alarm"])


def test_an_edit_that_cannot_be_loaded_does_not_keep_the_loop_busy(world, monkeypatch):
    one = world(make_alarm("a"))
    tries = []

    def record(transition):
        tries.append(transition)
        return False

    def scan(*_arguments):
        raise StoreUnavailable("closed for a moment")

    one.evaluator.start()
    monkeypatch.setattr(one.alarms, "record_all", lambda told: [record(one) for one in told])
    monkeypatch.setattr(one.store, "scan", scan)
    one.alarms.alarms["a"] = make_alarm("a", threshold=10.0, revision=2)
    one.report(99.0)
    wait_until(lambda: one.evaluator.check() == "alarms cannot be loaded")
    assert len(tries) < 10


def test_of_two_changes_at_once_the_newer_one_wins(world):
    """A reader of the old row that is slow must not undo what a reader of the new one did."""
    one = world()
    enabled = make_alarm("a", revision=2)
    one.alarms.alarms["a"] = msgspec.structs.replace(enabled, enabled=False, revision=1)
    read, go_on = threading.Event(), threading.Event()
    real = one.alarms.standing_of

    def slow(alarm_ids):
        found = real(alarm_ids)
        if not read.is_set():
            read.set()
            go_on.wait(1)
        return found

    one.alarms.standing_of = slow
    one.evaluator.start()
    one.evaluator.alarm_changed("a")
    read.wait()
    one.alarms.alarms["a"] = enabled
    one.evaluator.alarm_changed("a")
    go_on.set()
    wait_until(lambda: len(one.engine) == 1)


def test_how_far_judging_has_come_is_noted(world):
    one = world(make_alarm("a"))
    one.evaluator.start()
    one.report(99.0)
    wait_until(lambda: one.states("a") == ["alarm"])
    (step,) = {t.step_us for t in one.alarms.recorded}
    wait_until(lambda: one.alarms.noted and one.alarms.noted[-1] >= step)
    assert one.alarms.noted == sorted(set(one.alarms.noted))


def test_while_too_much_waits_senders_are_asked_to_come_later(world, monkeypatch):
    one = world(make_alarm("a"))
    assert one.evaluator.overload() is None
    monkeypatch.setattr(one.evaluator, "_queue_samples", 3)
    for _ in range(3):
        one.report(1.0)
        one.store._volumes.clear()  # so that the next report is new
    assert one.evaluator.overload() is None
    one.report(1.0)
    assert 1 <= one.evaluator.overload() <= 30
    assert one.gauge("thermostat_evaluation_queue_samples") == 4
    one.evaluator.start()
    wait_until(lambda: one.evaluator.overload() is None)
    assert one.gauge("thermostat_evaluation_queue_samples") == 0


def test_a_clock_that_was_set_back_stops_nothing(world):
    """Until it has caught up no step is due; then judging goes on."""
    one = world(make_alarm("a"))
    one.evaluator.start()
    one.report(99.0)
    wait_until(lambda: one.states("a") == ["alarm"])
    one.evaluator._clock = lambda: time.time() - 3600
    one.report(1.0, group="other")
    time.sleep(0.2)
    assert one.evaluator.check() is None
    assert one.states("a") == ["alarm"]


def test_what_comes_while_transitions_are_written_is_not_missing(world, monkeypatch):
    one = world(make_alarm("a"))
    now_s = [float(int(time.time()) // 10 * 10)]
    one.evaluator._clock = lambda: now_s[0]
    record_all = one.alarms.record_all

    def slow(transitions):
        if len(one.alarms.recorded) == 1:  # it takes longer than senders are waited for
            monkeypatch.setattr(time, "time", lambda: now_s[0])
            for _ in range(150):
                now_s[0] += 10
                one.report(10.0)
        return record_all(transitions)

    one.alarms.record_all = slow
    one.report(99.0)
    one.evaluator.start()
    wait_until(lambda: one.states("a") == ["alarm"])
    now_s[0] += 10
    monkeypatch.setattr(time, "time", lambda: now_s[0])
    one.report(10.0)
    wait_until(lambda: one.alarms.noted and one.alarms.noted[-1] == int(now_s[0]) * 1_000_000)
    assert one.states("a") == ["alarm", "ok"]


def test_what_cannot_be_taken_in_costs_the_rest_nothing(world, monkeypatch):
    one = world(make_alarm("good"))
    real = one.engine.describe

    def describe(series):
        if any(s.key.resource_id == "bad-vm" for s in series):
            raise RuntimeError("a fault of ours")
        real(series)

    monkeypatch.setattr(one.engine, "describe", describe)
    one.report(1.0, group="bad")
    one.report(99.0)
    one.evaluator.start()
    wait_until(lambda: one.states("good") == ["alarm"])
