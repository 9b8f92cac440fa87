# SPDX-License-Identifier: Apache-2.0
"""Requests that are right by the description's schemas, and which the server must refuse anyway."""

import json
from collections.abc import Iterator
from typing import Any

from tests.service.bad_requests import Bad, encoded
from thermostat.api.composite import MAX_DEPTH, MAX_PARTS
from thermostat.api.filters import (
    MOST_COMPARISONS,
    MOST_LEVELS,
    MOST_SORT_KEYS,
    MOST_VALUES,
)
from thermostat.api.openapi import examples
from thermostat.patterns import MAX_PATTERN

ALARM = examples.alarm("threshold")
RULE = ALARM["threshold_rule"]
PLAIN = {key: value for key, value in ALARM.items() if key not in {"type", "threshold_rule"}}
LEAF = {"type": "threshold", **RULE}
NOBODY = "00000000-0000-4000-8000-000000000000"

CRONS = [
    "x",
    "* * * *",
    "* * * * * *",
    "60 * * * *",
    "0 24 * * *",
    "0 0 32 * *",
    "0 0 31 2 *",
    "0 0 * 13 *",
    "0 0 * * 8",
    "*/0 * * * *",
    "5-1-2 * * * *",
    "h * * * *",
    "r * * * *",
    "@never",
    "@reboot",
    "0 0 L W *",
    "\u0660 * * * *",
    "",
]
ZONES = ["Europe/Nowhere", "../../etc/passwd", "/etc/localtime", "Europe", "\0", "UTC+1", "x" * 255]
URLS = {
    "ftp://host/": "scheme",
    "file:///etc/passwd": "scheme",
    "javascript:alert(1)": "scheme",
    "host/path": "scheme",
    "//host/": "scheme",
    "http://": "host",
    "http:///path": "host",
    "https://[::1": "URL",
    "http://host:port/": "URL",
    "http://host:99999/": "URL",
    "http://user:password@host/": "user name",
    "trust+http://token@host/": "user name",
    "zaqar://": "topic is missing",
    "zaqar://?subscriber=http://h/": "topic is missing",
    "zaqar://?topic=a%2Fb": "topic must be",
    "zaqar://?topic=t&ttl=0": "ttl must be",
    "zaqar://?topic=t&ttl=long": "ttl must be",
    "zaqar://?topic=t&subscriber=http://h/?a=1&b=2": "unknown parameter 'b'",
    "zaqar://?topic=t&subscriber=": "subscriber",
    "zaqar://?topic=t&subscriber=mailto:a@b": "subscriber",
    "zaqar://?topic=t&subscriber=trust%2Bhttp://h/": "subscriber",
    "zaqar://?topic=t&subscriber=http:///path": "host",
    "zaqar://?topic=t&subscriber=http://169.254.169.254/": "link-local",
    "zaqar://?topic=t&subscriber=http://u:p@h/": "user name",
    "zaqar://?topic=t&subscriber=http://h/%0D%0Ax": "control characters",
    "zaqar://?topic=t&subscriber=http://h:port/": "URL",
    "trust+zaqar://": "queue_name is missing",
    "trust+zaqar://?queue_name=a%20b": "queue_name must be",
    "trust+zaqar://?topic=t": "unknown parameter 'topic'",
    "trust+zaqar://host?queue_name=q": "only a query",
}
FIELDS = ["unknown", "metadatax", "resource_id.x", "METADATA.x"]


def worse_requests(mine: str, above: str, foreign: str) -> Iterator[Bad]:
    """Give them, about these alarms; `above` names `mine`, `foreign` is another project's."""
    for why, body, names, statuses in _definitions(foreign):
        for method, path in (("POST", "/v2/alarms"), ("PUT", "/v2/alarms/{alarm_id}")):
            yield Bad(method, path, why, encoded(body), names=names, statuses=statuses)
    for field in ("project_id", "user_id"):
        body, said = encoded({**ALARM, field: "somebody"}), field.removesuffix("_id")
        yield Bad("POST", "/v2/alarms", "another owner", body, names=said, statuses=(401,))
    yield from _cycles(mine, above)
    yield from _previews()
    yield from _strangers(foreign)
    yield from _readers()
    yield from _lists(foreign)
    yield from _samples()
    yield from _searches()


