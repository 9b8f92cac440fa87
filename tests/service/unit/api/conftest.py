# SPDX-License-Identifier: Apache-2.0
"""The API without its token check: identity headers stand for verified tokens."""

from collections.abc import Mapping
from typing import Any

import pytest
from falcon.testing import TestClient
from oslo_config import cfg

from tests.service.alarm_requests import HOOK, with_
from tests.service.description import check_answer
from thermostat.api.app import Services, create_api
from thermostat.api.policies import load_enforcer
from thermostat.db.alarms import AlarmRepository
from thermostat.db.deliveries import Deliveries
from thermostat.db.outbox import Outbox
from thermostat.db.retired_trusts import RetiredTrusts
from thermostat.db.signing import WebhookSecrets
from thermostat.db.silences import SilenceRepository
from thermostat.ingest import Ingest
from thermostat.store.memory import MemoryStore
from thermostat.trusts import TrustRefused

SCHEMES = frozenset({"http", "https", "trust+http", "trust+https", "trust+heat", "log"}) | {
    "zaqar",
    "trust+zaqar",
}


class FakeTrusts:
    """Stands in for Keystone's trusts; the real ones are tested in the lab."""

    def __init__(self):
        self.alive = {}
        self.made = 0
        self.refusal = None

    def create(self, caller):
        if self.refusal:
            raise self.refusal
        if not caller.project_id:
            raise TrustRefused("no project")
        self.made += 1
        self.alive[f"trust-{self.made}"] = caller.user_id
        return f"trust-{self.made}"

    def abandon(self, _caller, trust_id):
        del self.alive[trust_id]


class Api:
    """A client whose requests carry an identity; the description must know each answer."""

    def __init__(self, app):
        self._client = TestClient(app)

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str = "alice",
        project: str | None = "p1",
        roles: str = "member,reader",
        **options: Any,
    ):
        headers: Mapping[str, str] = {"X-User-Id": user, "X-Roles": roles}
        if project:
            headers = {**headers, "X-Project-Id": project}
        if body is not None:
            options["json"] = body
        answer = self._client.simulate_request(method, path, headers=headers, **options)
        check_answer(method, path, answer)
        return answer


@pytest.fixture
def services(engine):
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    store = MemoryStore()
    return Services(
        store=store,
        ingest=Ingest(store, lambda _batch: None),
        alarms=AlarmRepository(engine),
        outbox=Outbox(engine),
        silences=SilenceRepository(engine),
        deliveries=Deliveries(engine),
        retired_trusts=RetiredTrusts(engine),
        webhook_secrets=WebhookSecrets(engine),
        enforcer=load_enforcer(conf),
        trusts=FakeTrusts(),
        schemes=SCHEMES,
        alarm_changed=Changes(),
    )


class Changes(list):
    """What the evaluator would have been told."""

    __call__ = list.append


@pytest.fixture
def api(services):
    return Api(create_api(services))


@pytest.fixture
def alarm(api):
    answer = api("POST", "/v2/alarms", with_(alarm_actions=[HOOK]))
    assert answer.status_code == 201, answer.text
    return answer.json
