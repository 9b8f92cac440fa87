# SPDX-License-Identifier: Apache-2.0
"""The decision: which state follows from which datapoints, and in which words."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.alarms.model import State
from thermostat.alarms.query import Operator
from thermostat.alarms.rules import MissingData, Statistic, ThresholdRule
from thermostat.evaluate.decide import Datapoint, datapoint, judge, window_length

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
    assert judge(rule(evaluation_periods=3), points(*values), before).state is after


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
    assert judge(asked, points(*values), before).state is after


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
    assert judge(asked, points(*values), before).state is after


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
    found = {value for value in (69, 70, 71) if judge(asked, points(value), OK).state is ALARM}
    assert found == breaching


def test_outliers_by_sample_count_are_excluded():
    """A period in which only one of ten members reported decides nothing (bugzilla 1042267)."""
    asked = rule(evaluation_periods=4, exclude_outliers=True)
    assert window_length(asked) == 8
    values = [10, 10, 10, 10, 10, 10, 10, 95]
    counts = [10, 10, 10, 10, 10, 10, 10, 1]
    assert judge(asked, points(*values, counts=counts), OK).state is OK
    lone = rule(evaluation_periods=1, exclude_outliers=False)
    assert judge(lone, points(*values, counts=counts), OK).state is ALARM


def test_reason_names_the_datapoints():
    verdict = judge(rule(evaluation_periods=2), points(80, 97.25), OK)
    assert verdict.reason == (
        "Transition to alarm due to 2 samples outside threshold, most recent: 97.25 "
        "(avg of cpu_util over 60 s > 70: 80, 97.25)"
    )
    data = verdict.reason_data
    assert [data[key] for key in ("type", "disposition", "count", "most_recent")] == [
        "threshold",
        "outside",
        2,
        97.25,
    ]
    assert [point["value"] for point in data["datapoints"]] == [80, 97.25]


def test_reason_counts_what_is_missing():
    verdict = judge(rule(evaluation_periods=5), points(80, _, _, 90, _), OK)
    assert "3 of 5 datapoints missing" in verdict.reason
    assert verdict.reason_data["disposition"] == "unknown"


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(-1e9, 1e9)), min_size=1, max_size=30))
def test_statistics_agree_with_the_standard_library(samples):
    volumes = [volume for _, volume in samples]
    expected = {
        Statistic.AVG: statistics.fmean(volumes),
        Statistic.MIN: min(volumes),
        Statistic.MAX: max(volumes),
        Statistic.SUM: math.fsum(volumes),
        Statistic.COUNT: len(volumes),
        Statistic.LAST: max(samples)[1],
        Statistic.STDDEV: statistics.pstdev(volumes),
    }
    for statistic, value in expected.items():
        found = datapoint(statistic, 0, 10**6, samples)
        assert found.count == len(samples)
        assert found.value == pytest.approx(value, rel=1e-6, abs=1e-6)


@given(
    values=st.lists(st.one_of(st.none(), st.floats(0, 100)), min_size=1, max_size=8),
    data=st.data(),
)
def test_unanimous_windows_decide_whatever_the_state_was(values, data):
    needed = data.draw(st.integers(1, len(values)))
    asked = rule(evaluation_periods=len(values), datapoints_to_alarm=needed)
    before = data.draw(st.sampled_from(State))
    after = judge(asked, points(*values), before).state
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
