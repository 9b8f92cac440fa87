# SPDX-License-Identifier: Apache-2.0
"""Writes docs/api-ref, a page per noun, from the API's OpenAPI description.

The answers in the pages are what the application answers to the requests beside them.
"""

import json
import pathlib
import random
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any
from unittest import mock
from urllib.parse import urlencode

from falcon.testing import TestClient
from oslo_config import cfg

from thermostat.alarms.model import State, Transition
from thermostat.api import alarm_form
from thermostat.api.app import create_api
from thermostat.api.openapi import examples, silences
from thermostat.api.openapi.document import ERRORS, NOUNS, document
from thermostat.api.policies import load_enforcer
from thermostat.api.services import Services
from thermostat.db.alarms import AlarmRepository
from thermostat.db.deliveries import Deliveries
from thermostat.db.engine import open_engine
from thermostat.db.history import Author
from thermostat.db.outbox import Outbox, Outcome, Status
from thermostat.db.retired_trusts import RetiredTrusts
from thermostat.db.schema import upgrade
from thermostat.db.signing import WebhookSecrets
from thermostat.db.silences import SilenceRepository
from thermostat.ingest import Ingest
from thermostat.store.memory import MemoryStore

ROOT = pathlib.Path(__file__).parents[1]
SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="  # noqa: S105 - no server's
"""What stands for the secret that notifications are signed with; it is no server's."""
WHERE = ROOT / "docs" / "api-ref"
NOW_S = 1_767_225_720.0
"""The time in the examples: 2026-01-01T00:02:00."""
HEADERS = {"X-User-Id": "alice", "X-Project-Id": "p1", "X-Roles": "admin,member,reader"}
NOTE = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by `make api-ref` from the code's own tables, types and docstrings: edit those. -->
"""
JSON = "application/json"
OBJECTS = "The defaults are those of requests. An answer has every field, set or null."
HOMES = {"Error": "README"} | {name: noun.TAG for noun in NOUNS for name in noun.schemas()}
"""The page that describes each object."""


class NoTrusts:
    """Stands in for Keystone: the examples' trusts are never used."""

    def create(self, _caller: object) -> str:
        """Give some id."""
        return "trust"

    def abandon(self, _caller: object, _trust_id: str) -> None:
        """Do nothing."""


