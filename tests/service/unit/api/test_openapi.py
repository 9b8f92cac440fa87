# SPDX-License-Identifier: Apache-2.0
"""The description is valid, whole and true."""

import json

import falcon.inspect
import pytest
from falcon.testing import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.service.description import faults, operations
from thermostat.api.app import create_api
from thermostat.api.auth import PUBLIC_PATHS
from thermostat.api.openapi.document import document
from thermostat.api.policies import list_rules

SPOKEN = {(method, path) for method, path, _ in operations()}


def test_it_is_valid():
    OpenAPIV31SpecValidator(document()).validate()


def test_it_is_served_to_everybody(services):
    answer = TestClient(create_api(services)).simulate_get("/openapi.json")
    assert answer.json == document()
    assert answer.headers["content-type"] == "application/json"


def test_it_has_every_route_and_method(services):
    """Add the operation to the table of its noun in thermostat/api/openapi."""
    routes = falcon.inspect.inspect_routes(create_api(services))
    answered = {
        (method.method, route.path)
        for route in routes
        for method in route.methods
        if not method.internal
    }
    assert answered == SPOKEN


def test_it_has_every_method_that_a_policy_is_about():
    ruled = {
        (operation["method"], operation["path"])
        for rule in list_rules()
        for operation in getattr(rule, "operations", ())
    }
    assert ruled <= SPOKEN


def test_everything_but_public_pages_names_its_policies():
    for _method, path, operation in operations():
        is_public = operation.get("security") == []
        assert is_public == (path in PUBLIC_PATHS), path
        assert is_public == ("x-openstack-policies" not in operation), path


def test_names_and_summaries_are_different():
    for key in ("operationId", "summary"):
        found = [operation[key] for _, _, operation in operations()]
        assert len(set(found)) == len(found)


def test_every_field_of_a_request_says_what_it_means():
    """Give the field a docstring in its struct."""
    for name, schema in document()["components"]["schemas"].items():
        if not name.endswith("Request") or name in {"AndRequest", "OrRequest", "NotRequest"}:
            continue
        for field, member in schema.get("properties", {}).items():
            is_plain = member != {"type": "null"} and "const" not in member
            if is_plain and not field.endswith("_rule"):
                assert "description" in member, f"{name}.{field}"


def test_every_schema_is_used():
    used = json.dumps(document())
    for name in document()["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in used, name


EXAMPLES = [
    pytest.param(method, path, body["schema"], example["value"], id=f"{method} {path} {name}")
    for method, path, operation in operations()
    if "requestBody" in operation
    for body in [operation["requestBody"]["content"]["application/json"]]
    for name, example in body["examples"].items()
]
ALARMS = {
    name: example["value"]
    for name, example in document()["paths"]["/v2/alarms"]["post"]["requestBody"]["content"][
        "application/json"
    ]["examples"].items()
}
ROOT = {"roles": "admin"}


@pytest.mark.parametrize(("method", "path", "schema", "body"), EXAMPLES)
def test_examples_are_of_their_schema_and_accepted(api, method, path, schema, body):
    assert not faults(schema, body)
    path = path.replace("{alarm_id}", _created(api, "threshold"))
    if "{silence_id}" in path:
        made = api("POST", "/v2/silences", body, **ROOT).json
        path = path.replace("{silence_id}", made["silence_id"])
    answer = api(method, path, _real(api, body), **ROOT)
    assert answer.status_code in (200, 201), answer.text


@pytest.mark.parametrize(("method", "path", "schema", "body"), EXAMPLES)
def test_schemas_refuse_what_they_should(method, path, schema, body):  # noqa: ARG001
    assert faults(schema, [body, 1])
    if isinstance(body, dict):
        assert faults(schema, {**body, "unknown": 1})


def test_every_type_of_alarm_has_an_example():
    schemas = document()["components"]["schemas"]["AlarmRequest"]["discriminator"]["mapping"]
    assert set(ALARMS) == set(schemas)


def _real(api, body):
    """Let a combination name alarms that there are."""
    if isinstance(body, dict) and body.get("type") == "combination":
        ids = [_created(api, "threshold") for _ in range(2)]
        return {**body, "combination_rule": {"alarm_ids": ids}}
    return body


def _created(api, kind):
    return api("POST", "/v2/alarms", ALARMS[kind], **ROOT).json["alarm_id"]
