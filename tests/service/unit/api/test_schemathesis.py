# SPDX-License-Identifier: Apache-2.0
"""Schemathesis asks the API what its description allows and what it forbids, and judges it by it.

Its requests are drawn from a fixed seed. `test_bad_requests` has more of what is forbidden.
"""

import random
import uuid
from collections import Counter

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.generation import GenerationMode

from tests.service.identity import HEADERS
from thermostat.api.app import create_api
from thermostat.api.auth import PUBLIC_PATHS
from thermostat.api.errors import error_body
from thermostat.api.openapi.document import document
from thermostat.db.tables import EVALUATOR, METADATA

DRAWN = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS = [result.ok() for result in SCHEMA.get_all_operations()]
LEFT_OUT = [
    # What the schemas allow may still be refused: an alarm that there is not, a time zone.
    "positive_data_acceptance",
    # Any token will do here; the lab's tests have real ones.
    "ignored_auth",
]


@pytest.fixture
def target(services, monkeypatch):
    """The application that SCHEMA's operations are sent to, as an administrator."""
    app = create_api(services)

    def identified(environ, start_response):
        is_public = environ["PATH_INFO"] in PUBLIC_PATHS
        if is_public or "HTTP_X_AUTH_TOKEN" in environ or "HTTP_AUTHORIZATION" in environ:
            return app(environ | HEADERS, start_response)
        start_response("401 Unauthorized", [("Content-Type", "application/json")])
        return [msgspec.json.encode(error_body(401, "There is no token."))]

    monkeypatch.setattr(SCHEMA, "app", identified)
    return SCHEMA


def wanted_checks():
    names = checks.CHECKS.get_all_names()
    return [checks.CHECKS.get_one(name) for name in names if name not in LEFT_OUT]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_answers_are_what_the_description_says(target, operation, mode):
    if mode is GenerationMode.NEGATIVE and not (
        operation.body or operation.query or operation.path_parameters
    ):
        pytest.skip("nothing can be wrong with it")

    @DRAWN
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        case.validate_response(case.call(app=target.app), checks=wanted_checks())

    ask()


def test_what_is_created_is_found(services, engine, target, monkeypatch):
    """Follow the description's links: what is created is read, replaced, deleted and then gone.

    Hypothesis repeats parts of what it did: each run begins with nothing, and has the same ids and
    the same time as the others, lest links come and go.
    """
    answers = Counter()
    now_us = services.now_us()
    monkeypatch.setattr(type(services), "now_us", lambda _services: now_us)

    class Machine(target.as_state_machine()):
        def setup(self):
            numbers = random.Random(0)
            monkeypatch.setattr(
                uuid, "uuid4", lambda: uuid.UUID(int=numbers.getrandbits(128), version=4)
            )
            with engine.begin() as connection:
                for table in METADATA.sorted_tables:
                    if table is not EVALUATOR:
                        connection.execute(table.delete())

        def validate_response(self, response, case, **_named):
            answers[case.operation.label, response.status_code] += 1
            case.validate_response(response, checks=wanted_checks())

    Machine.run(settings=settings(DRAWN, max_examples=60, stateful_step_count=8))
    assert answers["POST /v2/alarms", 201]
    assert any(status in (200, 204) and "{alarm_id}" in label for label, status in answers)
