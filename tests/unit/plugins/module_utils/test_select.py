# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.thermostat.openstack.plugins.module_utils._select import (
    matches,
    metadata_query,
)

ALARM = {
    "name": "web-busy",
    "type": "threshold",
    "enabled": True,
    "severity": "low",
    "threshold_rule": {
        "meter_name": "cpu_util",
        "threshold": 50.0,
        "query": [
            {"field": "metadata.user_metadata.server_group", "op": "eq", "value": "web"},
            {"field": "metadata.flavor.name", "op": "ne", "value": "tiny"},
        ],
    },
}


def term(field, value, op="eq"):
    return {"field": field, "op": op, "value": value}


@pytest.mark.parametrize(
    "pattern, expected",
    [("web-busy", True), ("web-*", True), ("WEB-*", False), ("web", False), ("db-*", False)],
)
def test_name_is_a_pattern(pattern, expected):
    assert matches(ALARM, name=pattern) is expected


@pytest.mark.parametrize(
    "condition, expected",
    [
        (term("severity", "low"), True),
        (term("severity", "critical"), False),
        (term("severity", "critical", "ne"), True),
        (term("meter_name", "cpu_util"), True),
        (term("enabled", "True"), True),
        (term("threshold", "9", "gt"), True),
        (term("threshold", "50"), True),
        (term("threshold", "50", "gt"), False),
        (term("nothing", "x"), False),
        (term("nothing", "x", "ne"), True),
        (term("metadata.user_metadata.server_group", "web"), True),
        (term("metadata.metering.server_group", "web"), True),
        (term("resource_metadata.user_metadata.server_group", "db"), False),
        (term("metadata.user_metadata.server_group", "web", "ne"), False),
        # The rule does not require this value: it excludes it.
        (term("metadata.flavor.name", "tiny"), False),
    ],
)
def test_a_condition_on_the_alarm_or_its_rule(condition, expected):
    assert matches(ALARM, query=[condition]) is expected


def test_all_that_is_given_must_match():
    group = {"user_metadata.server_group": "web"}
    assert matches(ALARM, name="web-*", query=[term("severity", "low")], matching_metadata=group)
    assert not matches(ALARM, name="db-*", matching_metadata=group)


@pytest.mark.parametrize(
    "key, field",
    [
        ("server_group", "metadata.user_metadata.server_group"),
        ("team.name", "metadata.user_metadata.team.name"),
        ("user_metadata.a", "metadata.user_metadata.a"),
        ("metering.a", "metadata.metering.a"),
        ("metadata.metering.a", "metadata.metering.a"),
        ("metadata.b", "metadata.b"),
        ("resource_metadata.b", "resource_metadata.b"),
    ],
)
def test_a_bare_metadata_key_is_one_of_nova_s_metering_keys(key, field):
    assert metadata_query({key: 1}) == [{"field": field, "op": "eq", "value": "1"}]


def test_no_metadata_is_no_condition():
    assert metadata_query(None) == []


def test_a_bare_metadata_key_selects_the_alarms_of_a_group():
    assert matches(ALARM, matching_metadata={"server_group": "web"})
    assert matches(ALARM, matching_metadata={"metering.server_group": "web"})
    assert not matches(ALARM, matching_metadata={"server_group": "db"})
    assert not matches(ALARM, matching_metadata={"metadata.server_group": "web"})