def _definitions(foreign: str) -> Iterator[tuple[str, Any, str, tuple[int, ...]]]:
    for cron in CRONS:
        yield "cron", _constrained(start=cron), "time_constraints[0].start", (400,)
    for zone in ZONES:
        yield "zone", _constrained(timezone=zone), "time_constraints[0].timezone", (400,)
    for state in ("ok", "alarm", "insufficient_data"):
        for url, reason in URLS.items():
            yield "URL", {**ALARM, f"{state}_actions": [url]}, reason, (400,)
        for url in ("log://", "log://x"):
            yield "admin's URL", {**ALARM, f"{state}_actions": [url]}, "log", (401,)
    for change, field in (
        ({"threshold": "nan"}, "threshold"),
        ({"evaluation_periods": 2, "datapoints_to_alarm": 3}, "datapoints_to_alarm"),
        ({"clear_threshold": 71}, "clear_threshold"),
        ({"comparison_operator": "lt", "clear_threshold": 69}, "clear_threshold"),
        ({"comparison_operator": "eq", "clear_threshold": 70}, "clear_threshold"),
        ({"period": "0"}, "period"),
        ({"period": "1e9"}, "period"),
        ({"threshold": "9" * 400}, "threshold"),
        *(({"query": [{"field": name, "value": "x"}]}, "query[0].field") for name in FIELDS),
    ):
        yield "rule", {**ALARM, "threshold_rule": {**RULE, **change}}, field, (400,)
        composite = {"and": [LEAF, {**LEAF, **change}]}
        yield "composite", _composite(composite), f"and[1].{field}", (400,)
    deep: Any = LEAF
    for _ in range(MAX_DEPTH):
        deep = {"not": deep}
    yield "too deep", _composite(deep), "deep", (400,)
    yield "too many", _composite({"or": [LEAF] * (MAX_PARTS + 1)}), "more than", (400,)
    for alarm_id in (NOBODY, foreign, "x"):
        yield "no such alarm", _combination(alarm_id, "y"), "alarm_ids[0]", (400,)
        reference = {"type": "alarm", "alarm_id": alarm_id}
        yield "no such alarm", _composite({"and": [LEAF, reference]}), "and[1].alarm_id", (400,)
        suppressed = {"and": [LEAF, LEAF], "suppressor": alarm_id}
        yield "no such alarm", _composite(suppressed), "suppressor", (400,)


def _cycles(mine: str, above: str) -> Iterator[Bad]:
    reference = {"type": "alarm", "alarm_id": above}
    itself = {"type": "alarm", "alarm_id": mine}
    for rule in (
        {"and": [LEAF, reference]},
        {"or": [{"not": reference}, LEAF]},
        {"and": [LEAF, LEAF], "suppressor": above},
        {"and": [LEAF, itself]},
    ):
        yield Bad(
            "PUT", f"/v2/alarms/{mine}", "cycle", encoded(_composite(rule)), names="composite_rule"
        )
    body = _combination(above, mine)
    yield Bad("PUT", f"/v2/alarms/{mine}", "cycle", encoded(body), names="combination_rule")


def _previews() -> Iterator[Bad]:
    for span, field in (
        ({"hours": 169}, "hours"),
        ({"hours": "nan"}, "hours"),
        ({"hours": 1, "start": "2026-01-01T00:00:00"}, "hours"),
        ({"start": "yesterday"}, "start"),
        ({"end": "2999-01-01T00:00:00"}, "end"),
        ({"end": "0001-01-01T00:00:00+23:00"}, "hours"),
        ({"start": "9999-12-31T23:59:59-23:00"}, "start"),
        ({"start": "2026-01-02T00:00:00", "end": "2026-01-01T00:00:00"}, "start"),
    ):
        body = encoded({**ALARM, **span})
        yield Bad("POST", "/v2/alarms/preview", "span", body, names=field)


def _strangers(foreign: str) -> Iterator[Bad]:
    """Another project's alarm does not exist."""
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "", ALARM),
        ("DELETE", "", None),
        ("GET", "/state", None),
        ("PUT", "/state", "ok"),
        ("GET", "/history", None),
    ):
        yield Bad(
            method,
            f"/v2/alarms/{foreign}{path}",
            "another project's",
            None if body is None else encoded(body),
            statuses=(404,),
            names="not found",
        )


def _readers() -> Iterator[Bad]:
    """Who may read may not write."""
    for method, path, body in (
        ("POST", "/v2/alarms", ALARM),
        ("POST", "/v2/alarms/preview", ALARM),
        ("PUT", "/v2/alarms/{alarm_id}", ALARM),
        ("PUT", "/v2/alarms/{alarm_id}/state", "ok"),
        ("DELETE", "/v2/alarms/{alarm_id}", None),
        ("POST", "/v2/samples", []),
    ):
        yield Bad(
            method,
            path,
            "a reader",
            None if body is None else encoded(body),
            statuses=(403,),
            headers={"X-Roles": "reader"},
        )


def _lists(foreign: str) -> Iterator[Bad]:
    for query, names in {
        "q.field=project_id&q.value=p2": "",
        "q.field=all_projects&q.value=true": "",
    }.items():
        yield Bad(
            "GET", "/v2/alarms", "others' alarms", query=query, names=names, statuses=(401, 403)
        )
    for query, names in {
        "q.field=enabled&q.value=maybe": "enabled",
        "q.field=state&q.value=burning": "state",
        "q.field=severity&q.value=x": "severity",
        "q.field=timestamp&q.value=noon": "timestamp",
        "q.field=name&q.op=eq&q.op=eq&q.value=a": "q",
        "q.field=name": "q",
        f"marker={foreign}": "marker",
        "marker=x": "marker",
        "sort=name:up": "sort",
        "sort=secret": "sort",
        "limit=2147483648": "limit",
        "limit=99999999999999999999999999": "limit",
    }.items():
        yield Bad("GET", "/v2/alarms", "list", query=query, names=names)
    for query, names in {
        "q.field=timestamp&q.op=eq&q.value=2026-01-01": "timestamp",
        "q.field=timestamp&q.op=gt&q.value=noon": "timestamp",
        "q.field=unknown&q.op=eq&q.value=x": "unknown",
        "groupby=unknown": "groupby",
        "period=-1": "period",
        "aggregate.func=median": "aggregate.func",
        "aggregate.func=avg&aggregate.param=1": "aggregate.param",
    }.items():
        yield Bad("GET", "/v2/meters/{meter}/statistics", "list", query=query, names=names)


