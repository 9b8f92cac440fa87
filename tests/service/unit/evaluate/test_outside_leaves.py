# SPDX-License-Identifier: Apache-2.0
"""Composite rules over outside stores, live windows and alarms of every type."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.unit.evaluate.outside_world import World, asking, of_gnocchi, promql
from tests.service.unit.evaluate.world import ALARM, OK, UNKNOWN, S, batch_of, make_alarm
from thermostat.alarms.balancers import LoadBalancerRule
from thermostat.alarms.events import EventRule
from thermostat.alarms.model import TimeConstraint
from thermostat.alarms.rules import (
    AlarmRef,
    AllOf,
    AnyOf,
    CombinationRule,
    CompositeRule,
    Leaf,
    Not,
    OutsideLeaf,
)
from thermostat.evaluate.reference import combine
from thermostat.outside.base import Answer
from thermostat.samples.model import Sample, SampleType


def composite(alarm_id, expression, suppressor=None, **changes):
    rule = CompositeRule(expression=expression, suppressor=suppressor)
    return asking(alarm_id, rule, **changes)


def both(*rules):
    return AllOf(tuple(map(OutsideLeaf, rules)))


def answer_by_query(world, values):
    """Let each PromQL query have its own value, now and later."""
    world.prometheus.answer = lambda question, _: Answer((values[question.rule.query],))


def report(world, volume):
    """A member of the live group reports now."""
    sample = Sample(
        name="cpu_util",
        type=SampleType.GAUGE,
        unit="%",
        volume=volume,
        resource_id="vm",
        project_id="p",
        timestamp_us=world.now * S,
        metadata={"user_metadata": {"server_group": "web"}},
    )
    ids = world.store.intern([sample])
    world.engine.ingest(world.store.append(batch_of(ids, [sample])))


class TestLeaves:
    def test_of_both_stores_are_joined_and_the_reason_names_their_rules(self):
        world = World(composite("c", both(promql(), of_gnocchi())))
        world.prometheus.value = world.gnocchi.value = 99.0
        assert world.poll() == ["c: alarm"]
        assert world.reason("c") == (
            "Transition to alarm due to (up > 50 is alarm) and "
            "(mean of cpu of instance r over 60 s > 50 is alarm)"
        )
        assert world.told[0].reason_data["rules"] == [
            {"rule": "up > 50", "state": "alarm"},
            {"rule": "mean of cpu of instance r over 60 s > 50", "state": "alarm"},
        ]
        world.gnocchi.value = 1.0
        assert world.run(60) == ["c: ok"]

    def test_nothing_is_said_before_every_leaf_was_answered_once(self):
        world = World(composite("c", both(promql(), of_gnocchi()), state=ALARM))
        world.prometheus.value = world.gnocchi.value = 99.0
        polls = {poll.store: poll for poll in world.due()}
        world.land(polls["prometheus"])
        assert world.judge() == []
        world.land(polls["gnocchi"])
        assert world.judge() == []
        assert world.state("c") == ALARM
        assert world.alarms["c"].rule_states == (ALARM, ALARM)

    def test_one_whose_store_cannot_be_reached_is_insufficient(self):
        world = World(
            composite("and", both(promql(), of_gnocchi())),
            composite("or", AnyOf((OutsideLeaf(promql()), OutsideLeaf(of_gnocchi())))),
        )
        world.prometheus.value = world.gnocchi.value = 99.0
        assert sorted(world.poll()) == ["and: alarm", "or: alarm"]
        world.gnocchi.unavailable = "cannot connect"
        assert world.run(70) == ["and: insufficient data"]
        assert world.alarms["or"].rule_states == (ALARM, UNKNOWN)
        world.gnocchi.unavailable = None
        assert world.run(70) == ["and: alarm"]

    def test_their_states_are_kept_from_left_to_right_over_a_restart(self):
        rule = AllOf((OutsideLeaf(promql()), Leaf(make_alarm().rule), OutsideLeaf(of_gnocchi())))
        world = World(composite("c", rule))
        world.prometheus.value, world.gnocchi.value = 99.0, 1.0
        world.poll()
        world.now += 10
        report(world, 99.0)
        world.judge()
        assert world.alarms["c"].rule_states == (ALARM, ALARM, OK)
        told = len(world.told)
        world.restart()
        world.judge()
        assert world.alarms["c"].rule_states == (ALARM, ALARM, OK)
        world.poll()
        assert len(world.told) == told

    def test_beside_live_windows_either_one_decides(self):
        rule = AllOf((Leaf(make_alarm().rule), OutsideLeaf(promql())))
        world = World(composite("c", rule))
        world.prometheus.value = 99.0
        assert world.poll() == []
        world.now += 10
        report(world, 99.0)
        assert world.judge() == ["c: alarm"]
        world.now += 10
        report(world, 1.0)
        assert world.judge() == ["c: ok"]
        assert world.reason("c").endswith(
            "(avg of cpu_util over 10 s > 50 is ok) and (up > 50 is alarm)"
        )

    def test_not(self):
        world = World(composite("c", Not(OutsideLeaf(promql()))))
        assert world.poll() == ["c: alarm"]

    def test_an_edited_rule_waits_for_its_first_answer(self):
        world = World(composite("c", both(promql(), of_gnocchi())))
        world.prometheus.value = world.gnocchi.value = 99.0
        world.poll()
        rule = CompositeRule(expression=both(promql("other"), of_gnocchi()))
        world.edit("c", rule=rule, rule_states=())
        assert world.judge() == []
        assert world.state("c") == ALARM
        assert world.poll() == []

    def test_an_edited_rule_without_datapoints_is_insufficient(self):
        world = World(composite("c", both(promql(), of_gnocchi()), state=ALARM))
        world.prometheus.value = world.gnocchi.value = None
        assert world.poll() == ["c: insufficient data"]

    def test_of_one_that_is_removed_are_asked_for_no_longer(self):
        world = World(composite("c", both(promql(), of_gnocchi())), asking("a"))
        world.poll()
        world.engine.remove("c")
        world.run(60)
        assert len(world.gnocchi.polls) == 1
        assert [len(asked) for asked, _ in world.prometheus.polls] == [2, 1]

    def test_actions_repeat_with_each_answer(self):
        world = World(
            composite("c", both(promql(), promql("b")), repeat_actions=True, ok_actions=("log://",))
        )
        assert world.poll() == ["c: ok"]
        assert world.run(60) == ["c: ok"]

    def test_no_more_composites_change_at_once_than_are_allowed(self):
        """Each of them with all of its leaves."""
        rules = [both(promql(f"x{n}"), promql(f"y{n}")) for n in range(5)]
        world = World(*(composite(f"c{n}", rule) for n, rule in enumerate(rules)))
        world.prometheus.value = 99.0
        world.engine.asked.allow(2)
        assert world.poll() == ["c0: alarm", "c1: alarm"]
        assert world.engine.asked.is_behind
        world.engine.asked.allow(2)
        assert world.judge() == ["c2: alarm", "c3: alarm"]
        world.engine.asked.allow(2)
        assert world.judge() == ["c4: alarm"]
        assert not world.engine.asked.is_behind

    def test_outside_of_its_time_constraints_it_keeps_its_state(self):
        closed = (TimeConstraint(name="c", start="0 0 29 2 *", duration=1),)
        world = World(
            composite("c", both(promql(), promql("b")), time_constraints=closed, state=ALARM)
        )
        world.poll()
        assert world.state("c") == ALARM

    def test_an_answer_that_comes_while_a_transition_is_open_is_not_lost(self):
        world = World(composite("c", both(promql("x"), promql("y"))))
        values = {"x": 99.0, "y": 99.0}
        answer_by_query(world, values)
        for poll in world.due():
            world.land(poll)
        (open_one,) = world.engine.evaluate(world.now * S)
        values["y"] = 1.0
        world.now += 60
        for poll in world.due():
            world.land(poll)
        assert world.engine.evaluate(world.now * S) == []
        world.write(open_one)
        world.engine.committed(open_one)
        assert world.judge() == ["c: ok"]


QUERIES = ("q0", "q1", "q2")
VALUES = st.sampled_from([None, 10.0, 99.0])


@st.composite
def expressions(draw, depth=2):
    kinds = ["leaf", "leaf", "alarm"] + (["not", "and", "or"] if depth else [])
    match draw(st.sampled_from(kinds)):
        case "leaf":
            return OutsideLeaf(promql(draw(st.sampled_from(QUERIES))))
        case "alarm":
            return AlarmRef(draw(st.sampled_from(["a", "g", "gone"])))
        case "not":
            return Not(draw(expressions(depth - 1)))
        case word:
            operands = draw(st.lists(expressions(depth - 1), min_size=2, max_size=3))
            return (AllOf if word == "and" else AnyOf)(tuple(operands))


def leaves_of(expression):
    match expression:
        case OutsideLeaf():
            return [expression]
        case Not():
            return leaves_of(expression.operand)
        case AllOf() | AnyOf():
            return [leaf for one in expression.operands for leaf in leaves_of(one)]
        case _:
            return []


def state_of(value):
    if value is None:
        return UNKNOWN
    return ALARM if value > 50 else OK


@settings(max_examples=150, deadline=None)
@given(
    expression=expressions(),
    turns=st.lists(
        st.tuples(st.fixed_dictionaries(dict.fromkeys((*QUERIES, "a"), VALUES)), VALUES),
        min_size=1,
        max_size=6,
    ),
    restarts=st.sets(st.integers(0, 5)),
)
def test_whatever_is_answered_the_states_are_those_of_plain_python(expression, turns, restarts):
    world = World(asking("a", promql("a")), asking("g", of_gnocchi()), composite("c", expression))
    for turn, (values, of_g) in enumerate(turns):
        answer_by_query(world, values)
        world.gnocchi.value = of_g
        if turn in restarts:
            world.restart()
        world.run(60, step=60)
        plain = {"a": state_of(values["a"]), "g": state_of(of_g)}
        leaves = [state_of(values[leaf.rule.query]) for leaf in leaves_of(expression)]
        expected = combine(expression, leaves, lambda name, known=plain: known.get(name, UNKNOWN))
        found = {name: world.state(name) for name in ("a", "g", "c")}
        assert found == {**plain, "c": expected}


class TestReferences:
    def test_to_an_outside_alarm_follow_it_within_the_same_answer(self):
        """A composite sees a leaf and an alarm that one poll answered both new, or both old."""
        expression = AllOf((AlarmRef("a"), OutsideLeaf(promql("x"))))
        world = World(asking("a", promql("a")), composite("c", expression))
        values = {"a": 99.0, "x": 1.0}
        answer_by_query(world, values)
        assert world.poll() == ["a: alarm", "c: ok"]
        values.update(a=1.0, x=99.0)
        assert world.run(60) == ["a: ok"]
        values.update(a=99.0, x=1.0)
        assert world.run(60) == ["a: alarm"]
        values.update(x=99.0)
        assert world.run(60) == ["c: alarm"]

    def test_wait_for_one_that_may_not_change_yet(self):
        """The composite is not judged by its new leaf and the old state of the alarm it names."""
        expression = AllOf((AlarmRef("b"), OutsideLeaf(promql("x"))))
        world = World(
            asking("a", promql("a")),
            asking("b", promql("b")),
            composite("c", expression),
            composite("d", OutsideLeaf(promql("x"))),
        )
        values = {"a": 1.0, "b": 99.0, "x": 1.0}
        answer_by_query(world, values)
        world.poll()
        values.update(a=99.0, b=1.0, x=99.0)
        world.engine.asked.allow(1)
        assert world.run(60) == ["a: alarm"]
        world.engine.asked.allow(1)
        assert world.judge() == ["b: ok", "d: alarm"]
        values.update(b=99.0)
        world.engine.asked.allow(10)
        assert world.run(60) == ["b: alarm", "c: alarm"]

    def test_are_not_waited_for_where_they_cannot_be_written(self):
        world = World(asking("a", promql("a")), composite("c", Not(AlarmRef("a"))))
        answer_by_query(world, {"a": 1.0})
        world.poll()
        assert world.state("c") == ALARM
        answer_by_query(world, {"a": 99.0})
        world.now += 60
        for poll in world.due():
            world.land(poll)
        (lost,) = world.engine.evaluate(world.now * S)
        world.edit("c", rule=CompositeRule(expression=AnyOf((AlarmRef("a"), AlarmRef("a")))))
        assert [one.state for one in world.engine.evaluate(world.now * S)] == [OK]
        world.engine.rejected(lost)
        assert "a: alarm" in world.judge()

    def test_of_a_combination(self):
        rule = CombinationRule(alarm_ids=("a", "g"))
        world = World(asking("a"), asking("g", of_gnocchi()), asking("c", rule))
        world.prometheus.value = world.gnocchi.value = 99.0
        assert world.poll()[-1] == "c: alarm"
        world.gnocchi.value = 1.0
        assert world.run(60) == ["g: ok", "c: ok"]
        world.engine.remove("a")
        assert world.judge() == []
        world.gnocchi.value = 99.0
        assert world.run(60) == ["g: alarm", "c: insufficient data"]

    def test_to_alarms_that_are_judged_elsewhere(self):
        event = asking("e", EventRule(), state=OK)
        balancer = asking(
            "b", LoadBalancerRule(pool_id="p", stack_id="s", autoscaling_group_id="g"), state=ALARM
        )
        rule = CombinationRule(alarm_ids=("e", "b"))
        world = World(event, balancer, asking("c", rule))
        assert world.judge() == ["c: ok"]
        assert len(world.engine) == 1
        world.edit("e", state=ALARM)  # its own judge wrote that, and says so
        assert world.judge() == ["c: alarm"]
        world.restart()
        assert world.judge() == []
        world.edit("b", enabled=False)
        assert world.judge() == ["c: insufficient data"]
        world.engine.remove("e")
        world.engine.remove("e")

    def test_to_one_that_was_judged_elsewhere_before_it_was_named(self):
        world = World(asking("e", EventRule(), state=OK))
        world.edit("e", state=ALARM)
        world.put(composite("c", Not(AlarmRef("e"))))
        assert world.judge() == ["c: ok"]

    def test_to_one_that_comes_after_it(self):
        world = World(asking("c", CombinationRule(alarm_ids=("a", "e"))))
        world.judge()
        assert world.state("c") == UNKNOWN
        world.put(asking("e", EventRule(), state=ALARM))
        world.put(asking("a"))
        world.prometheus.value = 99.0
        assert world.poll() == ["a: alarm", "c: alarm"]

    def test_an_alarm_that_changes_its_type_is_judged_anew(self):
        world = World(asking("a", EventRule(), state=ALARM))
        world.edit("a", rule=promql())
        assert world.poll() == ["a: ok"]
        world.edit("a", rule=EventRule(), state=ALARM)
        world.run(120)
        assert world.state("a") == ALARM
        assert len(world.prometheus.polls) == 1

    def test_a_suppressor_that_a_store_answers_for_withholds_actions(self):
        expression = both(promql("x"), promql("y"))
        world = World(
            asking("s", promql("s")),
            composite("c", expression, suppressor="s", alarm_actions=("log://",)),
        )
        values = {"s": 99.0, "x": 1.0, "y": 99.0}
        answer_by_query(world, values)
        assert world.poll() == ["s: alarm", "c: ok"]
        values["x"] = 99.0
        world.run(60)
        assert world.told[-1].suppressed
        values["s"] = 1.0
        world.run(60)
        assert not world.told[-1].suppressed
        assert not world.told[-1].is_change
        assert msgspec.structs.asdict(world.told[-1])["state"] == ALARM
