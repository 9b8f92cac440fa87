# SPDX-License-Identifier: Apache-2.0
"""Alarms whose datapoints outside stores are asked for: when, what follows, what goes wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.unit.evaluate.outside_world import (
    World,
    asking,
    of_gnocchi,
    promql,
)
from tests.service.unit.evaluate.world import ALARM, OK, S
from thermostat.alarms.model import State, TimeConstraint
from thermostat.alarms.outside import GnocchiResourceGroupRule, PrometheusRule
from thermostat.alarms.query import Operator
from thermostat.evaluate import engine as engine_module
from thermostat.evaluate.answered import comparison
from thermostat.evaluate.polls import Pace
from thermostat.evaluate.reference import judge_answer
from thermostat.outside.base import Answer


class TestWhen:
    def test_asked_at_once_and_then_when_the_granularity_has_passed(self):
        world = World()
        world.now = 60_007
        world.put(asking(rule=promql(granularity=60)))
        world.poll()
        world.run(200)
        assert [at_us / S for _, at_us in world.prometheus.polls] == [
            60_007,
            60_060,
            60_120,
            60_180,
        ]

    def test_a_lag_shifts_the_questions_and_what_is_asked_for(self):
        world = World(pace=Pace(lag_s=5))
        world.now = 60_007
        world.put(asking())
        world.poll()
        world.run(60)
        assert [at_us / S for _, at_us in world.prometheus.polls] == [60_002, 60_060]
        assert world.now == 60_067

    @pytest.mark.parametrize(("granularity", "polls"), [(1, 31), (10, 31), (300, 2), (86_400, 2)])
    def test_intervals_are_bounded(self, granularity, polls):
        world = World(asking(rule=promql(granularity=granularity)))
        world.poll()
        world.run(300)
        assert len(world.prometheus.polls) == polls

    def test_what_is_due_together_is_asked_together(self):
        world = World(*(asking(f"a{n}", promql(f"up{n}")) for n in range(5)))
        world.put(asking("g", of_gnocchi()))
        world.poll()
        world.run(60)
        assert [len(asked) for asked, _ in world.prometheus.polls] == [5, 5]
        assert [len(asked) for asked, _ in world.gnocchi.polls] == [1, 1]

    def test_a_question_names_the_project_of_its_alarm(self):
        world = World(asking("a", project="p1"), asking("b", project="p2"))
        world.poll()
        ((asked, _),) = world.prometheus.polls
        assert sorted(question.project_id for question in asked) == ["p1", "p2"]

    def test_a_clock_that_was_set_back_stops_nothing(self):
        world = World(asking("a"), asking("b", promql(granularity=300)))
        world.poll()
        world.now -= 3600
        world.run(301)
        begin = world.now - 301
        asked = [(at_us / S - begin, len(asked)) for asked, at_us in world.prometheus.polls]
        assert asked[1:] == [(61, 1), (120, 1), (180, 1), (240, 1), (300, 1), (301, 1)]

    def test_nothing_is_asked_outside_of_the_time_constraints(self):
        closed = (TimeConstraint(name="c", start="0 0 29 2 *", duration=1),)
        world = World(asking(time_constraints=closed, state=ALARM))
        world.prometheus.value = 10.0
        world.poll()
        world.run(120)
        assert world.prometheus.polls == []
        assert world.state() == ALARM
        world.edit(time_constraints=())
        assert world.run(60) == ["a: ok"]


class TestState:
    def test_all_of_n_decide(self):
        world = World(asking(rule=promql(evaluation_periods=3)))
        answers = iter([(60, 10, 10), (60, 60, 60), (60, 10, 60), (10, 10, 10), (10, None, 10)])
        world.prometheus.answer = lambda *_: Answer(next(answers))
        assert world.poll() == ["a: ok"]  # the newest decides where nothing was known
        assert world.run(60) == ["a: alarm"]
        assert world.run(60) == []
        assert world.run(60) == ["a: ok"]
        assert world.run(60) == ["a: insufficient data"]

    def test_the_reason_has_aodhs_shape_and_the_rule(self):
        world = World(asking(rule=promql("rate(x[1m])", evaluation_periods=2)))
        world.prometheus.answer = lambda *_: Answer((60.5, 61.25))
        world.poll()
        (told,) = world.told
        assert told.reason == (
            "Transition to alarm due to 2 samples outside threshold, most recent: 61.25 "
            "(rate(x[1m]) > 50: 60.5, 61.25)"
        )
        assert told.reason_data == {
            "type": "threshold",
            "disposition": "outside",
            "count": 2,
            "most_recent": 61.25,
            "threshold": 50.0,
            "comparison_operator": "gt",
            "datapoints": [{"value": 60.5}, {"value": 61.25}],
        }
        assert (told.step_us, told.timestamp_us) == (world.now * S, world.now * S)

    def test_what_is_no_number_is_missing(self):
        world = World(asking(state=OK))
        world.prometheus.value = float("nan")
        assert world.poll() == ["a: insufficient data"]
        assert world.told[0].reason_data["count"] == 1
        assert world.told[0].reason_data["most_recent"] is None

    def test_infinity_breaches(self):
        world = World(asking(state=OK))
        world.prometheus.value = float("inf")
        assert world.poll() == ["a: alarm"]

    def test_a_breach_must_have_lasted(self):
        rule = promql(for_=150, granularity=60)
        assert rule.points == 4
        world = World(asking(rule=rule))
        seen = [10.0] * 4

        def answer(*_):
            return Answer(tuple(seen[-4:]))

        world.prometheus.answer = answer
        seen.append(99.0)
        assert world.poll() == ["a: ok"]  # not known before, and it has not lasted
        for _ in range(2):
            seen.append(99.0)
            assert world.run(60) == []
        seen.append(99.0)
        assert world.run(60) == ["a: alarm"]
        seen.append(None)
        assert world.run(60) == ["a: insufficient data"]
        seen.append(99.0)
        assert world.run(60) == ["a: ok"]  # there was a gap
        assert "for 150 s" in world.reason()

    def test_actions_repeat_with_each_answer(self):
        world = World(asking(repeat_actions=True, alarm_actions=("log://",)))
        world.prometheus.value = 99.0
        assert world.poll() == ["a: alarm"]
        assert world.run(120) == ["a: alarm", "a: alarm"]
        assert not world.told[-1].is_change

    def test_no_more_than_so_many_are_told_at_once(self, monkeypatch):
        monkeypatch.setattr(engine_module, "MOST_TOLD", 3)
        world = World(*(asking(f"a{n}") for n in range(10)))
        world.prometheus.value = 99.0
        for poll in world.due():
            world.land(poll)
        assert len(world.engine.evaluate(world.now * S)) == 3
        assert len(world.judge()) == 7

    def test_what_is_not_allowed_now_waits_until_it_is(self):
        world = World(*(asking(f"a{n}") for n in range(10)))
        world.prometheus.value = 99.0
        world.engine.asked.allow(4)
        assert len(world.poll()) == 4
        assert world.engine.asked.is_behind
        world.engine.asked.allow(6)
        assert len(world.judge()) == 6
        assert not world.engine.asked.is_behind
        assert len(world.prometheus.polls) == 1

    def test_stores_take_turns_in_what_is_allowed(self):
        world = World(*(asking(f"a{n}") for n in range(10)), asking("g", of_gnocchi()))
        world.prometheus.value = world.gnocchi.value = 99.0
        world.engine.asked.allow(2)
        assert world.poll() == ["a0: alarm", "g: alarm"]

    def test_what_could_not_be_written_is_judged_again(self):
        world = World(asking())
        world.prometheus.value = 99.0
        world.refuse_writes = True
        assert world.poll() == []
        world.refuse_writes = False
        assert world.judge() == ["a: alarm"]
        assert len(world.prometheus.polls) == 1

    def test_an_answer_that_comes_while_a_transition_is_open_is_judged_after_it(self):
        world = World(asking())
        world.prometheus.value = 99.0
        for poll in world.due():
            world.land(poll)
        (open_one,) = world.engine.evaluate(world.now * S)
        world.prometheus.value = 1.0
        world.now += 60
        for poll in world.due():
            world.land(poll)
        assert world.engine.evaluate(world.now * S) == []
        world.write(open_one)
        world.engine.committed(open_one)
        assert world.judge() == ["a: ok"]


class TestChanges:
    def test_an_edited_rule_is_asked_for_at_once_and_an_older_answer_dropped(self):
        world = World(asking())
        world.prometheus.value = 99.0
        (old,) = world.due()
        world.edit(rule=promql(threshold=100.0))
        (answers,) = [world.prometheus.ask(old.questions, old.time_us)]
        world.engine.asked.take(old, answers)
        assert world.judge() == []
        assert world.poll() == ["a: ok"]

    def test_a_state_set_by_hand_stands_until_the_next_answer(self):
        world = World(asking())
        world.poll()
        world.edit(state=ALARM)
        assert world.judge() == []
        assert world.run(60) == ["a: ok"]

    def test_while_it_is_disabled_it_is_not_asked_for(self):
        world = World(asking())
        world.poll()
        world.edit(enabled=False)
        world.run(120)
        assert len(world.prometheus.polls) == 1
        world.edit(enabled=True)
        world.poll()
        assert len(world.prometheus.polls) == 2

    def test_a_deleted_alarm_and_a_new_one_in_its_slot_do_not_mix(self):
        world = World(asking("a"))
        world.prometheus.value = 99.0
        (old,) = world.due()
        world.engine.remove("a")
        world.put(asking("b", promql(threshold=100.0)))
        world.land(old)
        assert world.judge() == []
        assert world.poll() == ["b: ok"]

    def test_an_edit_while_a_transition_is_open_wins(self):
        world = World(asking())
        world.prometheus.value = 99.0
        for poll in world.due():
            world.land(poll)
        (open_one,) = world.engine.evaluate(world.now * S)
        world.edit(state=OK)
        world.engine.committed(open_one)  # of an older revision: it was not written
        assert world.judge() == ["a: alarm"]

    def test_after_a_restart_the_stored_state_stands_until_the_first_answer(self):
        world = World(asking())
        world.prometheus.value = 99.0
        world.poll()
        world.restart()
        assert world.judge() == []
        assert world.poll() == []
        assert world.state() == ALARM
        assert len(world.prometheus.polls) == 2

    def test_the_newest_question_counts(self):
        """A store hangs, its poll is given up, and it comes back with what was true before."""
        world = World(asking(rule=promql(granularity=300)))
        (hanging,) = world.due()
        assert world.run(61) == []  # that its data is insufficient is nothing new
        assert "prometheus does not answer" in world.reason()
        world.prometheus.value = 99.0
        world.run(120)
        world.land(hanging)
        assert world.judge() == []
        assert world.run(60) == ["a: alarm"]


class TestStores:
    def test_one_that_cannot_be_reached_costs_only_its_own(self):
        world = World(asking("a"), asking("g", of_gnocchi()))
        world.poll()
        assert (world.state("a"), world.state("g")) == (OK, OK)
        world.prometheus.unavailable = "cannot connect to prometheus.example"
        world.gnocchi.value = 99.0
        told = world.run(65)
        assert sorted(told) == ["a: insufficient data", "g: alarm"]
        assert "cannot connect to prometheus.example" in world.reason("a")
        assert world.run(600) == []
        world.prometheus.unavailable = None
        assert world.run(61) == ["a: ok"]

    def test_one_that_fails_once_changes_nothing(self):
        world = World(asking())
        world.poll()
        world.prometheus.unavailable = "cannot connect"
        world.run(60)
        world.prometheus.unavailable = None
        assert world.run(60) == []
        assert world.state() == OK

    def test_one_that_cannot_be_reached_is_let_alone_longer_and_longer(self):
        world = World(asking())
        world.prometheus.unavailable = "cannot connect"
        begin = world.now
        world.poll()
        world.run(190)
        asked = [at_us / S - begin for _, at_us in world.prometheus.polls]
        assert asked == [0, 2, 6, 14, 30, 62, 122, 182]

    def test_a_new_alarm_learns_at_once_that_its_store_cannot_be_reached(self):
        world = World(asking())
        world.prometheus.unavailable = "cannot connect"
        world.poll()
        world.run(40)
        world.put(asking("b"))
        polls = len(world.prometheus.polls)
        world.poll()
        assert "cannot connect" in world.reason("b")
        assert len(world.prometheus.polls) == polls

    def test_one_that_is_asked_is_asked_nothing_else_meanwhile(self):
        world = World(asking("a"), asking("g", of_gnocchi()))
        polls = {poll.store: poll for poll in world.due()}
        world.put(asking("b"))
        world.put(asking("h", of_gnocchi("h")))
        assert world.due() == []
        world.land(polls["gnocchi"])
        (next_one,) = world.due()
        assert (next_one.store, len(next_one.questions)) == ("gnocchi", 1)

    def test_one_that_hangs_costs_only_its_own_and_new_ones_learn_of_it(self):
        world = World(asking("a"), asking("g", of_gnocchi()))
        polls = {poll.store: poll for poll in world.due()}
        world.land(polls["gnocchi"])
        world.judge()
        for _ in range(70):
            world.now += 1
            for poll in world.due():
                world.land(poll)
            world.judge()
        world.put(asking("b"))
        for poll in world.due():
            world.land(poll)
        world.judge()
        assert "prometheus does not answer" in world.reason("a")
        assert "prometheus does not answer" in world.reason("b")
        assert world.state("g") == OK
        assert len(world.gnocchi.polls) == 2
        assert world.prometheus.polls == []

    def test_a_type_that_no_store_answers_has_its_reason(self):
        world = World(asking(state=ALARM), stores={})
        assert world.poll() == ["a: insufficient data"]
        assert "no store answers prometheus rules" in world.reason()

    def test_what_a_store_says_of_one_rule_is_told_once_and_anew_when_it_changes(self):
        world = World(asking())
        why = ["no such metric"]
        world.prometheus.answer = lambda *_: Answer((None,), why[0])
        world.poll()
        world.run(120)
        assert [one.reason for one in world.quiet] == [
            "Remaining as insufficient data due to 1 of 1 datapoints missing; no such metric "
            "(up > 50: missing)"
        ]
        why[0] = "too many series"
        world.run(120)
        assert len(world.quiet) == 2
        assert "too many series" in world.reason()

    def test_why_is_told_anew_after_a_restart_and_after_an_edit(self):
        world = World(asking())
        world.prometheus.value = None
        world.poll()
        world.restart()
        world.prometheus.answer = lambda *_: Answer((None,), "too many series")
        world.poll()
        assert "too many series" in world.reason()
        world.edit(state_reason="Manually set via API")
        world.run(60)
        assert "too many series" in world.reason()
        world.run(60)
        assert len(world.quiet) == 3

    @pytest.mark.parametrize("nonsense", [(99.0,), (), (1.0, 2.0, 3.0), ("x", "y")])
    def test_what_are_no_datapoints_costs_only_its_own(self, nonsense):
        world = World(*(asking(one, promql(one, evaluation_periods=2)) for one in "abc"))
        world.prometheus.answer = lambda question, _: Answer(
            nonsense if question.rule.query == "b" else (99.0, 99.0)
        )
        assert world.poll() == ["a: alarm", "c: alarm"]
        assert "the store gave no 2 datapoints" in world.reason("b")

    def test_those_that_wait_for_long_to_be_asked_are_counted(self):
        world = World(asking("a"), asking("g", of_gnocchi()))
        for poll in world.due():
            if poll.store == "gnocchi":
                world.land(poll)
        world.put(asking("b"))
        late = []
        for _ in range(3):
            world.run(11, step=11)
            late.append([world.engine.asked.late(one, world.now * S) for one in world.stores])
        assert late == [[0, 1], [0, 1], [0, 1]]
        world.run(60)
        assert "prometheus does not answer" in world.reason("b")
        assert world.engine.asked.late("prometheus", world.now * S) == 0


VALUES = st.sampled_from([None, 10.0, 50.0, 50.0 + 1e-13, 60.0, float("nan"), float("inf")])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_vectors_decide_as_plain_python_does(data):
    """Random rules and answers, many at once, in any state."""
    alarms, answers = [], {}
    for number in range(data.draw(st.integers(1, 6))):
        periods = data.draw(st.integers(1, 4))
        rule = data.draw(
            st.sampled_from(
                [
                    promql(
                        f"q{number}",
                        evaluation_periods=periods,
                        for_=data.draw(st.sampled_from([0, 0, 30, 60, 150])),
                        comparison_operator=data.draw(st.sampled_from(Operator)),
                    ),
                    of_gnocchi(f"q{number}", evaluation_periods=periods),
                ]
            )
        )
        alarms.append(asking(f"q{number}", rule, state=data.draw(st.sampled_from(State))))
        values = st.lists(VALUES, min_size=rule.points, max_size=rule.points)
        answers[f"q{number}"] = [tuple(data.draw(values)) for _ in range(3)]
    world = World(*alarms)
    for turn in range(3):

        def answer(question, _now_us, turn=turn):
            rule = question.rule
            name = rule.query if isinstance(rule, PrometheusRule) else rule.resource_id
            return Answer(answers[name][turn])

        for store in world.stores.values():
            store.answer = answer
        expected = {
            alarm.alarm_id: judge_answer(
                alarm.rule, plain(answers[alarm.alarm_id][turn]), world.state(alarm.alarm_id)
            )
            for alarm in alarms
        }
        world.run(60, step=60) if turn else world.poll()
        assert {one.alarm_id: world.state(one.alarm_id) for one in alarms} == expected


def plain(values):
    """Without what is within the tolerance of the threshold."""
    return [50.0 if value is not None and abs(value - 50) < 1e-9 else value for value in values]


def test_comparisons_name_what_is_compared():
    assert comparison(of_gnocchi("r1", granularity=300)) == (
        "mean of cpu of instance r1 over 300 s > 50"
    )
    assert len(comparison(promql("x" * 5000))) < 300
    group = GnocchiResourceGroupRule(
        metric="cpu",
        query='{"=": {"server_group": "g"}}',
        resource_type="instance",
        aggregation_method="rate:mean",
        threshold=1.5,
        comparison_operator=Operator.LE,
    )
    assert comparison(group) == (
        'rate:mean of cpu of each instance with {"=": {"server_group": "g"}} over 60 s ≤ 1.5'
    )
