# SPDX-License-Identifier: Apache-2.0
"""What Ceilometer and Nova really send: their own code, run by the Python that they are in."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.service.event_support import condition
from tests.service.waiting import wait_until

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent
LAB_VENV = HERE.parents[2] / ".lab" / "venv"
PYTHON = Path(os.environ.get("THERMOSTAT_LAB_VENV", LAB_VENV)) / "bin" / "python"
PAYLOAD = {
    "tenant_id": "p1",
    "user_id": "u1",
    "instance_id": "i1",
    "host": "host1",
    "state": "error",
    "memory_mb": 512,
    "disk_gb": 1,
    "vcpus": 1,
    "launched_at": "2026-11-25T02:00:00",
}
"""The fields of Nova's compute.instance.* that Ceilometer makes traits of."""
OF_AN_INSTANCE = (
    condition("traits.state", "error", kind="string"),
    condition("traits.memory_mb", "256", "gt", "integer"),
    condition("traits.launched_at", "2026-11-25T02:30:00", "lt", "datetime"),
)


def publish(program, *arguments, given):
    done = subprocess.run(
        [PYTHON, HERE / program, *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ceilometers_events_are_heard(world, broker):
    """Ceilometer's own definitions make the traits, and its publisher sends them."""
    world.start()
    world.create("a1", "compute.*", (*OF_AN_INSTANCE, condition("traits.service", "compute")))
    world.create("a2", project_id="p-admin")
    address = broker.url.removeprefix("rabbit://")
    publish(
        "ceilometer_publishes.py",
        f"notifier://{address}?topic={world.topics.ceilometer}",
        given={
            "publisher_id": "compute.host1",
            "event_type": "compute.instance.update",
            "metadata": {"message_id": "m-nova", "timestamp": "2026-11-25 03:00:00.123456"},
            "ctxt": {"project_id": "p-admin", "user_id": "u-admin", "request_id": "req-1"},
            "payload": PAYLOAD,
        },
    )
    wait_until(lambda: world.figure("events_total", source="ceilometer") == 1)
    world.wait_for_alarm("a1")
    assert world.state("a2") == "insufficient data"


def test_novas_notifications_are_heard_in_both_forms(world, broker):
    versioned = f"versioned-{world.topics.services}"
    world.options["notification_topics"] = [world.topics.services, versioned]
    world.start()
    world.create("a1", "compute.*", OF_AN_INSTANCE)
    query = (
        condition("traits.vcpus", "2", "eq", "integer"),
        condition("traits.is_public", "true", "eq", "boolean"),
        condition("traits.service", "nova-api:host1"),
        condition("traits.user_id", "u1"),
    )
    world.create("a2", "flavor.create", query)
    publish("nova_publishes.py", broker.url, world.topics.services, versioned, given=PAYLOAD)
    world.wait_for_alarm("a1")
    world.wait_for_alarm("a2")
    for alarm_id in ("a1", "a2"):
        history = world.alarms.history(alarm_id, {}, world.newest_first)
        assert "req-" in history[0].detail
        assert "t0k3n" not in history[0].detail
