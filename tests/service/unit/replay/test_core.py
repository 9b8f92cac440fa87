# SPDX-License-Identifier: Apache-2.0
"""A replay judges as the live engine does, whatever the order of the recording."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.alarm_support import make_alarm
from thermostat.alarms.model import State, TimeConstraint
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import MissingData, Statistic, ThresholdRule
from thermostat.evaluate.engine import Engine
from thermostat.ingest import Ingest
from thermostat.replay import recordings
from thermostat.replay.core import Replay, as_new
from thermostat.replay.past import PastStore
from thermostat.replay.recordings import MemoryRecording, StoreRecording, is_wanted, stored_span_us
from thermostat.samples.catalogue import MEASURED
from thermostat.samples.derive import Deriver
from thermostat.samples.model import Sample, SampleType
from thermostat.store.base import Selection
from thermostat.store.embedded import EmbeddedStore
from thermostat.store.memory import MemoryStore

S = 1_000_000
START_S = 1_750_000_080  # a whole minute
GROUP = (Condition("metadata.group", Operator.EQ, "web"),)


def sample(at_s, volume, resource="vm-1", *, meter="cpu_util", group="web", **rest):
    return Sample(
        name=meter,
        unit="%",
        volume=volume,
        resource_id=resource,
        project_id="p1",
        timestamp_us=round((START_S + at_s) * S),
        metadata={"group": group},
        **{"type": SampleType.GAUGE, **rest},
    )


def rule(**changes):
    return ThresholdRule(
        **{
            "meter_name": "cpu_util",
            "threshold": 70.0,
            "comparison_operator": Operator.GT,
            "query": GROUP,
            **changes,
        }
    )


def replay(samples, *alarms, end_s=600, lag_s=15.0, **options):
    return list(
        Replay(
            alarms,
            MemoryRecording(samples),
            start_us=START_S * S - 1,
            end_us=(START_S + end_s) * S,
            allowed_lag_s=lag_s,
            **options,
        )
    )


def told(transitions):
    return [
        ((one.timestamp_us - START_S * S) / S, str(one.previous), str(one.state))
        for one in transitions
        if not one.quiet
    ]


alarms = st.builds(
    lambda **fields: make_alarm(rule=rule(**fields)),
    period=st.sampled_from([7, 30, 60]),
    statistic=st.sampled_from([*Statistic]),
    clear_threshold=st.sampled_from([None, 65.0]),
    min_reporting_ratio=st.sampled_from([0.0, 0.5, 1.0]),
    warm_up=st.sampled_from([0, 90]),
    evaluation_periods=st.integers(1, 3),
    treat_missing_data=st.sampled_from(MissingData),
    query=st.sampled_from([(), GROUP]),
)
recorded = st.lists(
    st.builds(
        sample,
        st.integers(0, 600),
        st.sampled_from([0.0, 60.0, 80.0, 100.0]),
        st.sampled_from(["vm-1", "vm-2", "vm-3"]),
        group=st.sampled_from(["web", "web", "db"]),
    ),
    max_size=60,
)
lags = st.sampled_from([0.0, 15.0, 40.0])
few = settings(max_examples=25, deadline=None)


@few
@given(alarms, recorded, lags, st.data())
def test_the_order_of_the_recording_does_not_matter(alarm, samples, lag_s, data):
    # as one file, or as several that were read in any order
    shuffled = data.draw(st.permutations(samples))
    assert replay(samples, alarm, lag_s=lag_s) == replay(shuffled, alarm, lag_s=lag_s)


@few
@given(alarms, recorded, lags)
def test_is_what_the_live_engine_does_with_the_samples_in_order(alarm, samples, lag_s):
    by_key = {(one.key, one.timestamp_us): one for one in sorted(samples, key=time_of)}
    found = replay(by_key.values(), alarm, lag_s=lag_s, linger=True)
    assert found == live(by_key.values(), alarm, lag_s=lag_s)


@few
@given(alarms, recorded, lags)
def test_a_coarser_clock_tells_the_same_later(alarm, samples, lag_s):
    # who is live, which the ratio asks, is known better the later it is asked
    asks_nobody = msgspec.structs.replace(alarm.rule, min_reporting_ratio=0.0)
    alarm = msgspec.structs.replace(alarm, rule=asks_nobody)
    fine = replay(samples, alarm, lag_s=lag_s, linger=True)
    coarse = replay(samples, alarm, lag_s=lag_s, linger=True, resolution_s=10)
    assert steps(fine) == steps(coarse)


def steps(transitions):
    return [(one.step_us, one.state) for one in transitions if not one.quiet]


def time_of(one):
    return one.timestamp_us


def live(samples, alarm, *, lag_s, end_s=600):
    """Feed an engine as the server does, second by second."""
    store = MemoryStore()
    engine = Engine(store, lag_s)
    store.subscribe(engine.describe)
    engine.put(alarm.standing, START_S * S - 1)
    transitions = []
    for now_us in range(START_S * S, round((START_S + end_s + lag_s) * S) + 1, S):
        Ingest(store, engine.ingest, clock=lambda: now_us).accept(  # noqa: B023 - used at once
            [one for one in samples if one.timestamp_us == now_us]
        )
        while new := engine.evaluate(now_us):
            for transition in new:
                engine.committed(transition)
            transitions += new
    return transitions


def test_a_breach_is_told_when_the_deciding_sample_was_measured():
    values = [50, 50, 50, 90, 90, 50]
    samples = [sample(60 * index, value) for index, value in enumerate(values)]
    assert told(replay(samples, make_alarm(rule=rule(evaluation_periods=2)))) == [
        (60, "insufficient data", "ok"),
        (240, "ok", "alarm"),
        (375, "alarm", "insufficient data"),
    ]


def test_a_silent_member_is_waited_for_until_the_lag_is_over():
    samples = [sample(60 * index, 50) for index in range(6)]
    samples += [sample(60 * index, 150, "vm-2") for index in range(4)]
    found = told(replay(samples, make_alarm(rule=rule()), end_s=300, lag_s=20, linger=True))
    assert found[:1] == [(0, "insufficient data", "alarm")]
    assert found[1][0] == 260


def test_samples_after_the_end_are_not_taken_in_while_lingering():
    samples = [sample(0, 50), sample(60, 50), sample(61, 500), sample(70, 500)]
    found = replay(samples, make_alarm(rule=rule()), end_s=60, linger=True)
    assert told(found) == [(0, "insufficient data", "ok")]


def test_counters_become_rates_as_in_the_server():
    counter = {"meter": "disk.bytes", "type": SampleType.CUMULATIVE}
    samples = [sample(60 * index, 600 * index**2, **counter) for index in range(6)]
    found = replay(samples, make_alarm(rule=rule(meter_name="disk.bytes.rate", threshold=45.0)))
    assert told(found)[:2] == [(60, "insufficient data", "ok"), (180, "ok", "alarm")]
    assert "most recent: 50" in [one.reason for one in found if one.is_change][1]


def test_a_recorded_rate_is_not_replaced_by_a_derived_one():
    samples = [
        sample(0, 0, meter="x", type=SampleType.CUMULATIVE),
        sample(60, 6000, meter="x", type=SampleType.CUMULATIVE),
        sample(60, 7, meter="x.rate"),
    ]
    (batch,) = MemoryRecording(samples).batches(0, START_S * 2 * S)
    assert sorted(batch.volume.tolist()) == [0, 7, 6000]


def test_every_meter_that_something_is_derived_from_is_kept():
    deriver = Deriver()
    for meter in MEASURED.values():
        for at_s in (0, 60):
            made = deriver.derive(sample(at_s, 1, meter=meter.name, type=meter.type))
            for derived in made:
                alarm = make_alarm(rule=rule(meter_name=derived.name))
                assert is_wanted([alarm])(sample(0, 1, meter=meter.name))
    assert not is_wanted([make_alarm(rule=rule())])(sample(0, 1, meter="memory"))


def test_repeated_actions_repeat_at_each_step():
    alarm = make_alarm(rule=rule(), repeat_actions=True)
    found = replay([sample(60 * index, 90) for index in range(3)], alarm, end_s=120, lag_s=0)
    assert told(found)[0] == (0, "insufficient data", "alarm")
    assert told(found)[1:] == [(at_s, "alarm", "alarm") for at_s in range(10, 130, 10)]


def test_a_wrong_clock_does_not_keep_the_replay_for_ever():
    year_s = 365 * 86_400
    samples = [sample(at_s, volume) for at_s, volume in ((0, 90), (60, 90), (99 * year_s, 50))]
    found = replay(samples, make_alarm(rule=rule()), end_s=100 * year_s)
    assert told(found) == [
        (0, "insufficient data", "alarm"),
        (135, "alarm", "insufficient data"),
        (99 * year_s, "insufficient data", "ok"),
        (99 * year_s + 75, "ok", "insufficient data"),
    ]


def test_time_constraints_are_those_of_the_recording():
    # the recording begins at 15:08 UTC
    constraint = TimeConstraint(name="n", start="10 15 * * *", duration=120)
    alarm = make_alarm(rule=rule(), time_constraints=(constraint,))
    found = replay([sample(60 * index, 90) for index in range(10)], alarm)
    assert told(found) == [(120, "insufficient data", "alarm")]


def test_a_resolution_changes_when_it_is_told_and_not_what():
    rng = np.random.default_rng(7)
    samples = [
        sample(13 * index + number / 7, float(volume), f"vm-{number}")
        for number in range(3)
        for index, volume in enumerate(rng.choice([50, 150], 46))
    ]
    alarm = make_alarm(rule=rule(period=30))
    fine, coarse = replay(samples, alarm), replay(samples, alarm, resolution_s=10)
    assert [one.state for one in fine] == [one.state for one in coarse]
    assert len(fine) > 3
    for one, other in zip(fine, coarse, strict=True):
        assert 0 <= other.timestamp_us - one.timestamp_us < 10 * S
        assert other.timestamp_us % (10 * S) == 0


def test_a_stored_recording_is_replayed_as_one_from_files(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "WANTED_ROWS", 4)  # many small spans
    samples = [
        sample(60 * index, volume, f"vm-{number}")
        for number in range(3)
        for index, volume in enumerate([50, 50, 90, 95, 20, 20, 99, 99, 20, 10])
    ]
    others = [sample(60 * index, 1000, "vm-1", meter="other") for index in range(10)]
    others += [sample(60 * index, 1000, "db-1", group="db") for index in range(10)]
    alarm = make_alarm(rule=rule(evaluation_periods=2))
    store = EmbeddedStore(tmp_path, min_free_mb=0, clock=lambda: START_S * S)
    try:
        Ingest(store, lambda _: None, clock=lambda: START_S * S).accept([*samples, *others])
        recording = StoreRecording(store, [alarm])
        options = {"start_us": START_S * S - 1, "end_us": (START_S + 600) * S, "allowed_lag_s": 15}
        stored = list(Replay([alarm], recording, **options))
        assert recording.series_count == 3
        assert stored_span_us(store, [alarm]) == (START_S * S, (START_S + 540) * S)
    finally:
        store.close()
    assert stored == replay(samples, alarm)
    assert len(stored) > 4


def test_a_window_that_is_full_at_the_start_decides_at_once():
    samples = [sample(60 * index, 90) for index in range(10)]
    recording = MemoryRecording(samples)
    alarm = make_alarm(rule=rule(evaluation_periods=3))
    found = list(
        Replay(
            [alarm],
            recording,
            start_us=(START_S + 300) * S,
            end_us=(START_S + 400) * S,
            allowed_lag_s=0,
        )
    )
    assert [one.state for one in found] == [State.ALARM]
    assert found[0].timestamp_us == (START_S + 300) * S


def test_the_past_has_nothing_of_the_future():
    recording = MemoryRecording(
        [sample(0, 1), sample(60, 2, group="db"), sample(120, 3, "vm-2", group="web")]
    )
    store, seen = PastStore(recording, START_S * S), []
    store.subscribe(seen.append)
    selection = Selection("cpu_util", "p1", GROUP)
    assert [one.key.resource_id for one in store.series(selection)] == ["vm-1"]
    assert len(store.scan(None, 0, 2 * START_S * S)) == 1
    with pytest.raises(KeyError):
        store.get_series(2)
    store.advance((START_S + 60) * S)
    assert store.series(selection) == []
    assert [[one.metadata["group"] for one in told] for told in seen] == [["db"]]
    store.advance((START_S + 120) * S)
    assert [one.key.resource_id for one in store.series(selection)] == ["vm-2"]
    assert [one.first_us for one in store.all_series()] == [START_S * S, (START_S + 120) * S]
    assert len(store.scan([1], 0, 2 * START_S * S)) == 2


def test_an_alarm_as_new():
    used = msgspec.structs.replace(make_alarm(), state=State.ALARM, revision=9, suppressed=True)
    assert as_new(used) == make_alarm()
