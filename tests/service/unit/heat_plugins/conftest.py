# SPDX-License-Identifier: Apache-2.0
"""Heat's own code in this process: a database in memory, a stand-in for the alarm service.

These tests run in an environment that has Heat; in another one there is nothing to collect.
"""

import copy
import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).parents[4] / "heat_plugins"

sys.path.insert(0, str(Path(__file__).parent))
from stand_in import AlarmService  # noqa: E402

if importlib.util.find_spec("heat") is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Heat and what it stands on warn: they are not ours to mend."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def heat(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Heat's engine, which loads our directory of plugins and no environment of its own."""
    from heat.common import config, messaging  # noqa: F401 - config registers the options
    from heat.db import api, models
    from heat.engine import resources, scheduler
    from heat.engine.clients.os.keystone import heat_keystoneclient  # noqa: F401 - likewise
    from oslo_config import cfg
    from oslo_db import options

    cfg.CONF([], project="heat", default_config_files=[], default_config_dirs=[])
    options.set_defaults(cfg.CONF, connection="sqlite://")
    nowhere = str(tmp_path_factory.mktemp("empty"))
    for name, value in {
        "plugin_dirs": [str(PLUGINS)],
        "environment_dir": nowhere,
        "template_dir": nowhere,
        "client_retry_limit": 0,
        "error_wait_time": 0,
        "region_name_for_services": "RegionOne",
        "heat_metadata_server_url": "http://127.0.0.1:1",
        # Heat's own fake: policies need a user with a key to sign their URLs.
        "keystone_backend": (
            "heat.engine.clients.os.keystone.fake_keystoneclient.FakeKeystoneClient"
        ),
    }.items():
        cfg.CONF.set_override(name, value)
    scheduler.ENABLE_SLEEP = False
    messaging.setup("fake://", optional=True)
    models.BASE.metadata.create_all(api.get_engine())
    resources.initialise()


def _service(service_type: str, url: str, region: str = "RegionOne") -> dict[str, Any]:
    endpoint = {"id": "1", "interface": "public", "region": region, "region_id": region, "url": url}
    return {"type": service_type, "name": service_type, "endpoints": [endpoint]}


class Cloud:
    """Makes and drives stacks of a user whose catalogue names the alarm service."""

    def __init__(self, alarm_service: AlarmService) -> None:
        self.alarm_service = alarm_service
        self.name = f"group-{uuid.uuid4().hex[:6]}"

    def context(self, *, service_type: str = "alarming", region: str = "RegionOne") -> Any:
        """Give a request context as heat-api makes it of a user's token."""
        from heat.common import context

        token = {
            "methods": ["password"],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "user": {"id": "1234", "name": "tenant", "domain": {"id": "default"}},
            "project": {"id": "5678", "name": "group", "domain": {"id": "default"}},
            "roles": [{"id": "1", "name": "member"}],
            "catalog": [
                _service(service_type, self.alarm_service.url, region),
                _service("cloudformation", "http://127.0.0.1:1/v1"),
                _service("orchestration", "http://127.0.0.1:1/v1/5678"),
                _service("compute", "http://127.0.0.1:1/v2.1"),
            ],
        }
        return context.RequestContext.from_dict(
            {
                "tenant_id": "5678",
                "user_id": "1234",
                "auth_url": "http://127.0.0.1:1/v3",
                "auth_token": "a-user's-token",
                "auth_token_info": {"token": token},
                "roles": ["member"],
                "is_admin": False,
            }
        )

    def parse(
        self,
        template: dict[str, Any],
        params: dict[str, Any] | None = None,
        *,
        context: Any = None,
        **options: Any,
    ) -> Any:
        """Give a stack that is not stored yet."""
        from heat.engine import environment, stack
        from heat.engine import template as templates

        # A copy: an update writes into the template that the stack was made of.
        parsed = templates.Template(
            copy.deepcopy(template), env=environment.Environment({"parameters": params or {}})
        )
        return stack.Stack(context or self.context(), self.name, parsed, **options)

    def create(self, template: dict[str, Any], params: dict[str, Any] | None = None) -> Any:
        """Validate, store and create a stack; give it whatever became of it."""
        stack = self.parse(template, params)
        stack.validate()
        stack.store()
        stack.create()
        return stack

    def update(
        self, stack: Any, template: dict[str, Any], params: dict[str, Any] | None = None
    ) -> None:
        """Update a stack as `openstack stack update` does."""
        changed = self.parse(template, params, context=stack.context)
        changed.validate()
        stack.update(changed)


@pytest.fixture
def alarm_service() -> Iterator[AlarmService]:
    """A stand-in for the alarm service."""
    with AlarmService() as service:
        yield service


@pytest.fixture
def cloud(heat: None, alarm_service: AlarmService) -> Cloud:  # noqa: ARG001 - it is set up first
    """Stacks whose catalogue points to the stand-in."""
    return Cloud(alarm_service)
