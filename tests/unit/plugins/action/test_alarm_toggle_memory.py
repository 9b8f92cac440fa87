# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible_collections.thermostat.openstack.plugins.action.alarm_toggle import FACT, ActionModule


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the action; the module is replaced by one that returns what it is told to."""

    def run(arguments, returned, facts=None, check_mode=False):
        seen = {}

        def execute_module(self, module_name, module_args, task_vars):
            seen.update(module_args)
            return dict(returned)

        monkeypatch.setattr(C, "DEFAULT_LOCAL_TMP", str(tmp_path))
        monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
        monkeypatch.setattr(ActionModule, "_execute_module", execute_module)
        action = ActionModule.__new__(ActionModule)
        action._task = SimpleNamespace(args=arguments, check_mode=check_mode)
        task_vars = {"ansible_facts": {FACT: facts} if facts else {}, "inventory_hostname": "a/b"}
        result = action.run(task_vars=task_vars)
        return seen, result.get("ansible_facts", {}).get(FACT)

    return run


def test_what_is_paused_becomes_a_fact(run):
    seen, fact = run({"state": "paused", "name": "*"}, {"paused": ["a"]}, {"other": ["b"]})
    assert seen["alarms"] == []
    assert fact == {"other": ["b"], "default": ["a"]}


def test_the_fact_is_what_is_restored_and_then_forgotten(run):
    facts = {"default": ["a"], "other": ["b"]}
    seen, fact = run({"state": "restored"}, {"paused": []}, facts)
    assert seen["alarms"] == ["a"]
    assert fact == {"other": ["b"]}


def test_ids_that_are_given_win_over_the_fact(run):
    arguments = {"state": "restored", "alarms": ["c"], "remember_as": "other"}
    seen, fact = run(arguments, {"paused": []}, {"other": ["b"]})
    assert seen["alarms"] == ["c"]
    assert fact == {}


def test_a_failure_and_check_mode_leave_the_fact_alone(run):
    assert run({"state": "paused"}, {"failed": True})[1] is None
    assert run({"state": "paused"}, {"paused": ["a"]}, check_mode=True)[1] is None


def test_what_stays_paused_after_a_failure_is_restored(run):
    # Ansible keeps no facts of a task that failed.
    facts = {"default": ["a"], "other": ["b"]}
    run({"state": "paused"}, {"failed": True, "paused": ["a", "c"]}, facts)
    seen, fact = run({"state": "restored"}, {"paused": []}, facts)
    assert seen["alarms"] == ["a", "c"]
    assert fact == {"other": ["b"]}
    seen, fact = run({"state": "restored"}, {"paused": []}, fact)
    assert seen["alarms"] == []
