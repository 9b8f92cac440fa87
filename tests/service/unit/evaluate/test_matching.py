# SPDX-License-Identifier: Apache-2.0
"""The index finds exactly the alarms that asking every one of them would find."""

from hypothesis import given
from hypothesis import strategies as st

from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import ThresholdRule
from thermostat.evaluate.matching import WindowIndex
from thermostat.samples.model import SampleType, SeriesKey
from thermostat.store import selecting
from thermostat.store.base import Selection, Series

FIELDS = ["resource_id", "metadata.user_metadata.g", "metadata.metering.g", "metadata.vcpus"]
VALUES = st.sampled_from(["a", "b", "2", "2.0", "true", "True", "nan", "0-0-0-0", "-2"])
ACTUAL = st.one_of(VALUES, st.sampled_from([2, 2.0, 3, True, False, None]))

queries = st.lists(
    st.builds(Condition, st.sampled_from(FIELDS), st.sampled_from(Operator), VALUES), max_size=3
)
selections = st.lists(
    st.builds(
        Selection,
        st.sampled_from(["cpu_util", "memory.util"]),
        st.sampled_from(["p", "q"]),
        queries,
    ),
    max_size=12,
).map(lambda drawn: dict(enumerate(drawn)))
series = st.builds(
    lambda resource, group, vcpus: Series(
        series_id=1,
        key=SeriesKey("cpu_util", resource, "p"),
        type=SampleType.GAUGE,
        unit="%",
        user_id=None,
        source="openstack",
        metadata={"user_metadata": {"g": group}, "vcpus": vcpus},
    ),
    VALUES,
    ACTUAL,
    ACTUAL,
)


def asked_one_by_one(selections, one):
    return sorted(window for window, wanted in selections.items() if selecting.matches(one, wanted))


def add_all(index, selections):
    rules = [
        ThresholdRule(meter_name=one.meter, query=tuple(one.conditions), threshold=0.0)
        for one in selections.values()
    ]
    index.add_all(selections, rules, [one.project_id for one in selections.values()])


@given(selections=selections, one=series, data=st.data())
def test_index_agrees_with_asking_everyone(selections, one, data):
    index = WindowIndex()
    add_all(index, selections)
    assert sorted(index.matching(one)) == asked_one_by_one(selections, one)
    dropped = [window for window in selections if data.draw(st.booleans())]
    index.drop(dropped)
    kept = {window: wanted for window, wanted in selections.items() if window not in dropped}
    assert sorted(index.matching(one)) == asked_one_by_one(kept, one)
    add_all(index, {window: selections[window] for window in dropped})
    assert sorted(index.matching(one)) == asked_one_by_one(selections, one)
