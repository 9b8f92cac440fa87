# SPDX-License-Identifier: Apache-2.0
"""The engine and the plain reference make the same decisions from the same alarms and samples."""

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.unit.evaluate.world import batch_of, make_alarm
from thermostat.alarms.model import State, TimeConstraint
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import (
    AlarmRef,
    AllOf,
    AnyOf,
    CompositeRule,
    Leaf,
    MissingData,
    Not,
    Statistic,
    ThresholdRule,
)
from thermostat.evaluate.engine import Engine
from thermostat.evaluate.reference import ReferenceEngine
from thermostat.samples.model import Sample, SampleType
from thermostat.store.memory import MemoryStore

S = 1_000_000
BEGIN_S = 1_700_000_000
GROUPS = ("web", "db")
LAG_S = 15


def query(group):
    return (Condition("metadata.user_metadata.server_group", Operator.EQ, group),)


@st.composite
def threshold_rules(draw):
    statistic = draw(st.sampled_from(Statistic))
    periods = draw(st.integers(1, 4))
    operator = draw(st.sampled_from(Operator))
    # a standard deviation or a percentile is never this; sums, counts and means often are
    threshold = draw(st.sampled_from([0.0, 1.0, 2.0, 3.0, 1.51357]))
    if statistic is Statistic.STDDEV or statistic.quantile:
        threshold = draw(st.sampled_from([0.71357, 1.51357, 2.31357]))
    clear = None
    if operator in (Operator.GT, Operator.GE) and draw(st.booleans()):
        clear = threshold - 0.75
    if operator in (Operator.LT, Operator.LE) and draw(st.booleans()):
        clear = threshold + 0.75
    return ThresholdRule(
        meter_name="cpu_util",
        query=draw(st.sampled_from([query("web"), query("db"), ()])),
        period=draw(st.sampled_from([1, 5, 10, 20, 60])),
        statistic=statistic,
        comparison_operator=operator,
        threshold=threshold,
        clear_threshold=clear,
        evaluation_periods=periods,
        datapoints_to_alarm=draw(st.one_of(st.none(), st.integers(1, periods))),
        treat_missing_data=draw(st.sampled_from(MissingData)),
        exclude_outliers=draw(st.booleans()),
        min_reporting_ratio=draw(st.sampled_from([0.0, 0.0, 0.5, 0.6, 1.0])),
        warm_up=draw(st.sampled_from([0, 0, 0, 15])),
    )


@st.composite
def expressions(draw, alarm_ids, depth=2):
    kinds = ["leaf", "leaf", "alarm"] if alarm_ids else ["leaf"]
    if depth:
        kinds += ["not", "and", "or"]
    match draw(st.sampled_from(kinds)):
        case "leaf":
            return Leaf(draw(threshold_rules()))
        case "alarm":
            return AlarmRef(draw(st.sampled_from(alarm_ids)))
        case "not":
            return Not(draw(expressions(alarm_ids, depth - 1)))
        case word:
            operands = draw(st.lists(expressions(alarm_ids, depth - 1), min_size=2, max_size=3))
            return (AllOf if word == "and" else AnyOf)(tuple(operands))


CONSTRAINTS = st.one_of(
    st.just(()),
    st.just(()),
    st.builds(
        lambda start, duration: (
            TimeConstraint(name="c", start=start, duration=duration, timezone="Europe/Berlin"),
        ),
        st.sampled_from(["* * * * *", "*/2 * * * *", "0 0 29 2 *"]),
        st.sampled_from([20, 45, 90]),
    ),
)


@st.composite
def alarms(draw):
    made = []
    for number in range(draw(st.integers(1, 4))):
        state = draw(st.sampled_from(State))
        rule = draw(threshold_rules())
        constraints = draw(CONSTRAINTS)
        made.append(
            msgspec.structs.replace(
                make_alarm(f"plain-{number}", state=state, time_constraints=constraints), rule=rule
            )
        )
    names = [alarm.alarm_id for alarm in made]
    for number in range(draw(st.integers(0, 2))):
        expression = draw(expressions([*names, "gone"]))
        alarm = make_alarm(f"composite-{number}")
        made.append(msgspec.structs.replace(alarm, rule=CompositeRule(expression=expression)))
        names.append(alarm.alarm_id)
    return made