class Server:
    """The application with nothing stored yet; its ids and its clock are always the same."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._engine = open_engine(f"sqlite:///{directory / 'db.sqlite'}")
        upgrade(self._engine)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        store = MemoryStore()
        self._alarms = AlarmRepository(self._engine, counts_results=True)
        self._outbox = Outbox(self._engine)
        self.notification_id = "none"
        self._client = TestClient(
            create_api(
                Services(
                    store=store,
                    ingest=Ingest(store, lambda _batch: None, clock=lambda: int(NOW_S * 1e6)),
                    alarms=self._alarms,
                    silences=SilenceRepository(self._engine),
                    outbox=self._outbox,
                    deliveries=Deliveries(self._engine),
                    retired_trusts=RetiredTrusts(self._engine),
                    webhook_secrets=WebhookSecrets(self._engine),
                    enforcer=load_enforcer(conf),
                    trusts=NoTrusts(),
                    schemes=frozenset({"http", "https", "trust+http", "trust+https"}),
                    alarm_changed=lambda _alarm_id: None,
                    clock=lambda: NOW_S,
                )
            )
        )

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def create(self, alarm_id: str) -> None:
        """Create an alarm with this id."""
        _, alarm = alarm_form.decode(
            dict(examples.ALARMS["threshold"]),
            alarm_id=alarm_id,
            user_id="alice",
            project_id="p1",
            now_us=int(NOW_S * 1e6),
        )
        self._alarms.create(alarm, Author(user_id="alice", project_id="p1"))

    def give_up_one(self, alarm_id: str) -> str:
        """Have a notification of an alarm that is given up; give its id."""
        alarm = self._alarms.find(alarm_id)
        assert alarm is not None  # noqa: S101 - for the type checker
        now_us = int(NOW_S * 1e6)
        self._alarms.record(
            Transition(
                alarm_id=alarm_id,
                revision=alarm.revision,
                previous=alarm.state,
                state=State.ALARM,
                reason="cpu_util is above 70",
                reason_data={},
                timestamp_us=now_us,
            )
        )
        (due,) = self._outbox.due(now_us, 1)
        self._outbox.settle([Outcome(due.notification_id, Status.DEAD, "HTTP 410")], now_us)
        return due.notification_id

    def __call__(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        """Give the status and the JSON of an answer."""
        sent = {} if body is None else {"json": body}
        answer = self._client.simulate_request(
            method, path, query_string=query, headers=HEADERS, **sent
        )
        return answer.status_code, answer.json if answer.content else None


def fixed_ids() -> Iterator[uuid.UUID]:
    """Give the ids of what is created, the same each time."""
    drawn = random.Random(1)  # noqa: S311 - they only look like ids
    while True:
        yield uuid.UUID(int=drawn.getrandbits(128), version=4)


def pages() -> dict[str, str]:
    """Give each page by the name of its file."""
    ids = fixed_ids()
    with (
        tempfile.TemporaryDirectory() as directory,
        mock.patch("uuid.uuid4", side_effect=ids),
        mock.patch("thermostat.db.signing._new", return_value=SECRET),
    ):
        server = Server(pathlib.Path(directory))
        try:
            return _pages(server)
        finally:
            server.close()


def _pages(server: Server) -> dict[str, str]:
    named = examples.RULES["combination"]["alarm_ids"]
    for alarm_id in named:
        server.create(alarm_id)
    server("POST", "/v2/samples", "", examples.SAMPLES["the HTTP publisher's form"])
    made = {"README.md": index()}
    for noun in NOUNS:
        if noun.TAG == "notifications":
            server.notification_id = server.give_up_one(named[0])
        made[f"{noun.TAG}.md"] = page(noun.TAG, server, named[0])
    return made


def index() -> str:
    """Give the page that lists the others."""
    lines = [
        NOTE,
        "# API reference",
        "",
        "Made from the OpenAPI 3.1 description that the server itself serves, without a token, at",
        "`GET /openapi.json`. [The HTTP API](../api.md) says what it all means.",
        "",
        "Every request but those for public pages needs a token in `X-Auth-Token`. Numbers and",
        "booleans in a body may also be text. Where a field has a default, `null` means it.",
        "",
        "| operation | |",
        "|---|---|",
    ]
    for method, path, operation in _operations():
        tag = operation["tags"][0]
        link = f"{tag}.md#{_slug(operation['summary'])}"
        lines.append(f"| `{method} {path}` | [{operation['summary']}]({link}) |")
    lines += ["", "## Refusals and failures", "", "| status | |", "|---|---|"]
    lines += [f"| {status} | {text} |" for status, text in ERRORS.items()]
    return "\n".join([*lines, "", *_object("Error")])


def page(tag: str, server: Server, alarm_id: str) -> str:
    """Give the page of a noun."""
    lines = [NOTE, f"# API reference: {tag}", ""]
    shown: dict[str, None] = {}
    for method, path, operation in _operations():
        if operation["tags"] == [tag]:
            lines += _operation(method, path, operation, server, alarm_id)
            shown |= dict.fromkeys(_names(operation, shown))
    shown.pop("Error", None)
    forms = {
        where.rpartition("/")[2]
        for schema in document()["components"]["schemas"].values()
        for where in schema.get("discriminator", {}).get("mapping", {}).values()
    }
    names = {
        _label(name): name
        for name in sorted(shown, key=lambda name: name.endswith("Request"))
        if HOMES[name] == tag and not name.startswith("Sub") and name not in forms
    }
    lines += ["## Objects", "", OBJECTS, ""] if names else []
    for name in names.values():
        lines += _object(name)
    return "\n".join(lines)


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


def _operation(
    method: str, path: str, operation: dict[str, Any], server: Server, alarm_id: str
) -> list[str]:
    lines = [f"## {operation['summary'].rstrip('.')}", "", f"`{method} {path}`", ""]
    if "description" in operation:
        lines += [operation["description"], ""]
    policies = operation.get("x-openstack-policies")
    if policies:
        lines += [f"Policy: {', '.join(f'`{name}`' for name in policies)}.", ""]
    else:
        lines += ["Anybody may do this, without a token.", ""]
    asked = [one for one in operation["parameters"] if one["in"] == "query"]
    if asked:
        lines += ["| query parameter | takes | |", "|---|---|---|"]
        lines += [
            f"| `{one['name']}` | {_said(_kind(one['schema']))} | {_cell(one['description'])} |"
            for one in asked
        ]
        lines.append("")
    lines += _example(method, path, operation, server, alarm_id)
    refusals = [status for status in operation["responses"] if int(status) >= 400]
    if refusals and policies:
        lines += [f"Refusals: {', '.join(refusals)}; see [the list](README.md).", ""]
    return lines


def _example(
    method: str, path: str, operation: dict[str, Any], server: Server, alarm_id: str
) -> list[str]:
    """Give a request and what is answered to it; more bodies, if there are."""
    content = operation.get("requestBody", {}).get("content", {})
    lines = []
    if content:
        lines += [f"The body is {_kind(content[JSON]['schema'])}.", ""]
        others = ", ".join(f"`{kind}`" for kind in content if kind != JSON)
        lines += [f"Also taken: {others}.", ""] if others else []
    bodies = [one["value"] for one in content.get(JSON, {}).get("examples", {}).values()] or [None]
    if method == "PUT":  # it takes what POST takes
        bodies = bodies[:1]
    of = {"alarm_id": alarm_id, "meter": "cpu_util", "project_id": "p1"}
    if "{silence_id}" in path:
        of["silence_id"] = server("POST", "/v2/silences", "", silences.EXAMPLE)[1]["silence_id"]
    path = path.format(**of, notification_id=server.notification_id)
    query = urlencode(
        [
            (one["name"], value)
            for one in operation["parameters"]
            if "example" in one
            for value in (one["example"] if isinstance(one["example"], list) else [one["example"]])
        ]
    )
    if path in {"/openapi.json", "/metrics"}:
        return lines
    if method == "DELETE" and "/alarms/" in path:
        made = server("POST", "/v2/alarms", "", examples.ALARMS["threshold"])[1]["alarm_id"]
        path = f"/v2/alarms/{made}"
    for position, body in enumerate(bodies):
        status, answer = server(method, path, query, body)
        if status >= 400:
            sys.exit(f"{method} {path} is answered {status}: {answer}")
        lines += ["```http", f"{method} {path}{f'?{query}' if query else ''}"]
        lines += [] if body is None else ["", _json(body)]
        lines += ["```", ""]
        if position == 0:
            lines += [f"Answer, {status}: {operation['responses'][str(status)]['description']}", ""]
            lines += [] if answer is None else ["```json", _json(answer), "```", ""]
    return lines


def _object(name: str) -> list[str]:
    """Give the section of one schema."""
    schema = document()["components"]["schemas"][name]
    lines = [f"### {_label(name)}", ""]
    if "description" in schema:
        lines += [schema["description"], ""]
    if "enum" in schema:
        return [*lines, f"One of {_words(schema['enum'])}.", ""]
    if "discriminator" in schema:
        return [*lines, *_by_type(schema["discriminator"]["mapping"])]
    if "properties" not in schema:
        for one in schema["oneOf"]:
            lines.append(f"- {_alternative(one)}")
        return [*lines, ""]
    return [*lines, *_fields(schema)]


def _by_type(mapping: dict[str, str]) -> list[str]:
    """Give the fields of an object that has one form for each type: those of all, and its own."""
    forms = {kind: _target(where) for kind, where in mapping.items()}
    common, lines = dict(next(iter(forms.values()))), []
    properties = {"type": {"enum": list(forms), "description": "Which rule it has."}}
    for kind, form in forms.items():
        rule = form["properties"][f"{kind}_rule"]["$ref"].rpartition("/")[2]
        lines.append(f"| `{kind}` | `{kind}_rule` | {_link(rule)} |")
    properties |= {
        field: member
        for field, member in common["properties"].items()
        if not field.endswith("_rule") and field != "type"
    }
    common |= {"properties": properties, "required": ["name", "type"]}
    return [*_fields(common), "| `type` | has | which is |", "|---|---|---|", *lines, ""]


def _target(reference: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _fields(schema: dict[str, Any]) -> list[str]:
    """Give the table of an object's fields."""
    lines = ["| field | takes | default | |", "|---|---|---|---|"]
    required = schema.get("required", [])
    for field, member in schema["properties"].items():
        if member == {"type": "null"}:
            continue
        default = json.dumps(member["default"]) if "default" in member else ""
        default = "required" if field in required else f"`{default}`" if default else ""
        said = _cell(member.get("description", ""))
        lines.append(f"| `{field}` | {_said(_kind(member))} | {default} | {said} |")
    return [*lines, ""]


