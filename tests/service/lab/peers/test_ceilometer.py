# SPDX-License-Identifier: Apache-2.0
"""A real Ceilometer agent on the lab's guests, with its `http` publisher set to our server.

Both agents of Ceilometer are as they are packaged, and so is the pipeline: only the publisher's URL
is ours, as an operator would write it.
"""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import urllib3
import yaml

from tests.lab.settings import ini
from tests.service.hooks import HookServer
from tests.service.lab.parts import Servers, own_user
from tests.service.waiting import until

pytestmark = pytest.mark.lab

PROGRAM = Path(__file__).parents[3] / "lab" / "services" / "ceilometer_all_in_one.py"
INTERVAL_S = 2
PERIOD_S = 5
BUSY = 10
"""Percent of its vCPU: an idle guest takes one, and a busy one what the machine has left."""
GROUP = f"ceilometer-{uuid.uuid4().hex[:6]}"
QUERY = {"field": "metadata.user_metadata.server_group", "op": "eq", "value": GROUP}


@contextmanager
def running_ceilometer(lab, url: str, directory: Path) -> Iterator[Path]:
    """Run the agents with this publisher; give their log."""
    (directory / "polling.yaml").write_text(
        yaml.safe_dump({"sources": [{"name": "all", "interval": INTERVAL_S, "meters": ["*"]}]})
    )
    (directory / "pipeline.yaml").write_text(
        yaml.safe_dump(
            {
                "sources": [{"name": "meters", "meters": ["*"], "sinks": ["thermostat"]}],
                "sinks": [{"name": "thermostat", "publishers": [url]}],
            }
        )
    )
    configuration = directory / "ceilometer.conf"
    configuration.write_text(
        ini(
            {
                "DEFAULT": {
                    "use_stderr": "true",
                    "transport_url": "fake://",
                    "host": lab.info["compute_host"],
                    "libvirt_type": "qemu",
                    "libvirt_uri": lab.libvirt_uri,
                    "pipeline_cfg_file": directory / "pipeline.yaml",
                },
                "polling": {"cfg_file": directory / "polling.yaml"},
                "notification": {"pipelines": "meter"},
                "publisher": {"telemetry_secret": "lab"},
                "compute": {"fetch_extra_metadata": "true"},
                "service_credentials": {**own_user(lab), "interface": "internal"},
            }
        )
    )
    log = directory / "ceilometer.log"
    command = [lab.layout.venv / "bin/python", PROGRAM, configuration]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "PYTHONWARNINGS": "ignore"}
        ) as agents,
    ):
        try:
            yield log
            assert agents.poll() is None, log.read_text()[-5000:]
        finally:
            agents.terminate()
            agents.wait(30)
            print(log.read_text()[-5000:])  # shown where the test fails


@pytest.fixture(scope="module")
def guest(lab):
    """Boot a server of the group, which is busy."""
    servers = Servers(lab, GROUP)
    try:
        guest = servers.boot("ceilometer")
        lab.load(guest, on=True)
        yield guest
    finally:
        servers.delete_all()


@pytest.fixture(scope="module")
def api(lab, server):  # noqa: ARG001 - the catalogue names it
    def call(method, path, **arguments):
        return (
            lab.cloud("demo")
            .session.request(
                path, method, endpoint_filter={"service_type": "alarming"}, **arguments
            )
            .json()
        )

    return call


@pytest.fixture
def url(server, publisher):
    """Give what an operator writes into pipeline.yaml."""
    user, password = publisher
    return server.url.replace("://", f"://{user}:{password}@") + "/v1/samples?timeout=10"


@pytest.fixture
def hook():
    server = HookServer().start()
    yield server
    server.stop()


def statistics(api, meter):
    query = {f"q.{key}": value for key, value in QUERY.items()}
    return api("GET", f"/v2/meters/{meter}/statistics", params=query)


@pytest.mark.usefixtures("guest")
def test_what_a_real_agent_sends_fires_an_alarm(lab, url, api, hook, tmp_path):
    alarm = {
        "name": "busy group",
        "type": "threshold",
        "alarm_actions": [f"{hook.url}/busy"],
        "threshold_rule": {
            "meter_name": "cpu_util",
            "comparison_operator": "gt",
            "threshold": BUSY,
            "period": PERIOD_S,
            "evaluation_periods": 1,
            "query": [QUERY],
        },
    }
    alarm_id = api("POST", "/v2/alarms", json=alarm)["alarm_id"]
    with running_ceilometer(lab, url, tmp_path) as log:
        until(lambda: hook.calls, "the alarm")
        until(lambda: statistics(api, "disk.device.read.requests.rate"), "a rate of a disk")
    assert "Failed to dispatch message" not in log.read_text()
    assert api("GET", f"/v2/alarms/{alarm_id}")["state"] == "alarm"
    assert hook.calls[0].path == "/busy"
    (counter,), (share,), (memory,) = (
        statistics(api, meter) for meter in ("cpu", "cpu_util", "memory.resident")
    )
    # Ceilometer counts nanoseconds; what we make of them is the share of the one vCPU there is.
    assert (counter["unit"], share["unit"], memory["unit"]) == ("ns", "%", "MiB")
    assert counter["max"] > counter["min"] > 0
    assert BUSY < share["max"] < 130
    assert share["count"] == counter["count"] - 1  # one between each two readings
    # Its timestamps have no offset: they are UTC.
    newest = datetime.fromisoformat(counter["duration_end"]).replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - newest).total_seconds()) < 60


def test_a_wrong_password_sends_nothing(server, publisher):
    for headers in (
        urllib3.make_headers(basic_auth=f"{publisher[0]}:wrong"),
        urllib3.make_headers(basic_auth="nobody:nothing"),
        {},
    ):
        answer = urllib3.request(
            "POST",
            f"{server.url}/v1/samples",
            json=[],
            headers=headers,
            retries=False,
            timeout=60,  # by default it is 3 s
        )
        assert answer.status == 401
