# SPDX-License-Identifier: Apache-2.0
"""`zaqar` and `trust+zaqar` actions with a real Zaqar, and Heat's own properties for queues."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import Lab
from tests.service.hooks import HookServer
from tests.service.lab.deployment import install_plugin, own_server
from tests.service.lab.parts import ServerProcess
from tests.service.lab.stacks import Tenant
from tests.service.waiting import until

pytestmark = pytest.mark.lab

MESSAGING = {"service_type": "messaging"}
RULE = {"meter_name": "cpu_util", "threshold": 70, "comparison_operator": "gt", "period": 10}


@pytest.fixture(scope="module")
def server(zaqar: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    # Everybody says everything: no secret may be in the log even so.
    debug = {"debug": "true", "default_log_levels": "amqp=WARN"}
    with own_server(zaqar, tmp_path_factory.mktemp("server"), DEFAULT=debug) as server:
        yield server
        log = server.log.read_text()
        print(log)  # shown where a test fails
        assert "Traceback" not in log


@pytest.fixture(scope="module")
def tenant(zaqar: Lab, server: ServerProcess) -> Iterator[Tenant]:  # noqa: ARG001 - it is first
    install_plugin(zaqar)
    tenant = Tenant(zaqar.cloud("demo"), trustee_id=zaqar.cloud("thermostat").current_user_id)
    yield tenant
    tenant.delete_all()


def messages(cloud: Any, queue: str) -> list[dict[str, Any]]:
    """Give the bodies that are in a queue of the project's, the oldest first."""
    answer = cloud.session.get(
        f"/v2/queues/{queue}/messages",
        params={"echo": "true"},
        headers={"Client-ID": str(uuid.uuid4())},
        endpoint_filter=MESSAGING,
    )
    return [message["body"] for message in answer.json()["messages"]]


@pytest.fixture(scope="module")
def services(zaqar: Lab) -> Any:
    """Give the cloud of a user who may publish, and whose project the server's queues are in."""
    return zaqar.cloud("thermostat")


def measure(services: Any, project_id: str, value: float) -> None:
    """Report the use of a server's CPU, as it was in the last 20 s."""
    now = time.time()
    samples = [
        {
            "name": "cpu_util",
            "type": "gauge",
            "unit": "%",
            "volume": value,
            "resource_id": "a-server",
            "project_id": project_id,
            "user_id": None,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - age)),
            "resource_metadata": {},
        }
        for age in (20, 10, 0)
    ]
    services.session.post("/v2/samples", json=samples, endpoint_filter={"service_type": "metering"})


def create(cloud: Any, **definition: Any) -> dict[str, Any]:
    answer = cloud.session.post(
        "/v2/alarms",
        endpoint_filter={"service_type": "alarming"},
        json={"name": "test-queues", "type": "threshold", "threshold_rule": RULE, **definition},
    )
    alarm: dict[str, Any] = answer.json()
    return alarm


def test_a_change_of_state_is_in_the_tenants_queue_and_at_the_subscriber(
    zaqar, services, tenant, server
):
    demo, other, queue = tenant.cloud, zaqar.cloud("other"), f"q-{uuid.uuid4().hex}"
    earlier = tenant.trusts()
    hook = HookServer().start()
    topic = f"zaqar://?topic=cpu&subscriber={hook.url}/hook%3Fsignature=s3cret&ttl=600"
    alarm = create(
        demo,
        alarm_actions=[f"trust+zaqar://?queue_name={queue}", topic],
        repeat_actions=False,
    )
    path = f"/v2/alarms/{alarm['alarm_id']}"
    try:
        (trust_id,) = tenant.trusts() - earlier

        def told() -> bool:
            measure(services, demo.current_project_id, 95.0)
            return bool(messages(demo, queue)) and bool(hook.calls)

        until(told, "the messages", 60.0)
        (body,) = messages(demo, queue)
        assert body["alarm_id"] == alarm["alarm_id"]
        assert (body["alarm_name"], body["severity"]) == ("test-queues", "low")
        assert body["current"] == "alarm"
        assert body["reason_data"]["disposition"] == "outside"
        assert uuid.UUID(body["notification_id"])
        assert messages(other, queue) == []

        (call,) = hook.calls
        assert call.path == "/hook?signature=s3cret"
        heard = json.loads(call.body)
        assert heard["queue_name"] == f"{alarm['alarm_id']}-cpu"
        assert heard["body"]["current"] == "alarm"
        assert heard["body"]["notification_id"] != body["notification_id"]  # another notification
        assert messages(demo, heard["queue_name"]) == []  # it is in the server's project
        (kept,) = messages(services, heard["queue_name"])
        assert kept.items() >= heard["body"].items()
    finally:
        demo.session.delete(path, endpoint_filter={"service_type": "alarming"})
        hook.stop()
    until(lambda: trust_id not in tenant.trusts(), "the deletion of the trust", 30.0)
    log = server.log.read_text()
    assert "delivered to trust+zaqar://" in log
    assert "delivered to zaqar://" in log
    assert trust_id not in log
    assert "s3cret" not in log


def test_the_queues_of_heats_own_alarms_and_of_ours(services, tenant):
    """Of Heat's own types, OS::Aodh::Alarm is the one that samples decide."""
    run = uuid.uuid4().hex[:8]
    kinds = {
        "stock": ("OS::Aodh::Alarm", {**RULE, "evaluation_periods": 1, "statistic": "avg"}),
        "event": ("OS::Aodh::EventAlarm", {"event_type": "compute.instance.update"}),
        "ours": ("OS::Metering::Alarm", RULE),
    }
    states = ("alarm", "ok", "insufficient_data")
    resources = {
        name: {
            "type": kind,
            "properties": {
                **properties,
                **{f"{state}_queues": [f"{name}-{run}-{state}"] for state in states},
            },
        }
        for name, (kind, properties) in kinds.items()
    }
    stack = tenant.create({"heat_template_version": "2018-08-31", "resources": resources})
    alarms = tenant.alarms(stack)
    assert set(alarms) == set(kinds)
    for name, alarm in alarms.items():
        for state in states:
            assert alarm[f"{state}_actions"] == [f"trust+zaqar://?queue_name={name}-{run}-{state}"]

    def told(state: str, value: float) -> list[dict[str, Any]]:
        """Give the first message of each alarm's queue, once there is one in each."""
        measure(services, tenant.cloud.current_project_id, value)
        found = [messages(tenant.cloud, f"{name}-{run}-{state}")[:1] for name in ("stock", "ours")]
        return [body for bodies in found for body in bodies] if all(found) else []

    for state, value in (("alarm", 95.0), ("ok", 5.0)):
        bodies = until(lambda of=state, at=value: told(of, at), f"{state} in the queues", 60.0)
        for name, body in zip(("stock", "ours"), bodies, strict=True):
            assert (body["current"], body["alarm_id"]) == (state, alarms[name]["alarm_id"])
    tenant.delete(stack)
