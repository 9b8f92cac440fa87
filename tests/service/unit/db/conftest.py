# SPDX-License-Identifier: Apache-2.0
"""The databases that alarms are kept in."""

import pytest

from tests.service import postgresql
from thermostat.db.engine import open_engine
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
