# SPDX-License-Identifier: Apache-2.0
"""Bad requests by the thousand: every field of every body of the API's description, made wrong.

What is wrong by the description's schemas is found with them. What only the server can know to be
wrong (a time zone that there is not, a cycle) is in `worse_requests`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.service.description import is_valid, operations
from thermostat.api.composite import CONNECTIVES
from thermostat.api.openapi.document import document

JSON = "application/json"
NESTED: Any = []
for _ in range(50):
    NESTED = [NESTED]
ODD_VALUES = [
    None,
    True,
    0,
    -1,
    1.5,
    101,
    2**31,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "x",
    "x" * 256,
    "x" * 10_001,
    "\0",
    "a\0b",
    "\ud800",
    "null",
    "nan",
    "-Infinity",
    "1e999",
    "1_000",
    "\u0661",
    "ok ",
    "2026-13-01T00:00:00",
    "'; drop table alarm; --",
    [],
    [1],
    [None],
    ["x", "x"],
    {},
    {"x": 1},
    {"type": "threshold"},
    NESTED,
]
"""Each is wrong for most fields."""
LAST_COUNTS = ("/v2/quotas", "project_id")
"""A parameter that may be there twice, as with Aodh: it is no bad request."""


@dataclass(frozen=True)
class Bad:
    """One request that must be refused."""

    method: str
    path: str
    why: str
    body: bytes | None = None
    query: str = ""
    content_type: str | None = JSON
    names: str | None = None
    """What the refusal's sentence must name."""
    statuses: tuple[int, ...] = (400,)
    headers: dict[str, str] = field(default_factory=dict)


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def wrong_bodies() -> Iterator[Bad]:
    """Every field of every JSON body: each odd value that the schema forbids; left out; unknown."""
    for method, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {}).get(JSON)
        if not content:
            continue
        schema = content["schema"]
        for example in content["examples"].values():
            body = example["value"]
            for place, changed in changes(schema, body):
                if _has_no_json(changed):
                    yield Bad(method, path, f"{place}: no JSON", encoded(changed), names="JSON")
                elif not is_valid(schema, changed):
                    yield Bad(method, path, f"{place}", encoded(changed), names=_name(place))


