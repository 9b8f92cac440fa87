# SPDX-License-Identifier: Apache-2.0
"""Alarms over a real Prometheus that scrapes the very server which judges them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench._processes import free_port, running, wait_for
from tests.service.identity import PROJECT
from tests.service.served import Deployment, wait_until

RULE = {
    "query": "thermostat_alarms_resident",
    "granularity": 1,
    "comparison_operator": "gt",
    "threshold": 3,
}


class Prometheus:
    """Scrapes a server each second, and keeps its port and its data from one life to the next."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()
        self.port = free_port()
        self._life = contextlib.ExitStack()

    def start(self, target: str) -> None:
        configuration = self.directory / "prometheus.yml"
        configuration.write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            "- job_name: thermostat\n"
            f"  static_configs: [{{targets: ['{target}'], labels: {{project: {PROJECT}}}}}]\n"
        )
        command = (
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        log = self.directory / "log"
        process = self._life.enter_context(running(log, *command))
        wait_for(f"http://127.0.0.1:{self.port}/-/ready", process, log)

    def stop(self) -> None:
        self._life.close()


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    one = Prometheus(tmp_path / "prometheus")
    yield one
    one.stop()


@pytest.fixture
def deployment(tmp_path: Path, prometheus: Prometheus) -> Iterator[Deployment]:
    endpoint = f"http://127.0.0.1:{prometheus.port}"
    one = Deployment(tmp_path, f"[prometheus]\nendpoint = {endpoint}\n")
    prometheus.start(one.server.address)
    yield one
    one.stop()


def test_an_alarm_follows_what_prometheus_has_and_tells_when_it_is_gone(deployment, prometheus):
    alarm = deployment.create("prometheus", RULE)
    patient = deployment.create("prometheus", {**RULE, "for": 2})
    elsewhere = deployment.create("prometheus", {**RULE, "query": 'x{project="other"}'})
    wait_until(lambda: deployment.state(alarm) == "ok", 20)
    others = [deployment.create("prometheus", {**RULE, "query": "up"}) for _ in range(2)]
    wait_until(lambda: deployment.state(alarm) == "alarm", 20)
    assert deployment.state(patient) == "ok"
    assert deployment.state(elsewhere) == "insufficient data"
    reason = deployment.call("GET", f"/v2/alarms/{alarm}")["state_reason"]
    assert reason == (
        "Transition to alarm due to 1 samples outside threshold, most recent: 5 "
        "(thermostat_alarms_resident > 3: 5)"
    )
    wait_until(lambda: deployment.state(patient) == "alarm", 20)
    threshold = deployment.create(
        "composite",
        {"and": [{"type": "prometheus", **RULE}, {"type": "alarm", "alarm_id": patient}]},
    )
    wait_until(lambda: deployment.state(threshold) == "alarm", 20)

    prometheus.stop()
    wait_until(lambda: deployment.state(alarm) == "insufficient data", 20)
    wait_until(lambda: deployment.state(threshold) == "insufficient data", 20)
    assert "cannot be connected to" in deployment.call("GET", f"/v2/alarms/{alarm}")["state_reason"]
    prometheus.start(deployment.server.address)
    wait_until(lambda: deployment.state(alarm) == "alarm", 30)
    for one in others:
        deployment.call("DELETE", f"/v2/alarms/{one}")
    deployment.call("DELETE", f"/v2/alarms/{threshold}")
    wait_until(lambda: deployment.state(alarm) == "ok", 20)
