# SPDX-License-Identifier: Apache-2.0
"""The judge with a real alarm database: what is written, once, whatever happens meanwhile."""

import msgspec
import pytest
from sqlalchemy.exc import DataError, OperationalError

from tests.service.alarm_support import ALICE, told
from tests.service.event_support import condition, event, event_alarm
from thermostat.alarms.model import State
from thermostat.events.judge import CannotWriteError, EventJudge

NOW_US = 1_795_575_601_000_000
LATER_US = 2**60


class World:
    """A judge, and what it has told the rest of the server."""

    def __init__(self, alarms, outbox):
        self.alarms = alarms
        self._outbox = outbox
        self.changed = []
        self.notified = 0
        self.judge = EventJudge(
            alarms,
            notify=self._notified,
            alarm_changed=self._changed,
            clock=lambda: NOW_US / 1_000_000,
        )

    def _notified(self):
        self.notified += 1

    def _changed(self, alarm_id):
        self.changed.append(alarm_id)
        self.judge.alarm_changed(alarm_id)

    def create(self, *arguments, **changes):
        alarm = event_alarm(*arguments, **changes)
        self.alarms.create(alarm, ALICE)
        self.judge.alarm_changed(alarm.alarm_id)
        return alarm

    def state(self, alarm_id="a1"):
        return self.alarms.find(alarm_id).state

    def notifications(self):
        return len(self._outbox.due(LATER_US, 1000))

    def edit(self, alarm_id="a1", **changes):
        self.alarms.replace(
            alarm_id, lambda alarm: msgspec.structs.replace(alarm, **changes), ALICE, NOW_US
        )
        self.judge.alarm_changed(alarm_id)


@pytest.fixture
def world(alarms, outbox):
    return World(alarms, outbox)


class TestFollowing:
    def test_a_created_alarm_waits_at_once(self, world):
        world.create()
        world.judge.take([event()])
        assert world.state() is State.ALARM
        assert world.changed == ["a1"]
        assert world.notified == 1
        assert world.notifications() == 2

    def test_an_alarm_of_before_waits_too(self, world, alarms, outbox):
        world.create("a1")
        world.create("a2", enabled=False)
        restarted = World(alarms, outbox)
        restarted.judge.load()
        assert len(restarted.judge) == 1
        restarted.judge.take([event()])
        assert world.state("a1") is State.ALARM
        assert world.state("a2") is State.INSUFFICIENT_DATA

    def test_an_event_that_comes_again_after_a_crash_is_not_told_again(self, world, alarms, outbox):
        """As where the server ends after writing and before the broker has its acknowledgement."""
        world.create()
        world.judge.take([event()])
        restarted = World(alarms, outbox)
        restarted.judge.load()
        restarted.judge.take([event()])
        assert world.notifications() == 2

    @pytest.mark.parametrize("change", [{"enabled": False}, {"project_id": "p2"}])
    def test_an_edited_alarm_waits_for_what_it_says_now(self, world, change):
        world.create()
        world.judge.follow()
        world.edit(**change)
        world.judge.take([event()])
        assert world.state() is State.INSUFFICIENT_DATA
        assert len(world.judge) == ("enabled" not in change)

    def test_a_deleted_alarm_waits_for_nothing(self, world, alarms):
        world.create()
        world.judge.follow()
        alarms.delete("a1", ALICE, NOW_US)
        world.judge.alarm_changed("a1")
        world.judge.take([event()])
        assert len(world.judge) == 0

    def test_one_set_to_ok_fires_again(self, world, alarms):
        world.create()
        world.judge.take([event(message_id="m1"), event(message_id="m2")])
        assert world.notifications() == 2
        alarms.set_state("a1", State.OK, ALICE, NOW_US)
        world.judge.alarm_changed("a1")
        world.judge.take([event(message_id="m1")])  # the broker brings an old one again
        assert world.state() is State.OK
        world.judge.take([event(message_id="m3")])
        assert world.state() is State.ALARM
        assert world.notifications() == 4


class TestRepeating:
    def test_each_event_is_in_the_history_and_told(self, world, alarms):
        world.create(repeat_actions=True)
        world.judge.take([event(message_id="m1"), event(message_id="m2")])
        world.judge.take([event(message_id="m3")])
        assert world.notifications() == 6
        transitions = [detail for kind, detail in told(alarms) if kind == "state transition"]
        reasons = [detail["transition_reason"][:12] for detail in transitions]
        assert reasons == ["Event <id=m3", "Event <id=m2", "Event <id=m1"]
        stored = alarms.find("a1")
        assert stored.state_reason.startswith("Event <id=m3")
        assert stored.revision == 2

    def test_a_message_that_comes_again_is_not(self, world):
        world.create(repeat_actions=True)
        for _ in range(3):
            world.judge.take([event(message_id="m1"), event(message_id="m1")])
        assert world.notifications() == 2


