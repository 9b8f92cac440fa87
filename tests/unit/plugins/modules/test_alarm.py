# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.thermostat.openstack.plugins.modules.alarm import (
    AlarmStateModule,
    changed_options,
    wanted_changes,
)


def params(**given):
    nothing = dict.fromkeys(AlarmStateModule.argument_spec)
    return {**nothing, "state": "present", **given}


def test_only_what_is_given_is_wanted():
    assert wanted_changes(params()) == ({}, {})
    alarm, rule = wanted_changes(params(name="a", threshold=1.0, ok_actions=[], state="disabled"))
    assert alarm == {"name": "a", "ok_actions": [], "enabled": False}
    assert rule == {"threshold": 1.0}


def test_every_field_of_a_rule_is_an_option():
    given = dict(statistic="p99.5", clear_threshold=0.0, min_reporting_ratio=0.5, warm_up=0)
    assert wanted_changes(params(**given))[1] == given


def test_both_forms_of_a_query_add_up():
    query = [{"field": "resource_id", "op": "ne", "value": "x"}]
    rule = wanted_changes(params(query=query, matching_metadata={"a": "b"}))[1]
    assert rule["query"] == query + [{"field": "metadata.user_metadata.a", "op": "eq", "value": "b"}]
    assert wanted_changes(params(matching_metadata={}))[1] == {"query": []}


@pytest.mark.parametrize(
    "name, current, wanted",
    [
        ("threshold", 50, 50.0),
        ("repeat_actions", False, False),
        ("min_reporting_ratio", 1, 1.0),
        (
            "query",
            [{"field": "a", "op": "eq", "value": "1"}, {"field": "b", "op": "eq", "value": "2"}],
            [{"field": "b", "value": 2}, {"field": "a", "op": "eq", "value": "1"}],
        ),
        (
            "time_constraints",
            [{"name": "n", "start": "* * * * *", "duration": 1}],
            [{"name": "n", "start": "* * * * *", "duration": 1, "timezone": "", "description": ""}],
        ),
        (
            "time_constraints",
            [{"name": "n", "start": "* * * * *", "duration": 1, "description": "the service's own"}],
            [{"name": "n", "start": "* * * * *", "duration": 1, "timezone": "", "description": ""}],
        ),
    ],
)
def test_equal_meanings_are_no_change(name, current, wanted):
    assert changed_options({name: current}, {name: wanted}) == {}


@pytest.mark.parametrize(
    "name, current, wanted",
    [
        ("threshold", 50.0, 51.0),
        ("description", None, ""),
        (
            "time_constraints",
            [{"name": "n", "start": "* * * * *", "duration": 1, "description": "the service's own"}],
            [{"name": "n", "start": "* * * * *", "duration": 1, "description": "mine"}],
        ),
        ("clear_threshold", None, 0.0),
        ("alarm_actions", ["a", "b"], ["b", "a"]),
        ("query", [{"field": "a", "op": "eq", "value": "1"}], []),
        (
            "query",
            [{"field": "a", "op": "eq", "value": "1"}],
            [{"field": "a", "op": "ne", "value": "1"}],
        ),
    ],
)
def test_other_meanings_are_a_change(name, current, wanted):
    assert changed_options({name: current}, {name: wanted}) == {name: wanted}
