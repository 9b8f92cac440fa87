# SPDX-License-Identifier: Apache-2.0
"""The Gnocchi driver against a real Gnocchi."""

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from oslo_config import cfg

from tests.service.broken import broken
from tests.service.gnocchi import Gnocchi
from thermostat.alarms.outside import (
    GnocchiMetricsRule,
    GnocchiResourceGroupRule,
    GnocchiResourcesRule,
    OutsideRule,
)
from thermostat.outside.base import Answer, InvalidOutsideRule, OutsideUnavailable, Question
from thermostat.outside.drivers.gnocchi import GROUP, GnocchiStore, register_options

pytestmark = pytest.mark.lab

NOW_S = int(time.time()) // 60 * 60
NOW_US = (NOW_S + 5) * 1_000_000
"""Five seconds after the current period began."""
COMMON: dict[str, Any] = {"threshold": 1, "comparison_operator": "gt"}
FULL_NS = 60e9
"""What a busy virtual CPU's counter grows by in a period."""


def connected(url: str, **options: object) -> GnocchiStore:
    conf = cfg.ConfigOpts()
    register_options(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    chosen = {"enabled": True, "endpoint_override": url, "auth_type": "none", **options}
    for name, value in chosen.items():
        conf.set_override(name, value, group=GROUP.name)
    return GnocchiStore(conf)


@pytest.fixture(scope="module")
def server(gnocchi_server: Gnocchi) -> Gnocchi:
    gnocchi_server.create_policy("whole", ("mean", "max", "sum", "count", "rate:mean"))
    gnocchi_server.create_policy("plain", ("mean",))
    gnocchi_server.create_policy("coarse", ("mean",), 300)
    return gnocchi_server


@pytest.fixture(scope="module")
def store(server: Gnocchi) -> GnocchiStore:
    return connected(server.url)


@pytest.fixture
def project() -> str:
    return uuid.uuid4().hex


def new_id() -> str:
    return str(uuid.uuid4())


def ramp(first: float, slope: float = 1.0, periods: int = 6) -> list[tuple[float, float]]:
    """One measure in each period, the last one in the current."""
    return [(NOW_S - 60 * (periods - 1 - k), first + slope * k) for k in range(periods)]


def of_resource(resource_id: str, method: str = "mean", periods: int = 3, **more: Any):
    fields = {"metric": "cpu", "resource_type": "generic", **COMMON, **more}
    return GnocchiResourcesRule(
        resource_id=resource_id, aggregation_method=method, evaluation_periods=periods, **fields
    )


def of_metrics(metrics: Sequence[str], method: str = "mean", periods: int = 3, **more: Any):
    return GnocchiMetricsRule(
        metrics=tuple(metrics),
        aggregation_method=method,
        evaluation_periods=periods,
        **COMMON,
        **more,
    )


def of_group(query: Any, method: str = "mean", periods: int = 3, **more: Any):
    fields = {"metric": "cpu", "resource_type": "generic", **COMMON, **more}
    return GnocchiResourceGroupRule(
        query=json.dumps(query), aggregation_method=method, evaluation_periods=periods, **fields
    )


def answers(store: GnocchiStore, project: str, *rules: OutsideRule) -> list[Answer]:
    return list(store.ask([Question(rule, project) for rule in rules], NOW_US))


def values(store: GnocchiStore, project: str, rule: OutsideRule) -> tuple[float | None, ...]:
    [answer] = answers(store, project, rule)
    assert answer.reason is None, answer.reason
    return answer.values


class TestRates:
    @pytest.mark.parametrize("policy", ["whole", "plain"])
    def test_a_member_that_joins_does_not_bend_the_group(self, server, store, project, policy):
        """Aodh takes the difference of the means: `[90, 90, -5045, 90, 90]` % of a group at 90."""
        old, new = new_id(), new_id()
        metrics = [
            server.create_resource(one, {"cpu": policy}, project=project)["cpu"]
            for one in (old, new)
        ]
        busy = 0.9 * FULL_NS
        server.push({metrics[0]: ramp(1e15, busy, periods=7), metrics[1]: ramp(0, busy, periods=3)})
        group = {"=": {"project_id": project}}
        expected = (busy,) * 4
        assert values(store, project, of_group(group, "rate:mean", 4)) == pytest.approx(expected)
        listed = of_metrics(metrics, "rate:mean", 4)
        assert values(store, project, listed) == pytest.approx(expected)
        alone = of_resource(old, "rate:mean", 4)
        assert values(store, project, alone) == pytest.approx(expected)
        # What Aodh asks Gnocchi for is the trap.
        body = {
            "operations": ["aggregate", "rate:mean", ["metric", "cpu", "mean"]],
            "resource_type": "generic",
            "search": group,
        }
        asked = server.ask(
            "POST", "aggregates", body, granularity=60, start=NOW_S - 300, needed_overlap=0
        )
        assert min(value for _, _, value in asked["measures"]["aggregated"]) < -1e14

    def test_a_period_without_a_measure_makes_no_rate(self, server, store, project):
        metric = server.create_resource(new_id(), {"cpu": "plain"}, project=project)["cpu"]
        server.push({metric: [one for one in ramp(0, 60, 7) if one[0] != NOW_S - 120]})
        assert values(store, project, of_metrics([metric], "rate:mean")) == (60.0, 60.0, 60.0)


class TestWindows:
    def test_the_period_that_is_not_over_counts_except_in_sums(self, server, store, project):
        resource = new_id()
        metric = server.create_resource(resource, {"cpu": "whole"}, project=project)["cpu"]
        server.push({metric: ramp(10)})
        group = {"=": {"id": resource}}
        for rule_of in (
            lambda method: of_resource(resource, method),
            lambda method: of_metrics([metric], method),
            lambda method: of_group(group, method),
        ):
            assert values(store, project, rule_of("mean")) == (13.0, 14.0, 15.0)
            assert values(store, project, rule_of("sum")) == (12.0, 13.0, 14.0)
        assert values(store, project, of_resource(resource, "count")) == (1.0, 1.0, 1.0)
        assert values(store, project, of_group(group, "count")) == (1.0, 1.0, 1.0)

    def test_the_newest_n_of_one_period_more(self, server, store, project):
        """As in Aodh: a measure that comes a little late costs no datapoint."""
        resource = new_id()
        metric = server.create_resource(resource, {"cpu": "whole"}, project=project)["cpu"]
        server.push({metric: [one for one in ramp(10) if one[0] != NOW_S - 60]})
        assert values(store, project, of_resource(resource)) == (12.0, 13.0, 15.0)
        assert values(store, project, of_resource(resource, periods=6)) == (
            *(None, 10.0, 11.0),
            *(12.0, 13.0, 15.0),
        )

    def test_members_that_do_not_overlap(self, server, store, project):
        metrics = [
            server.create_resource(new_id(), {"cpu": "whole"}, project=project)["cpu"]
            for _ in range(2)
        ]
        points = ramp(10)
        server.push({metrics[0]: points[:3], metrics[1]: points[3:]})
        group = of_group({"=": {"project_id": project}}, periods=5)
        assert values(store, project, group) == (11.0, 12.0, 13.0, 14.0, 15.0)
        assert values(store, project, of_metrics(metrics, periods=5)) == (
            *(11.0, 12.0, 13.0),
            *(14.0, 15.0),
        )


class TestRefusals:
    def test_each_costs_its_own_alarm_only(self, server, store, project):
        good, coarse = new_id(), new_id()
        metric = server.create_resource(good, {"cpu": "whole"}, project=project)["cpu"]
        other = server.create_resource(coarse, {"cpu": "coarse"}, project=project)["cpu"]
        server.push({metric: ramp(1)})
        missing = new_id()
        cases = [
            (of_resource(good, metric="nope"), f"metric nope of resource {good} does not exist"),
            (of_resource(missing), f"resource {missing} does not exist"),
            (of_resource(good, resource_type="nosuch"), "Resource type nosuch does not exist"),
            (of_resource(coarse), "the archive policy coarse of the metric has no granularity of"),
            (of_resource(good, granularity=7), "has no granularity of 7 s; it has 60"),
            (of_resource(good, "99pct"), "does not have 99pct; it has count, max, mean"),
            (of_metrics([metric, missing]), f"metric {missing} does not exist"),
            (of_metrics([metric, "x"]), "metric x does not exist"),
            (of_metrics([metric, other]), "the archive policy coarse of the metric has no"),
            (of_metrics([metric], "last"), "last cannot be taken over several metrics"),
            (of_group({"=": {"nosuch": 1}}), "has no nosuch attribute"),
            (of_group({"=": {"project_id": project}}), "Granularities are missing"),
            (of_group({"=": {"id": missing}}), "does not exist"),
            (of_group({"=": {"id": good}}, "99pct"), "cannot be taken over several metrics"),
        ]
        rules = [rule for refused, _ in cases for rule in (refused, of_resource(good))]
        found = answers(store, project, *rules)
        for (_, reason), refused, kept in zip(cases, found[::2], found[1::2], strict=True):
            assert reason in str(refused.reason)
            assert refused.values == (None,) * 3
            assert kept == Answer((4.0, 5.0, 6.0))

    def test_a_metric_that_was_made_anew_is_found_at_once(self, server, store, project):
        resource = new_id()
        metric = server.create_resource(resource, {"cpu": "whole"}, project=project)["cpu"]
        server.push({metric: ramp(1)})
        assert values(store, project, of_resource(resource)) == (4.0, 5.0, 6.0)
        server.ask("DELETE", f"metric/{metric}")
        [answer] = answers(store, project, of_resource(resource))
        assert answer.reason == f"metric cpu of resource {resource} does not exist"
        body = {"metrics": {"cpu": {"archive_policy_name": "whole"}}}
        changed = server.ask("PATCH", f"resource/generic/{resource}", body)
        server.push({changed["metrics"]["cpu"]: ramp(11)})
        assert values(store, project, of_resource(resource)) == (14.0, 15.0, 16.0)

    def test_ids_that_are_no_uuids(self, server, store, project):
        resource = f"{new_id()}-vda"
        metric = server.create_resource(resource, {"cpu": "whole"}, project=project)["cpu"]
        server.push({metric: ramp(1)})
        assert values(store, project, of_resource(resource)) == (4.0, 5.0, 6.0)
        assert values(store, project, of_metrics([metric.upper().replace("-", "")])) == (
            *(4.0, 5.0),
            6.0,
        )


class TestProjects:
    def test_a_project_sees_what_it_made_and_what_was_made_for_it(self, server, store, project):
        other = uuid.uuid4().hex
        seen, polluting, own, foreign = (new_id() for _ in range(4))
        made = {
            one: server.create_resource(one, {"cpu": "whole"}, project=owner, creator=creator)
            for one, owner, creator in (
                (seen, project, "service"),
                (polluting, project, other),
                (own, "", project),
                (foreign, other, "service"),
            )
        }
        server.push({made[one]["cpu"]: ramp(10 * at) for at, one in enumerate(made)})
        everything = {"!=": {"id": new_id()}}
        wide = {"or": [everything, {"=": {"project_id": other}}]}
        assert values(store, project, of_group(wide, "max", 1)) == (25.0,)
        assert values(store, project, of_group({}, "max", 1)) == (25.0,)
        for one, value in ((seen, 5.0), (own, 25.0)):
            assert values(store, project, of_resource(one, periods=1)) == (value,)
            assert values(store, project, of_metrics([made[one]["cpu"]], periods=1)) == (value,)
        for one in (polluting, foreign):
            [answer] = answers(store, project, of_resource(one))
            assert answer.reason == f"resource {one} does not exist"
            metric = made[one]["cpu"]
            [answer] = answers(store, project, of_metrics([metric]))
            assert answer.reason == f"metric {metric} does not exist"
            [answer] = answers(store, project, of_metrics([metric], granularity=7))
            assert answer.reason == f"metric {metric} does not exist"

    def test_without_scoping_all_is_seen(self, server, project):
        resource = new_id()
        metric = server.create_resource(resource, {"cpu": "whole"}, project="x")["cpu"]
        server.push({metric: ramp(1)})
        store = connected(server.url, scope_to_project=False)
        group = of_group({"=": {"id": resource}}, periods=1)
        for rule in (of_resource(resource, periods=1), of_metrics([metric], periods=1), group):
            assert values(store, project, rule) == (6.0,)


class TestRequests:
    def test_rules_of_one_shape_share_them(self, server, store, project, monkeypatch):
        resources = [new_id() for _ in range(5)]
        metrics = {
            one: server.create_resource(one, {"cpu": "whole"}, project=project)["cpu"]
            for one in resources
        }
        server.push({metric: ramp(1) for metric in metrics.values()})
        asked: list[str] = []
        real = store._api.ask
        monkeypatch.setattr(
            store._api, "ask", lambda *args, **more: asked.append(args[1]) or real(*args, **more)
        )
        rules = [
            rule
            for number in range(200)
            for rule in (
                of_resource(resources[number % 5], ("mean", "max")[number % 2]),
                of_metrics([metrics[resources[number % 5]]] * 2, "rate:mean"),
                of_group({"in": {"id": resources}}),
            )
        ]
        for answer in answers(store, project, *rules):
            assert answer.reason is None
            assert None not in answer.values
        assert sorted(asked) == ["aggregates", "aggregates", "search/resource/generic"]
        asked.clear()
        answers(store, project, *rules)
        assert asked == ["aggregates", "aggregates"]  # metrics, and the group


class TestChecks:
    def test_what_may_come_is_no_error(self, server, store, project):
        foreign = new_id()
        server.create_resource(foreign, {"cpu": "coarse"}, project="x")
        for rule in (
            of_resource(new_id()),
            of_resource(foreign),
            of_resource(foreign, resource_type="nosuch"),
            of_metrics([new_id()]),
            of_group({"=": {"id": new_id()}}),
            of_group({"=": {"project_id": "x"}}, metric="nope"),
        ):
            store.check_rule(rule, project)

    def test_what_can_never_be(self, server, store, project):
        coarse = new_id()
        server.create_resource(coarse, {"cpu": "coarse"}, project=project)
        for rule, field in (
            (of_resource(coarse), "granularity"),
            (of_resource(coarse, "99pct", granularity=300), "aggregation_method"),
            (of_metrics([new_id(), "x"]), "metrics[1]"),
            (of_metrics([new_id()], "last"), "aggregation_method"),
            (of_group({}, "99pct"), "aggregation_method"),
            (of_group({"=": {"nosuch": 1}}), "query"),
            (of_group({"<": {"started_at": "x"}}), "query"),
            (of_group({}, resource_type="nosuch"), "resource_type"),
        ):
            with pytest.raises(InvalidOutsideRule) as caught:
                store.check_rule(rule, project)
            assert caught.value.field == field

    def test_gnocchi_is_away(self, project):
        store = connected("http://127.0.0.1:9")
        for rule in (of_resource(new_id()), of_group({})):
            with pytest.raises(OutsideUnavailable):
                store.check_rule(rule, project)

    def test_while_it_hangs_nobody_waits_twice(self, project):
        with broken(200, b"{}", delay_s=30) as url:
            store = connected(url, query_timeout=2)
            for longest_s in (20, 1.9):
                began = time.monotonic()
                with pytest.raises(OutsideUnavailable, match="in time"):
                    store.check_rule(of_resource(new_id()), project)
                assert time.monotonic() - began < longest_s


class TestUnavailable:
    @pytest.mark.parametrize(
        ("status", "body"), [(500, b"oops"), (200, b"<html>"), (404, b"{}"), (401, b"")]
    )
    def test_it_answers_what_makes_no_sense(self, status, body, project):
        with broken(status, body) as url, pytest.raises(OutsideUnavailable):
            answers(connected(url), project, of_resource(new_id()), of_group({}))

    def test_what_nobody_is_asked_does_not_hide_it(self, project):
        with pytest.raises(OutsideUnavailable):
            answers(
                connected("http://127.0.0.1:9"),
                project,
                of_metrics(["x"]),
                of_metrics([new_id()], "last"),
                of_group({}, "last"),
                of_resource(new_id()),
            )

    def test_it_hangs(self, project):
        with broken(200, b"{}", delay_s=30) as url:
            began = time.monotonic()
            with pytest.raises(OutsideUnavailable, match="in time"):
                answers(connected(url, query_timeout=0.2), project, of_resource(new_id()))
            assert time.monotonic() - began < 20

    def test_unless_it_is_enabled_it_answers_nothing(self):
        assert connected("http://127.0.0.1:9", enabled=False).types == frozenset()