# what happens: time goes on, then some members report, at some times around now
REPORTS = st.lists(
    st.tuples(
        st.integers(0, 3),  # the member
        st.sampled_from([0, 0, 0, 0, -1, -3, -10, -25, -70, -400, 4, 30, 200]),  # seconds from now
        st.integers(0, 4),  # the volume
        st.sampled_from([0, 0, 0, 0, 0, 1]),  # whether it is in another group from now on
    ),
    max_size=6,
)
EVENTS = st.lists(
    st.tuples(st.sampled_from([0, 1, 5, 10, 10, 10, 20, 61]), REPORTS), min_size=1, max_size=25
)


class Worlds:
    """The engine, the reference, one store, one clock."""

    def __init__(self, alarms):
        self.now = BEGIN_S
        self.store = MemoryStore()
        self.engine = Engine(self.store, LAG_S)
        self.store.subscribe(self.engine.describe)
        everything = self.store.all_series
        self.reference = ReferenceEngine(everything, LAG_S)
        self.groups = {}
        self.engine.put_all([alarm.standing for alarm in alarms], self.now * S)
        for alarm in alarms:
            self.reference.put(alarm, self.now * S)

    def report(self, reports):
        samples = []
        for member, offset_s, volume, moves in reports:
            group = self.groups.get(member, member % 2) ^ moves
            self.groups[member] = group
            samples.append(
                Sample(
                    name="cpu_util",
                    type=SampleType.GAUGE,
                    unit="%",
                    volume=float(volume),
                    resource_id=f"vm-{member}",
                    project_id="p",
                    timestamp_us=(self.now + offset_s) * S,
                    metadata={"user_metadata": {"server_group": GROUPS[group]}},
                )
            )
        batch = self.store.append(batch_of(self.store.intern(samples), samples))
        if len(batch):
            assert self.engine.ingest(batch) == self.reference.ingest(batch)

    def evaluate(self):
        told = []
        for _ in range(10_000):
            transitions = self.engine.evaluate(self.now * S)
            if not transitions:
                break
            for transition in transitions:
                told.append(transition)
                self.engine.committed(transition)
        else:
            raise AssertionError("the engine finds no end")
        found = [t for t in told if t.is_change]
        expected = self.reference.evaluate(self.now * S)
        assert self.by_alarm(found) == self.by_alarm(expected)

    @staticmethod
    def by_alarm(transitions):
        """Give the changes of each alarm in order, with the step that decided for plain rules."""
        changes = {}
        for one in transitions:
            is_plain = one.alarm_id.startswith("plain")
            step = one.step_us / S if is_plain else None
            changes.setdefault(one.alarm_id, []).append((one.previous, one.state, step))
        return changes


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(alarms(), EVENTS)
def test_both_make_the_same_transitions(alarms, events):
    worlds = Worlds(alarms)
    for elapsed_s, reports in events:
        worlds.now += elapsed_s
        if reports:
            worlds.report(reports)
        worlds.evaluate()
    for _ in range(3):
        worlds.now += 20
        worlds.evaluate()


@settings(max_examples=100, deadline=None)
@given(
    rule=threshold_rules(),
    samples=st.lists(
        st.tuples(st.integers(0, 2), st.integers(-100, 100), st.integers(0, 4)),
        unique_by=lambda one: one[:2],
        min_size=1,
        max_size=60,
    ),
    data=st.data(),
)
def test_how_the_batches_fell_changes_nothing(rule, samples, data):
    """The same samples, stored in any order and in any batches before the step is judged.

    Only who is new depends on the order: a member's first sample is the one that came first.
    """
    rule = msgspec.structs.replace(rule, warm_up=0, min_reporting_ratio=0.0)
    alarm = msgspec.structs.replace(make_alarm("plain-0"), rule=rule)
    outcomes = []
    for order in (samples, data.draw(st.permutations(samples))):
        worlds = Worlds([alarm])
        worlds.now += 101
        begin = 0
        while begin < len(order):
            size = data.draw(st.integers(1, 20))
            worlds.report(
                [(m, at - 101, volume, 0) for m, at, volume in order[begin : begin + size]]
            )
            begin += size
        worlds.now += LAG_S
        told = worlds.engine.evaluate(worlds.now * S)
        outcomes.append([(t.state, t.step_us, t.reason_data) for t in told])
    assert outcomes[0] == outcomes[1]
