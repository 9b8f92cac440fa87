# SPDX-License-Identifier: Apache-2.0
"""How long an alarm with a `trust+` action takes to create, through a real Heat and directly.

Both servers stand in the same lab's catalogue, in turns: the same Heat, the same Keystone, the same
template. Aodh's code runs unchanged, its database on PostgreSQL without syncing.
"""

import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from openstack.exceptions import NotFoundException

from bench._processes import BenchError, free_port, running, settings, wait_for
from bench._processes import run as run_to_end
from tests.lab import Lab
from tests.service import postgresql
from tests.service.lab.deployment import registered
from tests.service.lab.parts import ServerProcess, own_user

ALARMS = 5
"""In one stack, each waiting for the one before it."""
ROUNDS = 3
POSTS = 10
"""In each round."""
LIMIT_S = 300.0
VENV = Path(".bench/aodh")
PEERS = Path(__file__).parent / "peers"
ALARMING = {"endpoint_filter": {"service_type": "alarming"}}


def run() -> Iterator[dict[str, Any]]:
    """Yield seconds an alarm; the ratio is Aodh's time to ours."""
    if not (VENV / "bin/aodh-dbsync").exists():
        raise BenchError(f"Aodh is not installed in {VENV}: run make bench-venv")
    with ExitStack() as stack:
        lab = stack.enter_context(_lab())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermostat-")))
        urls = [
            stack.enter_context(_ours(lab, directory)),
            stack.enter_context(_aodh(lab, directory)),
        ]
        for url in urls:
            _round(lab, url)  # the first one opens connections and fills caches
        # In turns, so that what else the machine does bends both alike.
        rounds = [[_round(lab, url) for url in urls] for _ in range(ROUNDS)]
    for name in ("create_trust_alarm", "post_trust_alarm"):
        ours, aodh = (median(pair[which][name] for pair in rounds) for which in range(2))
        yield {
            "name": name,
            "value": round(ours, 3),
            "unit": "s",
            "peer": f"Aodh, {aodh:.3f} s",
            "ratio": round(aodh / ours, 1),
        }


def _round(lab: Lab, url: str) -> dict[str, float]:
    """Give the seconds that one alarm takes: in a stack of Heat's, and in a request of its own."""
    demo = lab.cloud("demo")
    with registered(lab.cloud("admin"), lab, url):
        without, with_alarms = _stack_s(demo, 0), _stack_s(demo, ALARMS)
        posts = median(_post_s(demo) for _ in range(POSTS))
    return {"create_trust_alarm": (with_alarms - without) / ALARMS, "post_trust_alarm": posts}


def _stack_s(cloud: Any, alarms: int) -> float:
    """Give the seconds until a stack with a scaling policy and so many alarms is complete."""
    heat = cloud.orchestration
    began = time.monotonic()
    stack = heat.create_stack(name=f"bench-{uuid.uuid4().hex[:8]}", template=_template(alarms))
    try:
        _wait(heat, stack.id, "CREATE_COMPLETE", began)
        return time.monotonic() - began
    finally:
        heat.delete_stack(stack.id)
        with suppress(NotFoundException):
            _wait(heat, stack.id, "DELETE_COMPLETE", time.monotonic())


def _wait(heat: Any, stack_id: str, status: str, began: float) -> None:
    while (now := heat.get_stack(stack_id, resolve_outputs=False)).status != status:
        if now.status.endswith("FAILED") or time.monotonic() - began > LIMIT_S:
            raise BenchError(f"a stack is {now.status}: {now.status_reason}")
        time.sleep(0.02)


def _template(alarms: int) -> dict[str, Any]:
    group = {
        "type": "OS::Heat::AutoScalingGroup",
        "properties": {
            "min_size": 0,
            "max_size": 1,
            "resource": {"type": "OS::Heat::TestResource"},
        },
    }
    policy = {
        "type": "OS::Heat::ScalingPolicy",
        "properties": {
            "auto_scaling_group_id": {"get_resource": "group"},
            "adjustment_type": "change_in_capacity",
            "scaling_adjustment": 1,
        },
    }
    url = {"list_join": ["", ["trust+", {"get_attr": ["up", "signal_url"]}]]}
    resources: dict[str, Any] = {"group": group, "up": policy}
    for number in range(alarms):
        resources[f"alarm{number}"] = {
            "type": "OS::Aodh::EventAlarm",
            "depends_on": [f"alarm{number - 1}"] if number else [],
            "properties": {"event_type": "bench.*", "alarm_actions": [url]},
        }
    return {"heat_template_version": "2018-08-31", "resources": resources}


def _post_s(cloud: Any) -> float:
    """Give the seconds of one request that creates such an alarm."""
    alarm = {
        "name": "bench",
        "type": "event",
        "event_rule": {"event_type": "bench.*"},
        "alarm_actions": ["trust+http://127.0.0.1:9/signal"],
    }
    began = time.monotonic()
    made = cloud.session.post("/v2/alarms", json=alarm, **ALARMING).json()
    seconds = time.monotonic() - began
    cloud.session.delete(f"/v2/alarms/{made['alarm_id']}", **ALARMING)
    return seconds


@contextmanager
def _lab() -> Iterator[Lab]:
    """Give the lab; one that already ran is left running."""
    lab = Lab()
    if not (lab.layout.venv / "bin/python").exists():
        raise BenchError("the lab is not installed: run make lab-venv")
    ran = lab.is_begun()
    lab.up(progress=lambda _: None)
    try:
        yield lab
    finally:
        if not ran:
            lab.down(progress=lambda _: None)


@contextmanager
def _ours(lab: Lab, directory: Path) -> Iterator[str]:
    server = ServerProcess(lab, directory)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@contextmanager
def _aodh(lab: Lab, directory: Path) -> Iterator[str]:
    """Give the URL of Aodh's API, as the same user of the service project."""
    auth = own_user(lab)
    paste = next(VENV.glob("lib/*/site-packages/aodh/api/api-paste.ini"))
    configuration = directory / "aodh.conf"
    # With the project's name alone its token filter looks for its configuration in /etc only.
    (directory / "paste.ini").write_text(
        paste.read_text().replace(
            "oslo_config_project = aodh",
            f"oslo_config_project = aodh\noslo_config_file = {configuration}",
        )
    )
    with postgresql.running() as database:
        configuration.write_text(
            settings(
                DEFAULT={"transport_url": "fake://", "use_stderr": "true"},
                api={"auth_mode": "keystone", "paste_config": directory / "paste.ini"},
                # Aodh takes the scheme for its driver, so it can have no "+psycopg2".
                database={"connection": database.create_database().replace("+psycopg2", "")},
                keystone_authtoken={**auth, "www_authenticate_uri": auth["auth_url"]},
                service_credentials=auth,
            )
        )
        dbsync = (VENV / "bin/aodh-dbsync", "--config-file", configuration)
        run_to_end(directory / "dbsync.log", *dbsync)
        port, log = free_port(), directory / "aodh.log"
        python = VENV / "bin/python"
        api = (python, "-W", "ignore", PEERS / "aodh_serve.py", configuration, str(port))
        with running(log, *api) as process:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/healthcheck", process, log)
            yield url
