# SPDX-License-Identifier: Apache-2.0
"""The whole loop with Keystone's trust path: `trust+` and the policy's own signal URL.

The pre-signed path is the demonstration's, and what `test_collection` deploys.
"""

import json
import time
import uuid
from pathlib import Path

import pytest

from tests.service.lab.deployment import install_plugin, running_server
from tests.service.lab.parts import running_agent

pytestmark = pytest.mark.lab

TEMPLATE = Path(__file__).parents[3] / "docs" / "templates" / "trust.yaml"
PARAMETERS = {
    "image": "tiny",
    "flavor": "tiny",
    "period": 10,
    "cooldown": 5,
    "high_threshold": 25,  # what a busy machine leaves to the guest is above it
    "max_size": 2,
}
TIMEOUT_S = 180


@pytest.fixture
def url(lab, tmp_path):
    install_plugin(lab)
    with running_server(lab, tmp_path) as url, running_agent(lab, url, tmp_path):
        yield url


@pytest.fixture
def heat(lab):
    return lab.cloud("demo").orchestration


@pytest.fixture
def stack(heat, url):  # noqa: ARG001 - Heat finds the server in the catalogue
    stack = heat.create_stack(
        name=f"trust-{uuid.uuid4().hex[:6]}", template=TEMPLATE.read_text(), parameters=PARAMETERS
    )
    yield stack
    heat.delete_stack(stack.id)
    heat.wait_for_delete(stack, wait=TIMEOUT_S)


def outputs(heat, stack):
    found = heat.get_stack(stack.id)
    assert not found.status.endswith("FAILED"), found.status_reason
    return {one["output_key"]: one["output_value"] for one in found.outputs or ()}


def wait_for(heat, stack, what, **wanted):
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        seen = outputs(heat, stack)
        if all(str(seen.get(key)) == str(value) for key, value in wanted.items()):
            return seen
        assert time.monotonic() < deadline, f"{what}: not in {TIMEOUT_S} s: {seen}"
        time.sleep(0.5)


def test_a_loaded_group_grows_and_an_idle_one_shrinks(lab, heat, stack, url):
    seen = wait_for(heat, stack, "a judged stack", size=1, cpu_high_state="ok")
    (server,) = seen["servers"]

    lab.load(server, on=True)
    try:
        seen = wait_for(heat, stack, "growth", size=2)
    finally:
        lab.load(server, on=False)
    wait_for(heat, stack, "shrinking", size=1)

    session = lab.cloud("demo").session
    alarm = session.get(f"{url}/v2/alarms/{seen['cpu_high_id']}").json()
    history = session.get(f"{url}/v2/alarms/{seen['cpu_high_id']}/history").json()
    details = [json.loads(e["detail"]) for e in history if e["type"] == "state transition"]
    fired = next(detail for detail in details if detail["state"] == "alarm")
    assert "Transition to alarm due to 1 samples outside threshold" in fired["transition_reason"]
    assert fired["reason_data"]["disposition"] == "outside"
    (action,) = alarm["alarm_actions"]
    assert action.startswith("trust+http://127.0.0.1"), "the trust's id is never shown"
