# SPDX-License-Identifier: Apache-2.0
"""Alarms over a real Gnocchi, which asks a real Keystone who asks, and over a real Prometheus."""

import time
import uuid
from collections.abc import Iterator

import pytest
import requests
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session
from oslo_config import cfg

from tests.service import gnocchi, prometheus
from tests.service.lab.parts import ServerProcess, own_user, write_config
from thermostat import trusts
from thermostat.outside.drivers._gnocchi_api import GnocchiApi
from thermostat.outside.drivers._together import Deadline
from thermostat.outside.drivers.gnocchi import GROUP, register_options

pytestmark = pytest.mark.lab

GRANULARITY_S = 10
LIMIT_S = 30
THRESHOLD = {"threshold": 50, "comparison_operator": "gt", "granularity": GRANULARITY_S}


@pytest.fixture(scope="module")
def project(lab) -> str:
    return str(lab.cloud("demo").current_project_id)


@pytest.fixture(scope="module")
def metrics(lab) -> Iterator[gnocchi.Gnocchi]:
    """A Gnocchi that takes nobody's word: only Keystone's."""
    own = own_user(lab)
    with gnocchi.serving({**own, "www_authenticate_uri": lab.layout.auth_url}) as server:
        own.pop("auth_type")
        server.token = Password(**own).get_token(Session())
        server.create_policy("fine", ("mean", "rate:mean"), GRANULARITY_S)
        yield server


@pytest.fixture(scope="module")
def server(lab, metrics, project, tmp_path_factory) -> Iterator[ServerProcess]:
    now_s = int(time.time())
    busy = [(now_s - 10 * age, 90.0) for age in range(30, -1, -1)]
    series = {f'load{{project="{project}"}}': busy, 'load{project="other"}': busy}
    with prometheus.serving(series) as url:
        made = ServerProcess(
            lab,
            tmp_path_factory.mktemp("stores"),
            gnocchi={"enabled": "true", "endpoint_override": metrics.url},
            prometheus={"endpoint": url},
        )
        made.start()
        try:
            yield made
        finally:
            made.stop()


class Alarms:
    """The alarms of one user."""

    def __init__(self, server: ServerProcess, token: str) -> None:
        self._url = f"{server.url}/v2/alarms"
        self._headers = {"X-Auth-Token": token}

    def create(self, kind: str, rule: dict) -> requests.Response:
        body = {"name": kind, "type": kind, f"{kind}_rule": rule}
        return requests.post(self._url, json=body, headers=self._headers, timeout=30)

    def judged(self, kind: str, rule: dict) -> tuple[str, str]:
        """Give the state and the reason that a new alarm comes to."""
        created = self.create(kind, rule)
        assert created.status_code == 201, created.text
        deadline = time.monotonic() + LIMIT_S
        while True:
            path = f"{self._url}/{created.json()['alarm_id']}"
            shown = requests.get(path, headers=self._headers, timeout=30).json()
            if shown["state_reason"] != created.json()["state_reason"]:
                return shown["state"], shown["state_reason"]
            assert time.monotonic() < deadline, shown
            time.sleep(0.2)


def test_each_project_sees_its_own(lab, metrics, server, project):
    mine, other = str(uuid.uuid4()), str(uuid.uuid4())
    ids = {
        one: metrics.create_resource(one, {"load": "fine"}, project=owner)["load"]
        for one, owner in ((mine, project), (other, uuid.uuid4().hex))
    }
    now_s = int(time.time())
    metrics.push({ids[one]: [(now_s - 10 * age, 90) for age in range(6)] for one in ids})
    alarms = Alarms(server, lab.cloud("demo").auth_token)
    measured = {"metric": "load", "resource_type": "generic", "aggregation_method": "mean"}
    single = {**THRESHOLD, **measured, "resource_id": mine}
    group = {**THRESHOLD, **measured, "query": '{"like": {"project_id": "%"}}'}
    several = {**THRESHOLD, "metrics": [ids[mine]], "aggregation_method": "mean"}
    promql = {**THRESHOLD, "query": "count(load) * 60"}
    for kind, rule in (
        ("gnocchi_resources_threshold", single),
        ("gnocchi_aggregation_by_metrics_threshold", several),
        ("gnocchi_aggregation_by_resources_threshold", group),
        ("prometheus", promql),
    ):
        assert alarms.judged(kind, rule)[0] == "alarm"
    parts = [
        {"type": "gnocchi_resources_threshold", **single},
        {"type": "prometheus", **promql},
    ]
    assert alarms.judged("composite", {"and": parts})[0] == "alarm"
    state, reason = alarms.judged("gnocchi_resources_threshold", {**single, "resource_id": other})
    assert state == "insufficient data"
    assert f"resource {other} does not exist" in reason
    # One series is seen, not two.
    assert alarms.judged("prometheus", {**promql, "threshold": 61})[0] == "ok"


def test_the_agents_project_is_found_by_its_name(lab, project, tmp_path):
    conf = cfg.ConfigOpts()
    register_options(conf)
    write_config(tmp_path / "conf", {trusts.GROUP: own_user(lab)})
    conf([], default_config_files=[str(tmp_path / "conf")])
    api = GnocchiApi(conf, GROUP.name, timeout_s=30, max_bytes=1 << 20)
    identity = lab.cloud("admin").identity
    for name, found in (
        ("service", identity.find_project("service").id),  # the user's own
        (identity.get_project(project).name, project),
        ("nosuch", None),
    ):
        assert api.project_named(name, "Default", Deadline(30)) == found


def test_gnocchi_is_asked_what_a_rule_needs(lab, metrics, server, project):
    resource = str(uuid.uuid4())
    metrics.create_resource(resource, {"load": "fine"}, project=project)
    alarms = Alarms(server, lab.cloud("demo").auth_token)
    rule = {
        **THRESHOLD,
        "metric": "load",
        "resource_type": "generic",
        "resource_id": resource,
        "aggregation_method": "mean",
        "granularity": 60,
    }
    refused = alarms.create("gnocchi_resources_threshold", rule)
    assert refused.status_code == 400
    assert "gnocchi_resources_threshold_rule.granularity" in refused.text
    assert "has no granularity of 60 s; it has 10" in refused.text
