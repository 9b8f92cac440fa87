# SPDX-License-Identifier: Apache-2.0
"""Ten thousand bad requests: each is refused in Aodh's shape, and none of them changes anything."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from falcon.testing import Result, StartResponseMock, create_environ
from sqlalchemy import select

from tests.service import postgresql
from tests.service.bad_requests import Bad, all_requests
from tests.service.description import check_answer
from tests.service.worse_requests import worse_requests
from thermostat.api.openapi import examples
from thermostat.db.engine import open_engine
from thermostat.db.schema import upgrade
from thermostat.db.tables import METADATA

MANY = 10_000
FEW = 1_500
IDENTITY = {"X-User-Id": "alice", "X-Project-Id": "p1", "X-Roles": "member,reader,service"}
THRESHOLD = examples.alarm("threshold")


@dataclass(frozen=True)
class World:
    """A server with some alarms."""

    app: object
    engine: object
    mine: str
    above: str
    """The id of a combination that names `mine`."""
    foreign: str
    silence: str
    changes: list

    def send(self, bad: Bad):
        environ = create_environ(
            method=bad.method,
            path=bad.path.replace("{alarm_id}", self.mine)
            .replace("{meter}", "cpu_util")
            .replace("{silence_id}", self.silence),
            query_string=bad.query,
            body=bad.body or b"",
            headers=IDENTITY
            | ({"Content-Type": bad.content_type} if bad.content_type and bad.body else {})
            | bad.headers,
        )
        started = StartResponseMock()
        return Result(self.app(environ, started), started.status, started.headers)


SILENCE = {
    "matcher": [{"field": "name", "value": "other"}],
    "from": "2199-01-01T00:00:00",
    "until": "2199-01-01T06:00:00",
    "comment": "it stays as it is",
}


def rows(engine):
    """Every row of every table."""
    with engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in METADATA.sorted_tables
        }


@pytest.fixture(scope="module")
def postgres():
    with postgresql.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'db.sqlite'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    engine = open_engine(url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def world(services, engine, api):
    def made(body, **identity):
        answer = api("POST", "/v2/alarms", body, **identity)
        assert answer.status_code == 201, answer.text
        return answer.json["alarm_id"]

    plain = {key: value for key, value in THRESHOLD.items() if key != "threshold_rule"}
    services.alarms.counts_results = True
    mine, other = made(THRESHOLD), made(THRESHOLD)
    above = {
        **plain,
        "type": "combination",
        "combination_rule": {"alarm_ids": [mine, other]},
    }
    silence = api("POST", "/v2/silences", SILENCE)
    assert silence.status_code == 201, silence.text
    return World(
        app=api._client.app,
        engine=engine,
        mine=mine,
        above=made(above),
        foreign=made(THRESHOLD, user="bob", project="p2"),
        silence=silence.json["silence_id"],
        changes=services.alarm_changed,
    )


def refused(world, bad):
    """Send a request, and say what is wrong with its answer; None: nothing is."""
    answer = world.send(bad)
    said = f"{bad.method} {bad.path} ({bad.why}) {(bad.body or b'')[:200]!r} ?{bad.query}: "
    said += f"{answer.status_code} {answer.text[:300]}"
    if answer.status_code not in bad.statuses:
        return said
    try:
        check_answer(bad.method, bad.path.replace("{alarm_id}", "x"), answer)
        message = answer.json["error_message"]
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        return f"{said}: {error!r}"
    if bad.names and bad.names not in message["faultstring"]:
        return f"{said}: it does not name {bad.names}"
    return None


def check(world, requests):
    before, told = rows(world.engine), len(world.changes)
    wrong = [said for bad in requests if (said := refused(world, bad))]
    assert not wrong, f"{len(wrong)} of {len(requests)}:\n" + "\n".join(wrong[:20])
    assert rows(world.engine) == before
    assert len(world.changes) == told


def test_bad_requests(world):
    requests = list(all_requests())
    random.Random(4).shuffle(requests)
    dialect = world.engine.dialect.name
    requests = requests[: MANY if dialect == "sqlite" else FEW]
    assert len(requests) >= (MANY if dialect == "sqlite" else FEW)
    assert len(Counter((bad.method, bad.path) for bad in requests)) > 20
    check(world, requests)


def test_what_only_the_server_can_know_to_be_wrong(world):
    requests = list(worse_requests(world.mine, world.above, world.foreign))
    assert len(requests) > 200
    check(world, requests)


@pytest.mark.parametrize("kind", sorted(set(examples.ALARMS) - {"combination"}))
def test_over_quota(api, services, engine, alarm, kind):  # noqa: ARG001 - it counts
    services.alarms.set_quota("p1", 1)
    before = rows(engine)
    answer = api("POST", "/v2/alarms", examples.ALARMS[kind])
    assert answer.status_code == 403
    assert "quota" in answer.text.lower()
    assert rows(engine) == before
