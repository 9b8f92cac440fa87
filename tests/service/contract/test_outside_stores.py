# SPDX-License-Identifier: Apache-2.0
"""What every outside store does, whichever it is: a driver is ready when it passes here.

Each comes with a rig that has three datapoints of a project, none of another, and a way to a store
that is not there. Those of Prometheus and Gnocchi are real.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from oslo_config import cfg

from tests.service import gnocchi, prometheus
from thermostat.alarms.outside import (
    GnocchiMetricsRule,
    GnocchiResourceGroupRule,
    GnocchiResourcesRule,
    OutsideRule,
    PrometheusRule,
)
from thermostat.outside.base import Answer, OutsideStore, OutsideUnavailable, Question
from thermostat.outside.drivers.gnocchi import GnocchiStore
from thermostat.outside.drivers.prometheus import PrometheusStore
from thermostat.outside.fake import FakeOutsideStore

NOW_S = int(time.time()) // 60 * 60 - 60
NOW_US = NOW_S * 1_000_000
MINE, OTHERS = "mine", "others"
VALUES = (1.0, 2.0, 3.0)
NOWHERE = "http://user:passw0rd@127.0.0.1:9"
SECRETS = ("passw0rd", "s3cret")
COMMON: dict[str, Any] = {"threshold": 2, "comparison_operator": "gt", "evaluation_periods": 3}


@dataclass(frozen=True)
class Rig:
    store: OutsideStore
    rules: tuple[OutsideRule, ...]
    """Each asks for VALUES."""
    refused: OutsideRule
    away: Callable[[], OutsideStore]


def configured(make: Callable[[cfg.ConfigOpts], OutsideStore], group: str, **options: object):
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    make(conf)  # it registers its options
    for name, value in options.items():
        conf.set_override(name, value, group=group)
    return make(conf)


@pytest.fixture(scope="module")
def fake_rig() -> Rig:
    def answer(question: Question, _now_us: int) -> Answer:
        if question.rule is refused:
            return Answer((None,) * 3, "it is refused")
        return Answer(VALUES if question.project_id == MINE else (None,) * 3)

    store, away = FakeOutsideStore(), FakeOutsideStore()
    store.answer = answer
    away.unavailable = "it is away"
    rule = PrometheusRule(query="up", **COMMON)
    refused = PrometheusRule(query="down", **COMMON)
    return Rig(store, (rule,), refused, lambda: away)


@pytest.fixture(scope="module")
def prometheus_rig() -> Iterator[Rig]:
    ramp = [(NOW_S - 60 * age, value) for age, value in ((2, 1), (1, 2), (0, 3))]
    with prometheus.serving({f'load{{project="{MINE}"}}': ramp}) as url:
        made = partial(configured, PrometheusStore, "prometheus", bearer_token="s3cret")
        rule = PrometheusRule(query="load", **COMMON)
        yield Rig(
            made(endpoint=url),
            (rule, replace(rule, query="sum(load)"), replace(rule, query="load + 0")),
            replace(rule, query="load * on () group_left () load * on (x) (load or vector(1))"),
            lambda: made(endpoint=NOWHERE),
        )


@pytest.fixture(scope="module")
def gnocchi_rig(gnocchi_server: gnocchi.Gnocchi) -> Rig:
    gnocchi_server.create_policy("contract", ("mean", "max"))
    resource_id = "3c9bbd8e-5c1b-4a0f-8f0e-1a3f5d7c9b11"
    metrics = gnocchi_server.create_resource(resource_id, {"load": "contract"}, project=MINE)
    ramp = [(NOW_S - 60 * age, value) for age, value in ((2, 1), (1, 2), (0, 3))]
    gnocchi_server.push({metrics["load"]: ramp})
    made = partial(configured, GnocchiStore, "gnocchi", enabled=True, auth_type="none")
    common = {**COMMON, "aggregation_method": "mean"}
    single = GnocchiResourcesRule(
        metric="load", resource_id=resource_id, resource_type="generic", **common
    )
    several = GnocchiMetricsRule(metrics=(metrics["load"],), **common)
    group = GnocchiResourceGroupRule(
        metric="load", query='{"like": {"project_id": "m%"}}', resource_type="generic", **common
    )
    return Rig(
        made(endpoint_override=gnocchi_server.url),
        (single, several, group, replace(single, aggregation_method="max")),
        replace(single, granularity=7),
        lambda: made(endpoint_override=NOWHERE),
    )


@pytest.fixture(
    params=["fake", "prometheus", pytest.param("gnocchi", marks=pytest.mark.lab)], scope="module"
)
def rig(request: pytest.FixtureRequest) -> Rig:
    made: Rig = request.getfixturevalue(f"{request.param}_rig")
    return made


def test_each_question_has_its_answer_oldest_first(rig):
    questions = [Question(rule, MINE) for rule in rig.rules]
    assert list(rig.store.ask(questions, NOW_US)) == [Answer(VALUES)] * len(questions)


def test_nothing_asked(rig):
    assert list(rig.store.ask([], NOW_US)) == []


def test_another_project_has_nothing(rig):
    for answer in rig.store.ask([Question(rule, OTHERS) for rule in rig.rules], NOW_US):
        assert answer.values == (None,) * 3
        assert MINE not in str(answer.reason)


def test_what_is_refused_says_why_and_costs_nothing_else(rig):
    rules = (*rig.rules, rig.refused, *rig.rules)
    answers = list(rig.store.ask([Question(rule, MINE) for rule in rules], NOW_US))
    refused = answers.pop(len(rig.rules))
    assert refused.values == (None,) * 3
    assert refused.reason
    assert answers == [Answer(VALUES)] * len(answers)


def test_a_window_longer_than_what_there_is(rig):
    if isinstance(rig.store, FakeOutsideStore):
        pytest.skip("it gives what it is told to")
    rules = [replace(rule, evaluation_periods=5) for rule in rig.rules]
    for answer in rig.store.ask([Question(rule, MINE) for rule in rules], NOW_US):
        assert answer.values == (None, None, *VALUES)


def test_good_rules_pass_the_check(rig):
    for rule in rig.rules:
        rig.store.check_rule(rule, MINE)
        rig.store.check_rule(rule, OTHERS)


def test_it_answers_rules_of_its_types(rig):
    assert {rule.__struct_config__.tag for rule in rig.rules} <= rig.store.types


def test_many_threads_may_ask(rig):
    questions = [Question(rule, MINE) for rule in rig.rules]
    with ThreadPoolExecutor(8) as threads:
        for answers in threads.map(lambda _: rig.store.ask(questions, NOW_US), range(16)):
            assert list(answers) == [Answer(VALUES)] * len(questions)


def test_a_store_that_is_away(rig):
    began = time.monotonic()
    with pytest.raises(OutsideUnavailable) as caught:
        rig.away().ask([Question(rule, MINE) for rule in rig.rules], NOW_US)
    assert time.monotonic() - began < 20
    assert str(caught.value)
    assert not any(secret in str(caught.value) for secret in SECRETS)