def changes(schema: Any, body: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Give (where, the body with something else there), for each place of a body."""
    for place, known in places(schema, body):
        for odd in ODD_VALUES:
            yield place, put(body, place, odd)
        if known:
            for name in known["required"]:
                yield (*place, name), without(body, (*place, name))
            yield (*place, "unknown"), put(body, (*place, "unknown"), 1)
            yield (*place, "unknown"), put(body, (*place, "unknown"), None)


def places(schema: Any, body: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Give each place of a body, those that it leaves out too, with the schema of its object."""
    found = resolve(schema, body)
    if found.get("type") != "object" or not isinstance(body, dict):
        yield place, None
        if isinstance(body, list):
            for position, item in enumerate(body):
                yield from places(found.get("items", {}), item, (*place, position))
        return
    yield place, {"required": found.get("required", [])}
    for name, member in found.get("properties", {}).items():
        if name in body:
            yield from places(member, body[name], (*place, name))
        else:
            yield (*place, name), None


def resolve(schema: Any, value: Any) -> Any:
    """Follow references and alternatives to the schema that this value is of."""
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for word in ("oneOf", "anyOf"):
        if word in schema and "properties" not in schema:
            for one in schema[word]:
                if is_valid(one, value):
                    return resolve(one, value)
    return schema


def put(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Give the body with this value at this place."""
    if not place:
        return value
    first, *rest = place
    copy = dict(body) if isinstance(body, dict) else list(body)
    copy[first] = put(body[first], tuple(rest), value) if rest else value
    return copy


def without(body: Any, place: tuple[Any, ...]) -> Any:
    """Give the body without what is at this place."""
    *outer, last = place
    inner = body
    for step in outer:
        inner = inner[step]
    return put(body, tuple(outer), {name: one for name, one in inner.items() if name != last})


def _has_no_json(value: Any) -> bool:
    """Tell whether a value is written with what JSON does not have: NaN, Infinity, half a pair."""
    text = json.dumps(value)
    return any(word in text for word in ("NaN", "Infinity,", "Infinity}", "Infinity]", "\\ud800"))


def _name(place: tuple[Any, ...]) -> str | None:
    words = [step for step in place if isinstance(step, str) and step not in CONNECTIVES]
    return words[-1] if words else None


def broken_bodies() -> Iterator[Bad]:
    """What is no JSON, is not of the type that it says, or is too long."""
    for method, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {}).get(JSON)
        if not content:
            continue
        body = encoded(next(iter(content["examples"].values()))["value"])
        for cut in range(0, len(body), 7):
            yield Bad(method, path, f"cut after {cut}", body[:cut])
        for why, broken in {
            "twice": body + body,
            "a byte that is not UTF-8": body[:-2] + b"\xff" + body[-2:],
            "a byte order mark of UTF-16": body.decode().encode("utf-16"),
            "a comment": b"/* */" + body,
            "a NUL after it": body + b"\0",
            "1 000 lists": b"[" * 1000 + b"]" * 1000,
            "100 000 open lists": b"[" * 100_000,
            "40 000 open objects": b'{"a":' * 40_000,
            "a number beyond every float": b"1e999",
            "a number of 100 000 digits": b"9" * 100_000,
        }.items():
            yield Bad(method, path, why, broken)
        for content_type in ("text/plain", "application/xml", "multipart/form-data", "x/y; z"):
            yield Bad(
                method,
                path,
                f"Content-Type {content_type}",
                body,
                content_type=content_type,
                statuses=(415,),
                names="Content-Type",
            )
        if not path.endswith("samples"):
            padded = body + b" " * 300_000
            yield Bad(method, path, "too long", padded, statuses=(413,), names="longer")


def wrong_parameters() -> Iterator[Bad]:
    """Every query parameter: values that its schema forbids, NUL, terms that are not whole."""
    for method, path, operation in operations():
        for parameter in operation["parameters"]:
            if parameter["in"] != "query":
                continue
            name, schema = parameter["name"], parameter["schema"]
            item = schema.get("items", schema)
            for odd in ODD_VALUES:
                text = odd if isinstance(odd, str) else json.dumps(odd)
                if "\ud800" in text or not _is_wrong_text(item, text):
                    continue
                terms = [(name, text)]
                if name.startswith("q."):
                    whole = {"q.field": "type", "q.op": "eq", "q.value": "x"} | {name: text}
                    terms = list(whole.items())
                yield Bad(method, path, f"{name}={text[:20]!r}", query=urlencode(terms))
            yield Bad(method, path, f"{name} has a NUL", query=f"{name}=%00", names=name[:1])
            if "items" not in schema and (path, name) != LAST_COUNTS:
                yield Bad(method, path, f"{name} twice", query=f"{name}=1&{name}=2", names=name)
            if name.startswith("q."):
                yield Bad(method, path, f"{name} alone", query=f"{name}=eq", names="q")


def _is_wrong_text(schema: Any, text: str) -> bool:
    """Tell whether a text, or the number that it may stand for, is none that a parameter takes."""
    if schema.get("type") == "integer":
        if not (text.isascii() and text.isdigit()):
            return True
        return not is_valid(schema, int(text))
    return not is_valid(schema, text)


def wrong_paths() -> Iterator[Bad]:
    """Alarms that there are not, methods that a path does not have, and paths that are none."""
    ids = ["x", "0", "null", "%00", "a%00b", "%FF", "x" * 300, quote("ä€😀")]
    ids += [f"{number:032x}" for number in range(20)]
    known: dict[str, set[str]] = {}
    for method, path, operation in operations():
        known.setdefault(path, set()).add(method)
        if "{alarm_id}" not in path:
            continue
        content = operation.get("requestBody", {}).get("content", {}).get(JSON)
        body = encoded(next(iter(content["examples"].values()))["value"]) if content else None
        for odd in ids:
            where = path.replace("{alarm_id}", odd)
            yield Bad(method, where, "no such alarm", body, statuses=(404,), names="not found")
    for path, methods in known.items():
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"} - methods:
            yield Bad(method, path, "no such method", statuses=(405,))
    for path in (
        "/v1",
        "/v3/alarms",
        "/v2/alarms/x/y/z",
        "/v2/alarms//state",
        "/%00",
        "/v2/nothing",
    ):
        for method in ("GET", "POST", "PUT", "DELETE"):
            yield Bad(method, path, "no such path", statuses=(404, 405))


def all_requests() -> Iterator[Bad]:
    """Give every bad request that follows from the description."""
    yield from wrong_bodies()
    yield from broken_bodies()
    yield from wrong_parameters()
    yield from wrong_paths()
