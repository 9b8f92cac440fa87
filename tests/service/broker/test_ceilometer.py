# SPDX-License-Identifier: Apache-2.0
"""A real Ceilometer's events: its definitions make the traits, its publisher sends them."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.service.event_support import condition
from tests.service.waiting import wait_until

SCRIPT = Path(__file__).parent / "ceilometer_publishes.py"
LAB_VENV = Path(__file__).parents[3] / ".lab" / "venv"
PYTHON = Path(os.environ.get("THERMOSTAT_LAB_VENV", LAB_VENV)) / "bin" / "python"
NOTIFICATION = {
    "publisher_id": "compute.host1",
    "event_type": "compute.instance.update",
    "metadata": {"message_id": "m-nova", "timestamp": "2026-11-25 03:00:00.123456"},
    "ctxt": {"project_id": "p-admin", "user_id": "u-admin", "request_id": "req-1"},
    "payload": {
        "tenant_id": "p1",
        "user_id": "u1",
        "instance_id": "i1",
        "host": "host1",
        "state": "error",
        "memory_mb": 512,
        "disk_gb": 1,
        "vcpus": 1,
        "launched_at": "2026-11-25T02:00:00",
    },
}


@pytest.mark.lab
def test_its_events_are_heard(world, broker):
    world.start()
    world.create(
        "a1",
        "compute.instance.*",
        [
            condition("traits.state", "error", kind="string"),
            condition("traits.memory_mb", "256", "gt", "integer"),
            condition("traits.launched_at", "2026-11-25T02:30:00", "lt", "datetime"),
            condition("traits.service", "compute"),
        ],
    )
    world.create("a2", project_id="p-admin")
    address = broker.url.removeprefix("rabbit://")
    done = subprocess.run(
        [PYTHON, SCRIPT, f"notifier://{address}?topic={world.topics.ceilometer}"],
        input=json.dumps(NOTIFICATION),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: world.figure("events_total", source="ceilometer") == 1)
    world.wait_for_alarm()
    assert world.state("a2") == "insufficient data"
