# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

import pytest
from ansible.errors import AnsibleError
from ansible_collections.thermostat.openstack.plugins.lookup.statistics import build_params, newest

NOW = datetime.datetime(2026, 1, 1, 12, 0, 0)
NOTHING = {
    "query": [],
    "matching_metadata": {},
    "period": None,
    "seconds": None,
    "start": None,
    "end": None,
    "groupby": [],
    "aggregates": [],
}


def test_nothing_given_asks_for_everything():
    assert build_params(NOTHING, NOW) == []


def test_conditions_keep_their_order_so_that_field_op_and_value_stay_together():
    options = dict(
        NOTHING,
        query=[{"field": "resource_id", "op": "ne", "value": 5}, {"field": "source", "value": "x"}],
        matching_metadata={"server_group": "web"},
        seconds=90,
        end="2026-01-01T12:00:00",
        period=60,
        groupby=["resource_id"],
        aggregates=["avg", "max"],
    )
    params = build_params(options, NOW)
    conditions = [value for name, value in params if name.startswith("q.")]
    assert [tuple(conditions[at:at + 3]) for at in range(0, len(conditions), 3)] == [
        ("resource_id", "ne", "5"),
        ("source", "eq", "x"),
        ("metadata.user_metadata.server_group", "eq", "web"),
        ("timestamp", "gt", "2026-01-01T11:58:30"),
        ("timestamp", "le", "2026-01-01T12:00:00"),
    ]
    assert params[-4:] == [
        ("period", "60"),
        ("groupby", "resource_id"),
        ("aggregate.func", "avg"),
        ("aggregate.func", "max"),
    ]


def test_the_newest_period_gives_the_value():
    periods = [
        {"period_end": "2026-01-01T00:02:00", "avg": 2.0},
        {"period_end": "2026-01-01T00:01:00", "avg": 1.0},
    ]
    assert newest(periods, "avg") == [2.0]
    assert newest([], "avg") == []


def test_a_field_that_there_is_not_is_named():
    with pytest.raises(AnsibleError, match="'mean', but avg, period_end"):
        newest([{"period_end": "x", "avg": 1.0}], "mean")