BAD_FILTERS = [
    "",
    "x",
    "null",
    "1",
    "[]",
    "{}",
    "NaN",
    '{"=": {}}',
    '{"=": {"name": "a", "type": "b"}}',
    '{"=": ["name", "a"]}',
    '{"=": {"name": "a"}, "!=": {"name": "b"}}',
    '{"=": {"colour": "red"}}',
    '{"=": {"alarm_actions": "x"}}',
    '{"=": {"trust_id": "x"}}',
    '{"=": {"name": {"a": 1}}}',
    '{"=": {"name": ["a"]}}',
    '{"=": {"timestamp": "noon"}}',
    '{"<": {"timestamp": "9999-99-99"}}',
    '{"~": {"name": "a"}}',
    '{"and": {"=": {"name": "a"}}}',
    '{"and": []}',
    '{"or": [{"=": {"name": "a"}}]}',
    '{"and": [{"=": {"name": "a"}}, 5]}',
    '{"not": []}',
    '{"not": null}',
    '{"in": {"name": "a"}}',
    '{"in": {"name": [["a"]]}}',
    '{"=~": {"name": "("}}',
    '{"=~": {"name": 5}}',
    '{"=~": {"name": "(?=a)"}}',
    '{"=": {"name": "\\u0000"}}',
    '{"=": {"name": "\\ud800"}}',
    json.dumps({"=~": {"name": "x" * (MAX_PATTERN + 1)}}),
    json.dumps({"in": {"name": ["x"] * (MOST_VALUES + 1)}}),
    json.dumps({"or": [{"=": {"name": "x"}}] * (MOST_COMPARISONS + 1)}),
    '{"not": ' * MOST_LEVELS + '{"=": {"name": "x"}}' + "}" * MOST_LEVELS,
    '{"not": ' * 10_000 + "1" + "}" * 10_000,
]
BAD_ORDERS = [
    "",
    "x",
    "1",
    "{}",
    '["name"]',
    '[{"colour": "asc"}]',
    '[{"name": "up"}]',
    '[{"name": 1}]',
    '[{"name": "asc", "type": "asc"}]',
    '[{"alarm_actions": "asc"}]',
    json.dumps([{"type": "asc"}] * (MOST_SORT_KEYS + 1)),
]


def _searches() -> Iterator[Bad]:
    """What is no filter and no order; and another project in one."""
    for path, owner in (
        ("/v2/query/alarms", "project_id"),
        ("/v2/query/alarms/history", "on_behalf_of"),
    ):
        for text in BAD_FILTERS:
            yield Bad("POST", path, "filter", encoded({"filter": text}), names="filter")
        for text in BAD_ORDERS:
            yield Bad("POST", path, "orderby", encoded({"orderby": text}), names="orderby")
        body = encoded({"filter": json.dumps({"=": {owner: "p2"}})})
        yield Bad("POST", path, "another project", body, statuses=(401, 403))


def _samples() -> Iterator[Bad]:
    good = examples.SAMPLES["the HTTP publisher's form"][0]
    for change, field in (
        ({"timestamp": "1969-12-31T23:59:59"}, "timestamp"),
        ({"timestamp": "2999-01-01T00:00:00"}, "timestamp"),
        ({"timestamp": "noon"}, "timestamp"),
    ):
        for path in ("/v1/samples", "/v2/samples"):
            yield Bad("POST", path, "sample", encoded([good, {**good, **change}]), names=field)
    deep: Any = "x"
    for _ in range(30):
        deep = {"a": deep}
    body = encoded([{**good, "resource_metadata": deep}])
    yield Bad("POST", "/v2/samples", "too deep", body, names="resource_metadata")
    for content_type in ("application/vnd.thermostat.samples+msgpack",):
        for body in (b"", b"\xc1", b"\x80", b"\xdf\xff\xff\xff\xff", encoded([good])):
            yield Bad("POST", "/v2/samples", "columns", body or b"\0", content_type=content_type)


def _constrained(**changes: str) -> dict[str, Any]:
    constraint = {"name": "n", "start": "0 8 * * *", "duration": 60, "timezone": "", **changes}
    return {**ALARM, "time_constraints": [constraint]}


def _composite(rule: dict[str, Any]) -> dict[str, Any]:
    return {**PLAIN, "type": "composite", "composite_rule": rule}


def _combination(*alarm_ids: str) -> dict[str, Any]:
    return {**PLAIN, "type": "combination", "combination_rule": {"alarm_ids": list(alarm_ids)}}
