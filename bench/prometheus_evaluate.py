# SPDX-License-Identifier: Apache-2.0
"""How many alerting rules Prometheus evaluates a second, over as many series.

Debian's Prometheus scrapes one target with a gauge per series, and each rule compares the mean of
one series over five minutes, as the alarms of `evaluate_alarms` do. The figure is what Prometheus
itself says that a group of rules took.
"""

import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench._processes import BenchError, cpu_s, free_port, resident_bytes, running, wait_for
from bench.evaluate import judged_per_s

RULES = 10_000
INTERVAL_S = 4
"""How often the rules are evaluated, and the series scraped."""
ROUNDS = 4
LIMIT_S = 120.0
TARGET = Path(__file__).parent / "peers" / "gauges.py"


def run() -> Iterator[dict[str, Any]]:
    """Yield rules a second, wall time of Prometheus' single thread for a group of rules."""
    program = shutil.which("prometheus")
    if program is None:
        raise BenchError("Prometheus is not installed: run make bench-venv")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        rate = _rate(stack, directory, program)
    ours = judged_per_s()
    yield {
        "name": "prometheus_evaluate",
        "value": round(rate),
        "unit": "rules/s",
        "peer": f"Thermostat, {ours:.0f}/s of one core",
        "ratio": round(ours / rate),
    }


def _rate(stack: ExitStack, directory: Path, program: str) -> float:
    gauges, port = free_port(), free_port()
    target = (sys.executable, TARGET, str(gauges), str(RULES))
    log = directory / "gauges.log"
    wait_for(f"http://127.0.0.1:{gauges}", stack.enter_context(running(log, *target)), log)
    (directory / "rules.yml").write_text(_rules())
    (directory / "prometheus.yml").write_text(
        f"global: {{scrape_interval: {INTERVAL_S}s, evaluation_interval: {INTERVAL_S}s}}\n"
        f"rule_files: [{directory}/rules.yml]\n"
        "scrape_configs:\n"
        f"- {{job_name: gauges, static_configs: [{{targets: ['127.0.0.1:{gauges}']}}]}}\n"
    )
    log = directory / "prometheus.log"
    process = stack.enter_context(
        running(
            log,
            program,
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        )
    )
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/-/ready", process, log)
    durations_s = _durations(f"{url}/metrics")
    print(
        f"  prometheus: {RULES} rules in {median(durations_s):.3f} s, "
        f"{cpu_s(process.pid):.1f} s of processor in all, "
        f"{resident_bytes(process.pid) / 1e6:.0f} MB",
        file=sys.stderr,
    )
    return RULES / median(durations_s)


def _durations(metrics: str) -> list[float]:
    """Give what the group took in each of its next rounds, in seconds, but for the first one."""
    durations: list[float] = []
    deadline = time.monotonic() + LIMIT_S
    rounds = 0
    while len(durations) < ROUNDS + 1:
        if time.monotonic() > deadline:
            raise BenchError(f"Prometheus evaluated its rules {rounds} times in {LIMIT_S} s")
        time.sleep(0.2)
        text = urllib.request.urlopen(metrics, timeout=10).read().decode()
        done = int(_value(text, "prometheus_rule_group_iterations_total"))
        if done > rounds:
            rounds = done
            durations.append(_value(text, "prometheus_rule_group_last_duration_seconds"))
    return durations[1:]


def _value(text: str, metric: str) -> float:
    """Give the value of a metric that has one series; 0 until it is there."""
    lines = (line for line in text.splitlines() if line.startswith(f"{metric}{{"))
    return float(next(lines, "0 0").rpartition(" ")[2])


def _rules() -> str:
    lines = ["groups:", "- name: bench", "  rules:"]
    lines += [
        f"  - {{alert: a{number}, expr: 'avg_over_time(cpu_util{{vm=\"{number}\"}}[5m]) > 75'}}"
        for number in range(RULES)
    ]
    return "\n".join(lines) + "\n"
