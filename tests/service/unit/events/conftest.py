# SPDX-License-Identifier: Apache-2.0
"""The alarm database that event alarms are in."""

import pytest

from thermostat.db.alarms import AlarmRepository
from thermostat.db.outbox import Outbox


@pytest.fixture
def alarms(engine):
    return AlarmRepository(engine)


@pytest.fixture
def outbox(engine):
    return Outbox(engine)
