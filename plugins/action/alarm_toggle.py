# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remember, as a fact of the host, which alarms the module of this name has paused.

Ansible drops the facts that a failed task returns, and those of a whole loop of which one item has
failed. What is paused is therefore also kept in a file, in the directory that Ansible has for the
time of one run.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from ansible import constants as C
from ansible.plugins.action import ActionBase

FACT = "thermostat_paused_alarms"


class ActionModule(ActionBase):
    """Give the module what is remembered, and remember what it returns."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = dict(self._task.args)
        kept = Path(C.DEFAULT_LOCAL_TMP, f"{FACT}.{quote(task_vars['inventory_hostname'], safe='')}")
        memory = remembered(task_vars, kept)
        key = arguments.get("remember_as", "default")
        if arguments.get("alarms") is None:
            arguments["alarms"] = memory.get(key, [])
        result.update(
            self._execute_module(
                module_name="thermostat.openstack.alarm_toggle",
                module_args=arguments,
                task_vars=task_vars,
            )
        )
        if "paused" in result and not self._task.check_mode:
            memory.pop(key, None)
            if result["paused"]:
                memory[key] = result["paused"]
            if memory:
                kept.write_text(json.dumps(memory))
            else:
                kept.unlink(missing_ok=True)
            if not result.get("failed"):
                result["ansible_facts"] = {FACT: memory}
        return result


def remembered(task_vars, kept):
    """Give the ids of paused alarms by the key they are remembered under."""
    if kept.exists():
        return json.loads(kept.read_text())
    return dict(task_vars.get("ansible_facts", {}).get(FACT) or task_vars.get(FACT) or {})
