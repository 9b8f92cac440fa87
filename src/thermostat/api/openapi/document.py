# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document, from the tables of the nouns and the schemas of the types."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from thermostat.api.openapi import (
    alarms,
    metering,
    notifications,
    public,
    query,
    quotas,
    results,
    silences,
)
from thermostat.api.openapi.operation import JSON, Answer, Operation, Operations, Parameter, ref
from thermostat.api.policies import list_rules
from thermostat.version import __version__

NOUNS = (alarms, query, quotas, results, silences, metering, notifications, public)
"""The modules with the tables: each has OPERATIONS, TAG and `schemas()`."""

ERRORS: Mapping[int, str] = {
    400: "A field or parameter is wrong: `faultstring` names it and gives the reason.",
    401: "There is no valid token.",
    403: "The policy forbids it, or Keystone refuses what it takes.",
    404: "There is no such thing, or it belongs to another project.",
    409: "Somebody else changed the same thing at that moment; try again.",
    413: "The body is longer than allowed.",
    415: "The `Content-Type` is none of those that are taken.",
    429: "Too much is sent; send it again after `Retry-After` seconds.",
    503: "The database, the store or Keystone cannot be used now.",
}
_PATH_FIELD = re.compile(r"\{(\w+)\}")
_PATH_FIELDS = {
    "alarm_id": "The id of an alarm, as it was given at its creation.",
    "meter": "The name of a meter, such as `cpu_util`.",
    "notification_id": "The id of a notification, which is its `webhook-id` too.",
    "project_id": "The id of a project.",
    "silence_id": "The id of a silence, as it was given at its creation.",
}


def operations() -> Operations:
    """Give every described operation, by path and method."""
    return {path: methods for noun in NOUNS for path, methods in noun.OPERATIONS.items()}


def policies() -> Mapping[tuple[str, str], list[str]]:
    """Give the names of the policies of each method and path."""
    found: dict[tuple[str, str], list[str]] = {}
    for rule in list_rules():
        for operation in getattr(rule, "operations", ()):
            key = (str(operation["method"]), str(operation["path"]))
            found.setdefault(key, []).append(rule.name)
    return found


@cache
def document() -> Mapping[str, Any]:
    """Give the description of the API, of JSON's types only."""
    made: Mapping[str, Any] = msgspec.json.decode(msgspec.json.encode(_document()))
    return made


def _document() -> Mapping[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for noun in NOUNS:
        for path, methods in noun.OPERATIONS.items():
            for method, operation in methods.items():
                described = _operation(method, path, operation) | {"tags": [noun.TAG]}
                paths.setdefault(path, {})[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thermostat",
            "version": __version__,
            "summary": "Alarms in Aodh's v2 form; samples and statistics in Ceilometer's.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "tags": [{"name": noun.TAG} for noun in NOUNS],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {"Error": _ERROR}
    for noun in NOUNS:
        schemas |= noun.schemas()
    return dict(sorted(schemas.items()))


_ERROR = {
    "description": "A refusal or a failure, in Aodh's form.",
    "type": "object",
    "properties": {
        "error_message": {
            "type": "object",
            "properties": {
                "debuginfo": {"type": "null"},
                "faultcode": {
                    "description": "`Server` from status 500 on.",
                    "enum": ["Client", "Server"],
                },
                "faultstring": {
                    "description": "A sentence that names the field and the reason.",
                    "type": "string",
                },
            },
            "required": ["debuginfo", "faultcode", "faultstring"],
            "additionalProperties": False,
        }
    },
    "required": ["error_message"],
    "additionalProperties": False,
}


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            *(_path_parameter(name) for name in _PATH_FIELD.findall(path)),
            *map(_parameter, operation.parameters),
        ],
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation)}
    described["responses"] = {
        **{str(status): _answer(answer) for status, answer in operation.answers.items()},
        **{str(status): _error(status) for status in _errors(path, operation)},
    }
    if operation.is_public:
        described["security"] = []
    elif operation.takes_password:
        described["security"] = [{"token": []}, {"password": []}]
    named = policies().get((method, path))
    if named:
        described["x-openstack-policies"] = named
    return described


def _errors(path: str, operation: Operation) -> Iterator[int]:
    """Give the statuses of refusals, those that follow from the operation among them."""
    statuses = set(operation.errors)
    if operation.body:
        statuses |= {400, 413, 415}
    if operation.parameters:
        statuses.add(400)
    if not operation.is_public:
        statuses |= {401, 403, 503}
    if "{alarm_id}" in path or "{silence_id}" in path:
        statuses.add(404)
    yield from sorted(statuses - set(operation.answers))


def _error(status: int) -> dict[str, Any]:
    return {"description": ERRORS[status], "content": {JSON: {"schema": ref("Error")}}}


def _path_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _PATH_FIELDS[name],
        "schema": {"type": "string", "minLength": 1},
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = parameter.schema
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": {"type": "array", "items": schema} if parameter.repeated else schema,
    }
    if parameter.repeated:
        described |= {"style": "form", "explode": True}
    if parameter.example is not None:
        described["example"] = parameter.example
    return described


def _content(operation: Operation) -> dict[str, Any]:
    body = operation.body
    assert body is not None  # noqa: S101 - for the type checker
    media: dict[str, Any] = {"schema": body.schema}
    if body.examples:
        media["examples"] = {name: {"value": value} for name, value in body.examples.items()}
    return {JSON: media, **{kind: {"schema": schema} for kind, schema in body.also.items()}}


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.schema is not None:
        described["content"] = {answer.media_type: {"schema": answer.schema}}
    if answer.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in answer.headers.items()
        }
    if answer.links:
        described["links"] = dict(answer.links)
    return described
