# SPDX-License-Identifier: Apache-2.0
"""The served description as a judge of requests and answers."""

import re
from functools import cache

import jsonschema_rs
import msgspec

from thermostat.api.openapi.document import document

METHODS = ("get", "post", "put", "delete")


def operations():
    """Each operation as (method, path, what is said of it)."""
    return [
        (method.upper(), path, methods[method])
        for path, methods in document()["paths"].items()
        for method in METHODS
        if method in methods
    ]


@cache
def validator(schema):
    """A validator for a schema, given as JSON text, of the description."""
    whole = {**msgspec.json.decode(schema), "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def faults(schema, value):
    """What is wrong with a value by a schema of the description."""
    encoded = msgspec.json.encode(schema).decode()
    return [error.message for error in validator(encoded).iter_errors(value)]


def is_valid(schema, value):
    """Whether a value is what a schema of the description asks for."""
    return validator(msgspec.json.encode(schema).decode()).is_valid(value)


@cache
def _patterns():
    found = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in document()["paths"]]
    return sorted(found, key=lambda pair: "{" in pair[1])


def described(method, path):
    """What is said of a method and a path; None: nothing."""
    for pattern, template in _patterns():
        if pattern.fullmatch(path.rstrip("/") or "/"):
            return document()["paths"][template].get(method.lower())
    return None


def check_answer(method, path, answer):
    """Fail unless the description has an answer of this status, type and shape."""
    operation = described(method, path)
    if operation is None or method not in {"GET", "POST", "PUT", "DELETE"}:
        assert answer.status_code >= 400 or method == "OPTIONS", f"{method} {path} is undescribed"
        return
    where = f"{method} {path}: {answer.status_code}"
    if answer.status_code == 500:
        return  # what a test provokes; it is in no contract
    assert str(answer.status_code) in operation["responses"], f"{where} is undescribed"
    content = operation["responses"][str(answer.status_code)].get("content")
    if content is None:
        assert not answer.content, where
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content, f"{where}: {media_type} is undescribed"
    if media_type == "application/json":
        wrong = faults(content[media_type]["schema"], answer.json)
        assert not wrong, f"{where}: {wrong}: {answer.text:.1000}"
