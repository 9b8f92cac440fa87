# SPDX-License-Identifier: Apache-2.0
"""Queries: which resources a condition selects."""

import pytest

from thermostat.alarms.query import Condition, Operator, QueryError, find_metadata

RESOURCE = {
    "resource_id": "vm-1",
    "project_id": "p",
    "user_id": None,
    "source": "openstack",
    "metadata": {
        "display_name": "web-1",
        "vcpus": 2,
        "ephemeral": False,
        "flavor": {"ram": 64},
        "user_metadata": {"server_group": "web", "a.b": "dotted"},
    },
}


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("resource_id", "eq", "vm-1", True),
        ("resource_id", "ne", "vm-1", False),
        ("user_id", "eq", "u", False),
        ("user_id", "ne", "u", True),
        ("metadata.user_metadata.server_group", "eq", "web", True),
        ("metadata.metering.server_group", "eq", "web", True),
        ("resource_metadata.user_metadata.server_group", "eq", "web", True),
        ("metadata.user_metadata.server_group", "eq", "db", False),
        ("metadata.user_metadata.absent", "eq", "", False),
        ("metadata.vcpus", "ge", "2", True),
        ("metadata.vcpus", "gt", "10", False),
        ("metadata.flavor.ram", "lt", "100", True),
        ("metadata.ephemeral", "eq", "False", True),
    ],
)
def test_condition(field, op, value, expected):
    assert Condition(field, Operator(op), value).matches(**RESOURCE) is expected


def test_keys_may_contain_dots():
    assert find_metadata(RESOURCE["metadata"], "user_metadata.a.b") == "dotted"


def test_an_unknown_field_is_refused_by_name():
    with pytest.raises(QueryError, match=r"'counter_name'.*resource_id"):
        Condition("counter_name", Operator.EQ, "cpu")