class TestEditsMeanwhile:
    @pytest.fixture
    def before_writing(self, alarms, monkeypatch):
        """Calls the function given, once, after judging and before writing."""
        record_all = alarms.record_all

        def arrange(edit):
            def edited(transitions):
                monkeypatch.setattr(alarms, "record_all", record_all)
                edit()
                return record_all(transitions)

            monkeypatch.setattr(alarms, "record_all", edited)

        return arrange

    def test_the_alarm_is_judged_as_it_is_now(self, world, before_writing):
        world.create(query=[condition("traits.state", "error")])
        before_writing(lambda: world.edit(name="renamed"))
        world.judge.take([event(state="error")])
        found = world.alarms.find("a1")
        assert (found.name, found.state, found.revision) == ("renamed", State.ALARM, 3)

    def test_one_that_no_longer_waits_does_not_fire(self, world, before_writing):
        world.create()
        world.create("a2")
        before_writing(lambda: world.edit(enabled=False))
        world.judge.take([event()])
        assert world.state("a1") is State.INSUFFICIENT_DATA
        assert world.state("a2") is State.ALARM
        assert world.notifications() == 2

    def test_nothing_is_written_onto_an_alarm_after_a_refusal(self, world, before_writing):
        """An edit makes the revision that the second of two events was judged for."""
        world.create(repeat_actions=True)
        before_writing(lambda: world.edit(repeat_actions=False, rule=quiet_rule()))
        world.judge.take([event(message_id="m1"), event(message_id="m2")])
        assert world.state() is State.INSUFFICIENT_DATA
        assert world.notifications() == 0

    def test_nor_in_another_transaction(self, world, before_writing, monkeypatch):
        monkeypatch.setattr("thermostat.events.judge.AT_ONCE", 1)
        self.test_nothing_is_written_onto_an_alarm_after_a_refusal(world, before_writing)


def quiet_rule():
    return event_alarm(event_type="x").rule


def failing(kind):
    def fail(*_):
        raise kind("select", {}, Exception("told to"))

    return fail


class TestDatabaseFailures:
    def test_what_cannot_be_written_comes_again(self, world, alarms, monkeypatch):
        world.create()
        with monkeypatch.context() as patch:
            patch.setattr(alarms, "record_all", failing(OperationalError))
            with pytest.raises(CannotWriteError):
                world.judge.take([event()])
        assert world.state() is State.INSUFFICIENT_DATA
        world.judge.take([event()])
        assert world.state() is State.ALARM
        assert world.notifications() == 2

    def test_what_was_written_before_is_not_written_again(self, world, alarms, monkeypatch):
        for number in range(3):
            world.create(f"a{number}", repeat_actions=True)
        monkeypatch.setattr("thermostat.events.judge.AT_ONCE", 2)
        record_all = alarms.record_all
        with monkeypatch.context() as patch:
            patch.setattr(
                alarms,
                "record_all",
                lambda some: record_all(some) if len(some) == 2 else failing(OperationalError)(),
            )
            with pytest.raises(CannotWriteError):
                world.judge.take([event()])
        assert world.notifications() == 4
        world.judge.take([event()])
        assert world.notifications() == 6

    def test_changes_that_cannot_be_read_are_read_later(self, world, alarms, monkeypatch):
        world.create()
        with monkeypatch.context() as patch:
            patch.setattr(alarms, "standing_of", failing(OperationalError))
            with pytest.raises(CannotWriteError):
                world.judge.take([event()])
        world.judge.take([event()])
        assert world.state() is State.ALARM

    def test_what_can_never_be_written_is_not_taken_for_a_failing_database(
        self, world, alarms, monkeypatch
    ):
        world.create()
        monkeypatch.setattr(alarms, "record_all", failing(DataError))
        with pytest.raises(DataError):
            world.judge.take([event()])


def test_only_so_many_messages_are_remembered(world, monkeypatch):
    monkeypatch.setattr("thermostat.events.judge.REMEMBERED", 2)
    world.create(repeat_actions=True)
    for name in ("m1", "m2", "m3", "m3", "m1"):
        world.judge.take([event(message_id=name)])
    assert world.notifications() == 8
