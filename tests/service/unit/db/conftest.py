# SPDX-License-Identifier: Apache-2.0
"""The databases that alarms are kept in."""

import pytest

from tests.service import postgresql
from tests.service.alarm_support import ALICE, make_alarm
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.db.outbox import Outbox
from thermostat.db.retired_trusts import RetiredTrusts
from thermostat.db.schema import upgrade


@pytest.fixture(scope="session")
def postgres():
    with postgresql.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of an empty database of each kind that is supported."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'db.sqlite'}"
    return request.getfixturevalue("postgres").create_database()


@pytest.fixture
def engine(database_url):
    engine = open_engine(database_url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def alarms(engine):
    return AlarmRepository(engine)


@pytest.fixture
def outbox(engine):
    return Outbox(engine)


@pytest.fixture
def retired(engine):
    return RetiredTrusts(engine)


@pytest.fixture
def alarm(alarms):
    alarm = make_alarm()
    alarms.create(alarm, ALICE)
    return alarm
