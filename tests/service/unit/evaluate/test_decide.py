# SPDX-License-Identifier: Apache-2.0
"""The decision: which state follows from which datapoints, in plain Python and as vectors."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.alarms.model import State
from thermostat.alarms.query import Operator
from thermostat.alarms.rules import MissingData, Statistic, ThresholdRule
from thermostat.evaluate import decide
from thermostat.evaluate.cells import make_cells
from thermostat.evaluate.reasons import Datapoint, Group, explain
from thermostat.evaluate.reference import judge, statistic_of
from thermostat.evaluate.ticks import window_length

OK, ALARM, UNKNOWN = State.OK, State.ALARM, State.INSUFFICIENT_DATA
_ = None


def rule(**changes):
    return ThresholdRule(
        **{
            "meter_name": "cpu_util",
            "threshold": 70.0,
            "comparison_operator": Operator.GT,
            "period": 60,
            **changes,
        }
    )


def points(*values, counts=None):
    counts = counts or [0 if value is None else 1 for value in values]
    return [
        Datapoint(60_000_000 * i, 60_000_000 * (i + 1), count, value)
        for i, (value, count) in enumerate(zip(values, counts, strict=True))
    ]


@pytest.mark.parametrize(
    ("values", "before", "after"),
    [
        ([80, 90, 75], OK, ALARM),
        ([80, 90, 75], UNKNOWN, ALARM),
        ([10, 20, 30], ALARM, OK),
        ([80, 20, 30], ALARM, ALARM),
        ([80, 20, 30], OK, OK),
        ([80, 20, 30], UNKNOWN, OK),
        ([20, 20, 80], UNKNOWN, ALARM),
        ([80, 80, _], OK, UNKNOWN),
        ([_, _, _], ALARM, UNKNOWN),
    ],
)
def test_all_of_n(values, before, after):
    """M = N is Aodh's rule to the letter."""
    assert judge(rule(evaluation_periods=3), points(*values), before) is after


@pytest.mark.parametrize(
    ("values", "before", "after"),
    [
        ([80, 10, 80, 10, 80], OK, ALARM),
        ([80, 10, 10, 10, 80], ALARM, OK),
        ([80, _, 80, _, 80], OK, ALARM),
        ([80, _, 10, _, 80], OK, OK),
        ([80, _, 10, _, 80], UNKNOWN, ALARM),
        ([_, _, 80, _, 80], OK, UNKNOWN),
    ],
)
def test_m_of_n(values, before, after):
    asked = rule(evaluation_periods=5, datapoints_to_alarm=3)
    assert judge(asked, points(*values), before) is after


@pytest.mark.parametrize(
    ("treat", "values", "before", "after"),
    [
        (MissingData.MISSING, [80, _], ALARM, UNKNOWN),
        (MissingData.IGNORE, [80, _], ALARM, ALARM),
        (MissingData.IGNORE, [_, _], OK, OK),
        (MissingData.BREACHING, [80, _], OK, ALARM),
        (MissingData.BREACHING, [_, _], UNKNOWN, ALARM),
        (MissingData.NOT_BREACHING, [10, _], ALARM, OK),
        (MissingData.NOT_BREACHING, [80, _], ALARM, ALARM),
    ],
)
def test_missing_data(treat, values, before, after):
    asked = rule(evaluation_periods=2, treat_missing_data=treat)
    assert judge(asked, points(*values), before) is after


@pytest.mark.parametrize(
    ("operator", "breaching"),
    [
        ("lt", {69}),
        ("le", {69, 70}),
        ("eq", {70}),
        ("ne", {69, 71}),
        ("ge", {70, 71}),
        ("gt", {71}),
    ],
)
def test_operators(operator, breaching):
    asked = rule(comparison_operator=Operator(operator))
    found = {value for value in (69, 70, 71) if judge(asked, points(value), OK) is ALARM}
    assert found == breaching


def test_outliers_by_sample_count_are_excluded():
    """A period in which only one of ten members reported decides nothing (bugzilla 1042267)."""
    asked = rule(evaluation_periods=4, exclude_outliers=True)
    assert window_length(asked) == 8
    values = [10, 10, 10, 10, 10, 10, 10, 95]
    counts = [10, 10, 10, 10, 10, 10, 10, 1]
    assert judge(asked, points(*values, counts=counts), OK) is OK
    lone = rule(evaluation_periods=1, exclude_outliers=False)
    assert judge(lone, points(*values, counts=counts), OK) is ALARM