def _alternative(schema: dict[str, Any]) -> str:
    """Say in a line which form an object may have."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = document()["components"]["schemas"][name]
        kind = schema.get("properties", {}).get("type", {}).get("const")
        if not name.startswith("Sub"):
            return _link(name)
    else:
        kind = schema.get("properties", {}).get("type", {}).get("const")
    words = [word for word in ("and", "or", "not") if word in schema.get("required", [])]
    if words:
        return f"`{words[0]}`: {_kind(schema['properties'][words[0]])}"
    rules = {**dict(_rule_names()), "alarm": "Reference"}
    return f"`type`: `{kind}`, beside the fields of {_link(rules[kind])}"


def _rule_names() -> Iterator[tuple[str, str]]:
    for name, schema in document()["components"]["schemas"].items():
        kind = schema.get("properties", {}).get("type", {}).get("const")
        if name.startswith("Sub") and name.endswith("Request"):
            yield kind, name.removeprefix("Sub")


def _kind(schema: dict[str, Any]) -> str:  # noqa: PLR0911 - a case per form
    """Say in words what a schema takes."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        target = document()["components"]["schemas"][name]
        return _words(target["enum"]) if "enum" in target else _link(name)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return _words(schema["enum"])
    for word in ("oneOf", "anyOf"):
        if word in schema:
            forms = [_kind(one) for one in schema[word] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(forms))
    kinds = schema.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    for kind in ("boolean", "integer", "number"):
        if kind in kinds:
            return kind + _range(schema, "minimum", "maximum") * (kind != "boolean")
    if "array" in kinds:
        few, many = schema.get("minItems"), schema.get("maxItems")
        count = f", at least {few}" if few else ""
        count += f", at most {many}" if many else ""
        return f"list of {_kind(schema.get('items', {}))}{count}"
    if "string" in kinds:
        return "text" + _range(schema, "minLength", "maxLength", " characters")
    return kinds[0]


