# SPDX-License-Identifier: Apache-2.0
import pytest
from sqlalchemy import insert, select

from thermostat.db.tables import NOTIFICATION
from thermostat.db.targets import goes_to

OLDER = {"http": "h.example:80", "https": "h.example", "trust+https": "h.example:443"}
"""As a release before one spelling for each wrote them."""


@pytest.fixture
def going_to(engine):
    targets = [
        *OLDER.items(),
        ("http", "h.example:8000"),
        ("http", "h_example"),
        ("http", "hxexample:81"),
        ("http", "[::1]:81"),
        ("zaqar", "zaqar"),
    ]
    rows = [
        {
            "notification_id": str(number),
            "alarm_id": "a1",
            "project_id": "p1",
            "action": "x",
            "target": target,
            "request_id": "r",
            "body": "{}",
            "status": "pending",
            "attempts": 0,
            "created_us": number,
            "next_attempt_us": 0,
            "scheme": scheme,
        }
        for number, (scheme, target) in enumerate(targets)
    ]
    with engine.begin() as connection:
        connection.execute(insert(NOTIFICATION), rows)

    def found(target):
        query = select(NOTIFICATION.c.target).where(goes_to(target))
        with engine.begin() as connection:
            return list(connection.scalars(query.order_by(NOTIFICATION.c.created_us)))

    return found


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("h.example", [*OLDER.values(), "h.example:8000"]),
        ("H.example.:8000", ["h.example:8000"]),
        ("h.example:80", ["h.example:80"]),
        ("h.example:443", ["h.example", "h.example:443"]),
        ("h.example:81", []),
        ("h_example", ["h_example"]),
        ("[::1]", ["[::1]:81"]),
        ("zaqar", ["zaqar"]),
        ("[", []),
        ("", []),
    ],
)
def test_those_that_go_there(going_to, target, found):
    assert going_to(target) == found