def test_reason_names_the_datapoints():
    reason, data = explain(rule(evaluation_periods=2), points(80, 97.25), OK, ALARM)
    assert reason == (
        "Transition to alarm due to 2 samples outside threshold, most recent: 97.25 "
        "(avg of cpu_util over 60 s > 70: 80, 97.25)"
    )
    assert [data[key] for key in ("type", "disposition", "count", "most_recent")] == [
        "threshold",
        "outside",
        2,
        97.25,
    ]
    assert [point["value"] for point in data["datapoints"]] == [80, 97.25]


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (Group(4, 4, 2, 60.0), "3 of 5 datapoints missing; 2 of 4 live members reported"),
        (Group(0, 0, 0, 0.0), "3 of 5 datapoints missing; no resource matches the query"),
        (
            Group(3, 3, 1, 300.0),
            "1 of 3 live members reported; members report every 300 s, the period is 60 s",
        ),
    ],
)
def test_reason_says_what_is_missing(group, words):
    asked = rule(evaluation_periods=5)
    reason, data = explain(asked, points(80, _, _, 90, _), OK, UNKNOWN, group)
    assert words in reason
    assert data["disposition"] == "unknown"


def test_in_alarm_the_clear_threshold_counts():
    asked = rule(clear_threshold=60.0)
    assert judge(asked, points(65), OK) is OK
    assert judge(asked, points(71), OK) is ALARM
    assert judge(asked, points(65), ALARM) is ALARM
    assert judge(asked, points(60), ALARM) is OK
    reason, _data = explain(asked, points(60), ALARM, OK)
    assert "avg of cpu_util over 60 s > 60: 60" in reason


@pytest.mark.parametrize("value", [0.1 + 0.2, 0.3])
def test_the_last_digits_of_a_sum_decide_nothing(value):
    for operator, state in (("gt", OK), ("ge", ALARM), ("eq", ALARM), ("ne", OK), ("lt", OK)):
        asked = rule(threshold=0.3, comparison_operator=Operator(operator))
        assert judge(asked, points(value), OK) is state


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(0, 2), st.floats(-1e9, 1e9)),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from(Statistic),
)
def test_cells_agree_with_plain_statistics(samples, statistic):
    """Samples of three windows, scattered in two batches over four ticks of ten."""
    cells = make_cells(statistic, 4)
    cells.reserve(3, 0)
    for part in (samples[::2], samples[1::2]):
        if part:
            times, cols, volumes = map(np.array, zip(*part, strict=True))
            cells.add((times - 1) // 10, cols, times, volumes.astype(float))
    counts, values = cells.merge([slice(2, 4), slice(0, 2)], slice(0, 3), 2)
    for row, ticks in enumerate([(2, 3), (0, 1)]):
        for col in range(3):
            own = [(t, v) for t, c, v in samples if c == col and (t - 1) // 10 in ticks]
            assert counts[row, col] == len(own)
            if own:
                expected = statistic_of(statistic, own)
                assert values[row, col] == pytest.approx(expected, rel=1e-9, abs=1e-3)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=200), st.data())
def test_a_percentile_is_within_one_percent_of_the_exact_one(volumes, data):
    statistic = data.draw(st.sampled_from([one for one in Statistic if one.quantile]))
    exact = sorted(volumes)[math.floor(statistic.quantile * (len(volumes) - 1))]
    found = statistic_of(statistic, list(enumerate(volumes)))
    assert found == pytest.approx(exact, rel=0.0101, abs=1e-300)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=60), st.floats(1e8, 1e9))
def test_a_standard_deviation_keeps_its_digits_where_the_mean_is_large(volumes, base):
    cells = make_cells(Statistic.STDDEV, 1)
    cells.reserve(1, 0)
    level = np.array(volumes) + base
    rows = np.zeros(len(level), np.int64)
    cells.add(rows, rows, np.arange(len(level)), level)
    _, values = cells.merge([slice(0, 1)], slice(0, 1), 1)
    assert values[0, 0] == pytest.approx(statistics.pstdev(level.tolist()), rel=1e-6, abs=1e-5)


@given(
    values=st.lists(st.one_of(st.none(), st.floats(0, 100)), min_size=1, max_size=8),
    data=st.data(),
)
def test_unanimous_windows_decide_whatever_the_state_was(values, data):
    needed = data.draw(st.integers(1, len(values)))
    asked = rule(evaluation_periods=len(values), datapoints_to_alarm=needed)
    before = data.draw(st.sampled_from(State))
    after = judge(asked, points(*values), before)
    breaching = sum(value is not None and value > 70 for value in values)
    holding = sum(value is not None and value <= 70 for value in values)
    if breaching >= needed:
        assert after is ALARM
    elif holding >= needed:
        assert after is OK
    elif breaching + holding < needed:
        assert after is UNKNOWN
    elif before is not UNKNOWN:
        assert after is before


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_outliers_are_those_beyond_two_sigma(counts):
    stays = decide.without_outliers(np.array([counts]).T)[:, 0].tolist()
    present = [count for count in counts if count]
    if present:
        mean, sigma = statistics.fmean(present), statistics.pstdev(present)
        for count, kept in zip(counts, stays, strict=True):
            distance = abs(count - mean) - 2 * sigma
            if count and abs(distance) > 1e-6:
                assert kept is (distance < 0)