def _range(schema: dict[str, Any], low: str, high: str, unit: str = "") -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        if "exclusiveMinimum" in schema:
            return f", more than {schema['exclusiveMinimum']:g}"
        return ""
    if most is None:
        return f", at least {least}{unit}" if least != 1 or not unit else ", not empty"
    if least is None:
        return f", up to {most}{unit}"
    return f", {least} to {most}{unit}"


def _names(node: Any, known: Any) -> Iterator[str]:
    """Give the schemas that an operation refers to, directly or not, once."""
    seen = set(known)
    waiting = [node]
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, dict):
            name = str(current.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                schema = document()["components"]["schemas"][name]
                if "enum" not in schema:
                    yield name
                waiting.append(schema)
            waiting += [value for key, value in current.items() if key != "examples"]
        elif isinstance(current, list):
            waiting += current


def _label(name: str) -> str:
    """Give the name of an object, one for its forms in requests and in answers."""
    return name.removesuffix("Request")


def _link(name: str) -> str:
    return f"[{_label(name)}]({HOMES[name]}.md#{_label(name).lower()})"


def _words(values: list[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values if value != "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _said(text: str) -> str:
    return text.replace("|", "\\|")


def _slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def main() -> None:
    """Write the pages, and remove those of nouns that are gone."""
    WHERE.mkdir(exist_ok=True)
    made = pages()
    for old in WHERE.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (WHERE / name).write_text(text)


if __name__ == "__main__":
    main()
