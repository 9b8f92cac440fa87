# SPDX-License-Identifier: Apache-2.0
"""How many alarms a second a real Prometheus is asked for: of one shape, and of as many projects.

Wall time of our driver and of Prometheus together, on the same cores.
"""

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from oslo_config import cfg

from bench._processes import BenchError
from tests.service import prometheus
from thermostat.alarms.outside import PrometheusRule
from thermostat.alarms.query import Operator
from thermostat.outside.base import Question
from thermostat.outside.drivers.prometheus import GROUP, OPTS, PrometheusStore

ALARMS = 1_000
ROUNDS = 5
PERIODS = 5


def run() -> Iterator[dict[str, Any]]:
    """Yield alarms a second that share one request, and that need a request each."""
    now_s = int(time.time())
    series = {
        f'cpu_util{{project="p{number}"}}': [(now_s - 60 * age, 50.0) for age in range(8, -1, -1)]
        for number in range(ALARMS)
    }
    with prometheus.serving(series) as url:
        conf = cfg.ConfigOpts()
        conf.register_opts(OPTS, group=GROUP.name)
        conf([], default_config_files=[], default_config_dirs=[])
        conf.set_override("endpoint", url, group=GROUP.name)
        store = PrometheusStore(conf)
        for name, projects in (("prometheus_poll", 1), ("prometheus_poll_distinct", ALARMS)):
            questions = [
                Question(_rule(number), f"p{number % projects}") for number in range(ALARMS)
            ]
            seconds = _seconds(store, questions)
            yield {"name": name, "value": round(ALARMS / seconds), "unit": "alarms/s"}


def _rule(number: int) -> PrometheusRule:
    return PrometheusRule(
        query="avg_over_time(cpu_util[5m])",
        threshold=number,
        comparison_operator=Operator.GT,
        evaluation_periods=PERIODS,
    )


def _seconds(store: PrometheusStore, questions: Sequence[Question]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answers = store.ask(questions, time.time_ns() // 1_000)
        rounds.append(time.perf_counter() - began)
        if any(answer.values[-1] is None for answer in answers):
            raise BenchError(f"Prometheus has not all datapoints: {answers[0]}")
    return median(rounds[1:])
