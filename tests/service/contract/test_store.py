# SPDX-License-Identifier: Apache-2.0
"""What every sample store must do; each one runs through all of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thermostat.alarms.query import Condition, Operator
from thermostat.samples.model import Sample, SampleType
from thermostat.store.base import Batch, InvalidSelection, SampleStore, Selection
from thermostat.store.embedded import EmbeddedStore
from thermostat.store.memory import MemoryStore

S = 1_000_000
NOW_US = 1_800_000_000 * S  # an hour's beginning


def embedded(path: Path) -> SampleStore:
    return EmbeddedStore(path, min_free_mb=0, clock=lambda: NOW_US)


def memory(_path: Path) -> SampleStore:
    return MemoryStore()


@pytest.fixture(params=[embedded, memory], ids=lambda make: make.__name__)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SampleStore]:
    make: Callable[[Path], SampleStore] = request.param
    opened = make(tmp_path / "samples")
    yield opened
    opened.close()


def sample(resource_id: str = "vm-1", at_s: float = 0, volume: float = 1.0, **fields) -> Sample:
    """Give a sample so many seconds after NOW_US."""
    return Sample(
        **{
            "name": "cpu_util",
            "type": SampleType.GAUGE,
            "unit": "%",
            "project_id": "p1",
            "resource_id": resource_id,
            "timestamp_us": NOW_US + int(at_s * S),
            "volume": volume,
            **fields,
        }
    )


def put(store: SampleStore, *samples: Sample) -> Batch:
    return store.append(
        Batch(
            store.intern(samples),
            np.array([one.timestamp_us for one in samples], np.int64),
            np.array([one.volume for one in samples], np.float64),
        )
    )


def web(name: str = "web") -> dict:
    return {"user_metadata": {"server_group": name}}


class TestSeries:
    def test_an_id_means_one_meter_of_one_resource_of_one_project(self, store):
        ids = store.intern(
            [
                sample("a"),
                sample("b"),
                sample("a", name="cpu"),
                sample("a", project_id="p2"),
                sample("a", project_id=None),
                sample("a", at_s=60),
            ]
        ).tolist()
        assert len(set(ids)) == 5
        assert ids[5] == ids[0]
        assert store.intern([sample("a")]).tolist() == [ids[0]]

    def test_a_series_can_be_looked_up(self, store):
        [series_id] = store.intern([sample("a", user_id="u", metadata=web())]).tolist()
        series = store.get_series(series_id)
        assert series.key == sample("a").key
        assert (series.type, series.unit, series.user_id) == (SampleType.GAUGE, "%", "u")
        assert series.metadata == web()
        assert series.source == "openstack"

    def test_an_unknown_id_is_a_key_error(self, store):
        with pytest.raises(KeyError):
            store.get_series(1)

    def test_changed_metadata_replaces_what_was_known(self, store):
        [before] = store.intern([sample(metadata=web("old"))]).tolist()
        [after] = store.intern([sample(metadata=web("new"))]).tolist()
        assert after == before
        assert store.get_series(before).metadata == web("new")
        assert not store.series(Selection("cpu_util", "p1", [group_is("old")]))

    def test_several_changes_in_one_batch_end_with_the_last(self, store):
        ids = store.intern([sample(metadata=web(name)) for name in ("a", "b", "c")]).tolist()
        assert len(set(ids)) == 1
        assert store.get_series(ids[0]).metadata == web("c")

    def test_selection_by_meter_project_and_conditions(self, store):
        store.intern(
            [
                sample("a", metadata=web()),
                sample("b", metadata=web()),
                sample("c", metadata=web("db")),
                sample("d", metadata=web(), project_id="p2"),
                sample("a", metadata=web(), name="memory"),
            ]
        )

        def resources(*conditions: Condition, project_id: str | None = "p1") -> list[str]:
            found = store.series(Selection("cpu_util", project_id, conditions))
            assert [one.series_id for one in found] == sorted(one.series_id for one in found)
            return sorted(one.key.resource_id for one in found)

        assert resources() == ["a", "b", "c"]
        assert resources(group_is("web")) == ["a", "b"]
        assert resources(group_is("web"), project_id=None) == ["a", "b", "d"]
        assert resources(Condition("resource_id", Operator.EQ, "c")) == ["c"]
        assert resources(group_is("web"), Condition("resource_id", Operator.NE, "a")) == ["b"]
        assert resources(project_id="nobody") == []

    def test_a_series_keeps_the_time_of_its_first_sample(self, store):
        [series_id] = store.intern([sample(at_s=7)]).tolist()
        store.intern([sample(at_s=99, metadata=web())])
        assert store.get_series(series_id).first_us == NOW_US + 7 * S

    def test_a_fingerprint_finds_the_series_until_another_stands_for_it(self, store):
        first, second, third = (np.array([n], np.uint64) for n in (2**64 - 1, 7, 9))
        ids = store.intern([sample("a")], first)
        other = store.intern([sample("b")], third)
        assert store.find(first).tolist() == ids.tolist()
        assert store.find(second).tolist() == [0]
        store.intern([sample("a", metadata=web())], second)
        assert store.find(second).tolist() == ids.tolist()
        assert store.find(first).tolist() == [0], "it stood for what is not true any more"
        guess = np.concatenate([other, ids])
        assert store.find(np.concatenate([second, second]), guess).tolist() == ids.tolist() * 2
        store.intern([sample("a", metadata=web("other"))])
        assert store.find(second).tolist() == [0], "described anew, without a fingerprint"
        assert store.find(third).tolist() == other.tolist()

    def test_a_fingerprint_stays_while_nothing_is_described_anew(self, store):
        fingerprint = np.array([5], np.uint64)
        ids = store.intern([sample("a")], fingerprint)
        store.intern([sample("a", at_s=10)])
        assert store.find(fingerprint).tolist() == ids.tolist()

    def test_all_series_come_by_id(self, store):
        assert list(store.all_series()) == []
        ids = store.intern([sample("b"), sample("a", project_id=None), sample("c")]).tolist()
        store.intern([sample("a", project_id=None, metadata=web())])
        found = list(store.all_series())
        assert [one.series_id for one in found] == sorted(ids)
        assert found == [store.get_series(series_id) for series_id in sorted(ids)]

    def test_subscribers_learn_of_new_and_changed_series_and_of_nothing_else(self, store):
        told: list[list[tuple[str, dict]]] = []
        known_when_told = []

        def tell(series):
            told.append([(one.key.resource_id, one.metadata) for one in series])
            known_when_told.extend(store.get_series(one.series_id) == one for one in series)

        store.subscribe(tell)
        store.intern([sample("a"), sample("b"), sample("a")])
        store.intern([sample("a", at_s=10)])
        store.intern([sample("a"), sample("b", metadata=web()), sample("c")])
        assert [sorted(one) for one in told] == [
            [("a", {}), ("b", {})],
            [("b", web()), ("c", {})],
        ]
        assert all(known_when_told)


def group_is(name: str) -> Condition:
    return Condition("metadata.user_metadata.server_group", Operator.EQ, name)


class TestAppend:
    def test_gives_what_is_new(self, store):
        first = put(store, sample(at_s=0, volume=1), sample(at_s=10, volume=2))
        assert first.volume.tolist() == [1, 2]
        again = put(store, sample(at_s=10, volume=2), sample(at_s=20, volume=3))
        assert again.volume.tolist() == [3]

    def test_the_first_value_of_an_instant_stays(self, store):
        put(store, sample(at_s=0, volume=1), sample(at_s=0, volume=2))
        put(store, sample(at_s=0, volume=3))
        [one] = store.statistics(Selection("cpu_util", "p1"))
        assert (one.count, one.total) == (1, 1)

    def test_late_samples_are_kept(self, store):
        put(store, sample(at_s=100, volume=1))
        late = put(store, sample(at_s=-4000, volume=2), sample(at_s=50, volume=3))
        assert late.volume.tolist() == [2, 3]
        assert not len(put(store, sample(at_s=-4000, volume=9), sample(at_s=50, volume=9)))

    def test_one_instant_of_two_series_is_two_samples(self, store):
        assert len(put(store, sample("a"), sample("b"))) == 2

    def test_an_empty_batch_is_nothing(self, store):
        assert len(put(store)) == 0


class TestScan:
    def test_left_open_and_right_closed_oldest_first(self, store):
        samples = [sample("a", at, volume=at) for at in (30, 0, 10, 20)]
        put(store, *samples, sample("b", 20, volume=99))
        ids = store.intern([sample("a")]).tolist()
        found = store.scan(ids, NOW_US, NOW_US + 20 * S)
        assert found.volume.tolist() == [10, 20]
        assert found.timestamp_us.tolist() == [NOW_US + 10 * S, NOW_US + 20 * S]
        assert set(found.series_id.tolist()) == set(ids)

    def test_crosses_hours(self, store):
        put(store, *[sample(at_s=at, volume=at) for at in (-7200, -3600, 0, 3600)])
        ids = store.intern([sample()]).tolist()
        found = store.scan(ids, NOW_US - 7200 * S, NOW_US + 3600 * S)
        assert found.volume.tolist() == [-3600, 0, 3600]

    def test_of_all_series(self, store):
        put(store, sample("a", 10, volume=1), sample("b", 5, volume=2), sample("a", 30, volume=3))
        found = store.scan(None, NOW_US, NOW_US + 20 * S)
        assert found.volume.tolist() == [2, 1]

    def test_of_nothing_is_empty(self, store):
        put(store, sample())
        assert len(store.scan([], 0, 2 * NOW_US)) == 0
        assert len(store.scan([12345], 0, 2 * NOW_US)) == 0


class TestLatest:
    def test_newest_of_each_series(self, store):
        put(store, sample("a", 10, volume=1), sample("a", 20, volume=2), sample("b", 5, volume=3))
        put(store, sample("old", -50, volume=4), sample("a", 15, volume=5))
        found = store.latest(NOW_US)
        ids = store.intern([sample("a"), sample("b")]).tolist()
        rows = zip(found.series_id.tolist(), found.timestamp_us.tolist(), found.volume, strict=True)
        assert sorted(rows) == [
            (ids[0], NOW_US + 20 * S, 2),
            (ids[1], NOW_US + 5 * S, 3),
        ]


class TestStatistics:
    def test_the_numbers_of_one_period(self, store):
        put(store, *[sample(at_s=at, volume=at) for at in (20, 40, 60)])
        [one] = store.statistics(Selection("cpu_util", "p1"), period_s=60)
        assert (one.period_start_us, one.period_end_us) == (NOW_US, NOW_US + 60 * S)
        assert (one.duration_start_us, one.duration_end_us) == (NOW_US + 20 * S, NOW_US + 60 * S)
        assert (one.count, one.minimum, one.maximum, one.total) == (3, 20, 60, 120)
        assert (one.average, one.last) == (40, 60)
        assert one.stddev == pytest.approx((800 / 3) ** 0.5)  # of the population
        assert (one.unit, one.group) == ("%", {})

    def test_a_sample_on_the_boundary_belongs_to_the_period_before(self, store):
        put(store, *[sample(at_s=at, volume=at) for at in (59, 60, 61, 120, 121)])
        found = store.statistics(Selection("cpu_util", "p1"), period_s=60)
        assert [(one.period_start_us - NOW_US) // S for one in found] == [0, 60, 120]
        assert [one.total for one in found] == [119, 181, 121]

    def test_empty_periods_are_left_out(self, store):
        put(store, sample(at_s=10), sample(at_s=1000))
        found = store.statistics(Selection("cpu_util", "p1"), period_s=60)
        assert [(one.period_start_us - NOW_US) // S for one in found] == [0, 960]

    def test_without_a_period_there_is_one_over_all_samples(self, store):
        put(store, *[sample(at_s=at, volume=at) for at in (-5000, 10, 70)])
        [one] = store.statistics(Selection("cpu_util", "p1"))
        assert one.count == 3
        assert (one.period_start_us, one.period_end_us) == (NOW_US - 5000 * S, NOW_US + 70 * S)

    def test_the_span_is_left_open_and_right_closed(self, store):
        put(store, *[sample(at_s=at, volume=at) for at in (10, 20, 30, 40)])
        span = Selection("cpu_util", "p1", (), NOW_US + 10 * S, NOW_US + 30 * S)
        [one] = store.statistics(span)
        assert (one.count, one.total) == (2, 50)

    def test_groups(self, store):
        put(
            store,
            sample("a", 10, volume=1, metadata=web()),
            sample("b", 20, volume=3, metadata=web()),
            sample("c", 30, volume=9, metadata=web("db")),
            sample("d", 40, volume=5),
        )
        found = store.statistics(
            Selection("cpu_util", "p1"), period_s=60, group_by=["metadata.metering.server_group"]
        )
        field = "metadata.metering.server_group"
        assert [(one.group, one.average, one.last) for one in found] == [
            ({field: None}, 5, 5),
            ({field: "db"}, 9, 9),
            ({field: "web"}, 2, 3),
        ]

    def test_several_group_fields(self, store):
        put(store, sample("a", 10), sample("b", 10), sample("a", 10, project_id="p2"))
        found = store.statistics(
            Selection("cpu_util", None), group_by=["project_id", "resource_id"]
        )
        assert [tuple(one.group.values()) for one in found] == [
            ("p1", "a"),
            ("p1", "b"),
            ("p2", "a"),
        ]

    def test_another_project_is_not_seen(self, store):
        put(store, sample("a", project_id="p2"))
        assert store.statistics(Selection("cpu_util", "p1")) == []

    def test_of_no_samples_there_are_none(self, store):
        store.intern([sample()])
        assert list(store.statistics(Selection("cpu_util", "p1"), period_s=60)) == []
        assert list(store.statistics(Selection("no such meter", "p1"))) == []

    def test_an_unknown_group_field_is_refused(self, store):
        with pytest.raises(InvalidSelection, match=r"groupby: 'flavour' is unknown"):
            store.statistics(Selection("cpu_util", "p1"), group_by=["flavour"])

    @pytest.mark.parametrize("period_s", [0, -60])
    def test_a_period_without_length_is_refused(self, store, period_s):
        with pytest.raises(InvalidSelection, match="period: must be at least 1 second"):
            store.statistics(Selection("cpu_util", "p1"), period_s=period_s)

    def test_standard_deviation_survives_a_large_base(self, store):
        put(store, *[sample(at_s=at, volume=1e9 + at % 2) for at in range(1, 11)])
        [one] = store.statistics(Selection("cpu_util", "p1"))
        assert one.stddev == pytest.approx(0.5)


class TestReadiness:
    def test_an_open_store_is_ready(self, store):
        assert store.check() is None


points = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(-7300, 300),
        st.floats(-1e6, 1e6, allow_subnormal=False),
    ),
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(points, min_size=1, max_size=4),
    period_s=st.sampled_from([None, 1, 60, 3600]),
    span=st.none() | st.tuples(st.integers(-7300, 0), st.integers(0, 300)),
    grouped=st.booleans(),
)
def test_the_embedded_store_agrees_with_the_one_in_memory(
    tmp_path_factory, batches, period_s, span, grouped
):
    under_test = embedded(tmp_path_factory.mktemp("samples"))
    stores = [under_test, MemoryStore()]
    try:
        for batch in batches:
            samples = [sample(name, at, volume) for name, at, volume in batch]
            new = [put(store, *samples).timestamp_us.tolist() for store in stores]
            assert new[0] == new[1]
        start_us, end_us = (NOW_US + bound * S for bound in span) if span else (None, None)
        group_by = ["resource_id"] if grouped else []
        found, expected = (
            store.statistics(
                Selection("cpu_util", "p1", (), start_us, end_us),
                period_s=period_s,
                group_by=group_by,
            )
            for store in stores
        )
        assert [exact(one) for one in found] == [exact(one) for one in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.total == pytest.approx(other.total, rel=1e-9, abs=1e-6)
            assert one.average == pytest.approx(other.average, rel=1e-9, abs=1e-6)
            assert one.stddev == pytest.approx(other.stddev, rel=1e-6, abs=1e-6)
    finally:
        under_test.close()


def exact(one):
    return (
        one.period_start_us,
        one.period_end_us,
        one.duration_start_us,
        one.duration_end_us,
        one.count,
        one.minimum,
        one.maximum,
        one.last,
        one.group,
    )
