# SPDX-License-Identifier: Apache-2.0
"""OS::Metering::ScalingPolicy in Heat's own engine; its group is a stand-in that counts."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from policies import Clock, Group, template


@pytest.fixture
def group(heat: None, monkeypatch: pytest.MonkeyPatch) -> Group:  # noqa: ARG001
    from heat.common import grouputils
    from heat.engine.plugins.metering import scaling_policy

    one = Group()
    monkeypatch.setattr(scaling_policy.ScalingPolicy, "_group", lambda _self: one)
    monkeypatch.setattr(grouputils, "get_size", lambda group: group.size)
    return one


@pytest.fixture
def meanwhile(heat: None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:  # noqa: ARG001
    """What happens while a signal waits: one of these each time that it would look again.

    In this thread, since Heat's database here is one connection.
    """
    from heat.engine.plugins.metering import scaling_policy

    events: list[Any] = []

    def sleep(_seconds: float) -> None:
        if events:
            events.pop(0)()

    monkeypatch.setattr(scaling_policy, "time", Clock(sleep))
    return events


@pytest.fixture
def alarms(cloud, alarm_service, monkeypatch):
    """The alarms, which the policy asks for with the token of a test: there is no Keystone."""
    from heat.engine.plugins.metering import client

    context = cloud.context()  # the plugin does not keep it alive
    plugin = client.AlarmingClientPlugin(context)
    monkeypatch.setattr(client, "AlarmingClientPlugin", lambda _context: plugin)
    yield alarm_service.alarms
    del context


@pytest.fixture
def make(cloud, group):  # noqa: ARG001 - it is in place before the policy
    stacks = []  # a resource lives only as long as its stack

    def create(**changes: Any) -> Any:
        stack = cloud.create(template(**changes))
        assert stack.status == "COMPLETE", stack.status_reason
        stacks.append(stack)
        return stack["up"]

    return create


def codes(policy: Any) -> list[str]:
    return [one["code"] for one in policy.FnGetAtt("activities")]


def breach(value: float, **details: Any) -> dict[str, Any]:
    data = {"most_recent": value, "threshold": 80, "comparison_operator": "gt"}
    return {"current": "alarm", "previous": "ok", "reason": "busy", "reason_data": data, **details}


class TestSignal:
    def test_the_group_grows_and_says_so(self, make, group):
        policy = make()
        policy.signal(breach(90.0))
        assert group.adjusted == [(1, "change_in_capacity", None, 0)]
        (activity,) = policy.FnGetAtt("activities")
        assert activity["reason"] == "group group goes from 1 to 2"
        assert group.metadata["metering_scaled_at"]["out"] == pytest.approx(time.time(), abs=10)
        assert not group.metadata["scaling_in_progress"]

    def test_steps(self, make, group):
        steps = [
            {"lower_bound": 0, "upper_bound": 15, "scaling_adjustment": 1},
            {"lower_bound": 15, "scaling_adjustment": 2},
        ]
        make(scaling_adjustment=None, step_adjustments=steps).signal(breach(97.0))
        assert group.size == 3

    def test_at_the_bound_it_is_declined_once(self, make, group):
        group.size = 3
        policy = make()
        for _ in range(3):
            policy.signal(breach(90.0))
        assert group.adjusted == []
        assert codes(policy) == ["at_bound"]

    def test_the_urls(self, make):
        policy = make()
        assert "Signature=" in policy.FnGetAtt("alarm_url")

    def test_heats_event_tells_why(self, make, monkeypatch):
        policy = make()
        events = []
        monkeypatch.setattr(policy, "_add_event", lambda *event: events.append(event))
        policy.signal(None)
        assert events == [("SIGNAL", "COMPLETE", "Signal: group group goes from 1 to 2")]


class TestWaiting:
    @pytest.fixture
    def busy(self, group):
        group.status = "IN_PROGRESS"

        return group.free

    def test_a_busy_group_is_waited_for(self, make, group, busy, meanwhile):
        policy = make()
        seen = []
        meanwhile += [lambda: seen.append(codes(policy)), busy]
        policy.signal(breach(90.0))
        assert seen == [["waiting"]]
        assert group.size == 2
        assert codes(policy) == ["scaled", "waiting"]

    def test_signals_that_come_meanwhile_are_one(self, make, group, busy, meanwhile):
        policy = make()
        meanwhile += [lambda: policy.signal(breach(91.0)), lambda: policy.signal(None), busy]
        policy.signal(breach(90.0))
        assert group.size == 2, "one signal is one step"
        assert codes(policy) == ["scaled", "renewed", "waiting"]

    def test_the_newest_ones_breach_decides(self, make, group, busy, meanwhile):
        steps = [
            {"upper_bound": 15, "scaling_adjustment": 1},
            {"lower_bound": 15, "scaling_adjustment": 2},
        ]
        policy = make(scaling_adjustment=None, step_adjustments=steps)
        meanwhile += [lambda: policy.signal(breach(99.0)), busy]
        policy.signal(breach(81.0))
        assert group.size == 3

    def test_a_cooldown_is_waited_for(self, make, group, meanwhile):
        policy = make(scale_out_cooldown="3")
        naps = []
        meanwhile += [lambda: naps.append(group.size)] * 10
        policy.signal(None)
        policy.signal(None)
        assert group.size == 3
        assert 2 <= len(naps) <= 3
        assert codes(policy) == ["scaled", "waiting", "scaled"]

    def test_somebody_else_may_be_quicker(self, make, group, meanwhile, monkeypatch):
        from heat.engine import resource

        real, tries = group.adjust, []

        def adjust(*args: Any) -> None:
            tries.append(args)
            if len(tries) < 3:
                raise resource.NoActionRequired
            real(*args)

        monkeypatch.setattr(group, "adjust", adjust)
        policy = make()
        policy.signal(None)
        assert len(tries) == 3
        assert (group.size, codes(policy)) == (2, ["scaled", "waiting"])
        assert not meanwhile

    @pytest.mark.parametrize("state", ["alarm", "ok"])
    @pytest.mark.usefixtures("busy")
    def test_only_if_it_is_still_true(self, make, group, meanwhile, alarms, state):
        alarms["a"] = {"alarm_id": "a", "state": state}
        policy = make()
        meanwhile.append(group.free)
        policy.signal(breach(90.0, alarm_id="a"))
        is_true = state == "alarm"
        assert group.size == (2 if is_true else 1)
        assert codes(policy)[0] == ("scaled" if is_true else "obsolete")

    def test_a_deleted_alarm_is_not_true_any_more(self, make, group, busy, meanwhile, alarms):
        policy = make()
        meanwhile.append(busy)
        policy.signal(breach(90.0, alarm_id="gone"))
        assert not alarms
        assert group.size == 1
        assert "is deleted" in policy.FnGetAtt("activities")[0]["reason"]

    @pytest.mark.usefixtures("busy", "alarms")
    def test_while_the_alarm_service_is_away_it_waits(self, make, group, meanwhile, alarm_service):
        alarm_service.alarms["a"] = {"alarm_id": "a", "state": "alarm"}
        policy = make()

        def away() -> None:
            alarm_service.fault = (503, {"error_message": {"faultstring": "later"}})
            group.free()

        meanwhile.append(away)
        policy.signal(breach(90.0, alarm_id="a"))
        assert group.size == 2

    def test_it_is_given_up_in_the_end(self, make, group, meanwhile, monkeypatch):
        from heat.engine.plugins.metering import scaling_policy

        monkeypatch.setattr(scaling_policy, "LONGEST_WAIT_S", 5.0)
        group.status = "FAILED"
        policy = make()
        policy.signal(None)
        assert not meanwhile
        assert codes(policy) == ["given_up", "waiting"]
        assert "waiting_signal" not in policy.metadata_get(refresh=True)

    def test_one_whose_engine_died_stands_for_no_other(self, make, group, busy, meanwhile):
        from heat.engine.plugins.metering import waiting

        policy = make()
        dead = waiting.Waiting()
        assert not dead.begin(policy)
        meanwhile.append(busy)
        policy.signal(None)
        assert group.size == 2
        assert not dead.goes_on(policy)
        assert "waiting_signal" not in policy.metadata_get(refresh=True)

    def test_one_that_comes_while_the_size_changes_waits_for_itself(self, make, group, busy):
        from heat.engine.plugins.metering import waiting

        policy = make()
        late, first = waiting.Waiting(), waiting.Waiting()
        begun = []
        group.meanwhile.append(lambda: begun.append(late.begin(policy)))
        first.begin(policy)
        busy()
        policy._wait(first, None, 0.1)
        assert begun == [False], "the one that is taken up waits no more"
        assert not first.end(policy)
        assert late.goes_on(policy)

    def test_one_that_another_has_replaced_does_nothing(self, make, group, busy):
        from heat.engine.plugins.metering import waiting

        policy = make()
        first, second = waiting.Waiting(), waiting.Waiting()
        first.begin(policy)
        busy()
        assert second.begin(policy)
        assert policy._wait(first, None, 0.1) is None
        decision, seen = policy._decide(None)
        assert policy._scale(decision, seen, first) is None, "not even when it is just taken up"
        assert group.size == 1
        assert second.goes_on(policy)

    def test_one_that_the_group_refuses_waits_on(self, make, group, meanwhile, busy, monkeypatch):
        from heat.engine import resource

        real, tries = group.adjust, []

        def adjust(*args: Any) -> None:
            tries.append(args)
            if len(tries) == 1:
                raise resource.NoActionRequired
            real(*args)

        monkeypatch.setattr(group, "adjust", adjust)
        policy = make()
        meanwhile.append(busy)
        policy.signal(None)
        assert (group.size, len(tries)) == (2, 2)

    def test_a_suspended_group_is_waited_for(self, make, group, meanwhile):
        policy = make()
        group.action = "SUSPEND"
        meanwhile.append(lambda: setattr(group, "action", "RESUME"))
        policy.signal(None)
        assert codes(policy) == ["scaled", "waiting"]
        assert "suspended" in policy.FnGetAtt("activities")[1]["reason"]

    def test_a_policy_that_replaced_this_one_was_not_signalled(self, make, group, busy):
        from heat.engine.plugins.metering import waiting

        policy = make()
        first = waiting.Waiting()
        first.begin(policy)
        busy()
        policy.id += 1
        assert policy._wait(first, None, 0.1) is None
        assert group.size == 1


class TestTwoAtOnce:
    """Heat handles each signal in a thread of its own, and in several engines."""

    def test_one_that_comes_right_after_the_change_sees_the_cooldown(self, make, group):
        policy = make(cooldown="60")
        decided = []
        group.just_after.append(lambda: decided.append(policy._decide(None)[0]))
        policy.signal(None)
        assert [one.code for one in decided] == ["cooldown"]

    def test_only_one_of_two_that_decided_alike_goes_on(self, make, group):
        from heat.engine import resource

        policy = make()
        decision, seen = policy._decide(None)
        policy._scale(decision, seen)
        with pytest.raises(resource.NoActionRequired, match="another signal came first"):
            policy._scale(decision, seen)
        assert group.size == 2

    def test_a_change_that_fails_leaves_the_group_free(self, make, group):
        policy = make()
        decision, seen = policy._decide(None)
        group.meanwhile.append(lambda: 1 / 0)
        outcome = policy._scale(decision, seen)
        assert (outcome.code, outcome.reason) == (
            "failed",
            "group group goes from 1 to 2, and failed: division by zero",
        )
        assert not group.metadata["scaling_in_progress"]
        assert "out" not in group.metadata["metering_scaled_at"]

    def test_the_groups_own_cooldown_is_not_added_to_the_policys(self, make, group):
        policy = make(cooldown="60")
        later = datetime.fromtimestamp(time.time() + 100, UTC).replace(tzinfo=None)

        def cool_down() -> None:
            group.metadata["cooldown_end"] = {later.isoformat(): "the group's own"}

        group.just_after.append(cool_down)
        policy.signal(None)
        assert policy._decide(None)[0].wait_s == pytest.approx(100, abs=5)

    def test_a_claim_ends_some_time_after_its_engine_died(self, make, group):
        policy = make()
        claim = {"direction": "out", "since": time.time()}
        group.metadata = {"scaling_in_progress": True, "metering_scaling": claim}
        assert policy._decide(None)[0].code == "busy"
        claim["since"] -= policy.stack.timeout_secs() + 1
        assert policy._decide(None)[0].code == "scaled"
        policy.signal(None)
        assert group.size == 2
        assert not group.metadata["scaling_in_progress"]


class TestLife:
    def test_a_deleted_stack_is_left_alone(self, make, group, meanwhile):
        group.status = "IN_PROGRESS"
        policy = make()
        meanwhile.append(policy.stack.delete)
        policy.signal(None)
        assert group.size == 1

    def test_updates_are_in_place(self, make, cloud, group):
        policy = make()
        cloud.update(policy.stack, template(scaling_adjustment="2", cooldown="10"))
        changed = policy.stack["up"]
        assert changed.id == policy.id
        changed.signal(None)
        assert group.size == 3
