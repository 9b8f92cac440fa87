#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: alarm_toggle
short_description: Pause alarms for a while and restore exactly those
version_added: 1.0.0
author: Thermostat contributors (@thermostat)
description:
  - Pausing disables the enabled alarms that match, and remembers which these were. Restoring enables exactly those again.
  - An alarm that was disabled before stays disabled, and one that was deleted meanwhile is passed over.
  - Either all matching alarms are paused or, where one cannot be, none. If not even what was done can be undone because
    the service is away, the task fails and says which alarms may still be paused, and O(state=restored) enables them later.
options:
  state:
    description: V(paused) pauses the alarms that match; V(restored) enables those that were paused.
    type: str
    choices: [paused, restored]
    required: true
  name:
    description: Pause alarms whose name matches this pattern; V(*) and V(?) stand for any characters and any one.
    type: str
  query:
    description: Pause alarms that meet all these conditions.
    type: list
    elements: dict
    suboptions:
      field:
        description:
          - An attribute of the alarm (for example V(severity)) or of its rule (for example V(meter_name)).
          - V(metadata.<key>) is what the rule's own query requires of that key.
        type: str
        required: true
      op:
        description: How to compare.
        type: str
        choices: [lt, le, eq, ne, ge, gt]
        default: eq
      value:
        description: What to compare with.
        type: str
        required: true
  matching_metadata:
    description:
      - Pause alarms whose rules require these values of these keys of a resource's metadata.
      - A key such as V(server_group) is that of a server's metadata C(metering.server_group), as in a Heat template;
        V(user_metadata.server_group) and V(metering.server_group) are the same. Other metadata is written in full,
        for example V(metadata.flavor.name).
    type: dict
  remember_as:
    description:
      - Under which key of the host fact C(thermostat_paused_alarms) to remember what was paused.
      - Choose different ones when several pauses overlap.
    type: str
    default: default
  alarms:
    description:
      - The ids of the alarms that were paused, when the fact is no longer there because the playbook is another one.
      - They are what RV(paused) was when they were paused. The host's fact is used if this is not given.
    type: list
    elements: str
attributes:
  action:
    description: Has an action plugin on the control node.
    support: full
  check_mode:
    description: Can run in C(check_mode) and tell what would change without changing it.
    support: full
  diff_mode:
    description: Will return details on what has changed or would change.
    support: full
  facts:
    description: Sets a fact of the host.
    support: full
  idempotent:
    description: When run twice in a row outside check mode, the second run changes nothing.
    support: full
notes:
  - O(state=paused) needs at least one of O(name), O(query) and O(matching_metadata); several must all match.
extends_documentation_fragment:
  - openstack.cloud.openstack
"""

EXAMPLES = r"""
- name: Let nothing scale while the group web is being upgraded
  block:
    - name: Pause its alarms
      thermostat.openstack.alarm_toggle:
        cloud: mycloud
        state: paused
        matching_metadata:
          server_group: web

    - name: Upgrade
      ansible.builtin.include_role:
        name: upgrade_web
  always:
    - name: Enable again those that were enabled before
      thermostat.openstack.alarm_toggle:
        cloud: mycloud
        state: restored
"""

RETURN = r"""
alarms:
  description: What was disabled or enabled by this task, by id and name.
  returned: success
  type: list
  elements: dict
  contains:
    alarm_id:
      description: The id.
      type: str
      sample: 0ac5a1c5-3ee6-4bd5-a9d8-6c3a1e8e3a4f
    name:
      description: The name.
      type: str
      sample: web-busy
paused:
  description:
    - The ids of all alarms that are paused now and remembered under O(remember_as).
    - After a failure, also those that could not be enabled again.
  returned: success, and when changing an alarm failed
  type: list
  elements: str
  sample: [0ac5a1c5-3ee6-4bd5-a9d8-6c3a1e8e3a4f]
gone:
  description: The ids of alarms that were paused and have been deleted since.
  returned: when O(state=restored)
  type: list
  elements: str
  sample: []
"""

from ansible_collections.thermostat.openstack.plugins.module_utils._client import ApiError, enable
from ansible_collections.thermostat.openstack.plugins.module_utils._module import (
    QUERY_SPEC,
    AlarmModule,
)
from ansible_collections.thermostat.openstack.plugins.module_utils._select import matches


class AlarmToggleModule(AlarmModule):
    argument_spec = dict(
        state=dict(type="str", choices=["paused", "restored"], required=True),
        name=dict(type="str"),
        query=QUERY_SPEC,
        matching_metadata=dict(type="dict"),
        remember_as=dict(type="str", default="default"),
        alarms=dict(type="list", elements="str"),
    )
    module_kwargs = dict(
        supports_check_mode=True,
        required_if=[("state", "paused", ("name", "query", "matching_metadata"), True)],
    )

    def work(self):
        remembered = self.params["alarms"] or []
        return self.pause(remembered) if self.params["state"] == "paused" else self.restore(remembered)

    def pause(self, remembered):
        wanted = {
            "name": self.params["name"],
            "query": self.params["query"] or [],
            "matching_metadata": self.params["matching_metadata"],
        }
        alarms = self.client.list_alarms()
        self.hide_signatures(*alarms)
        matching = [alarm for alarm in alarms if matches(alarm, **wanted)]
        if not matching:
            self.warn("no alarm matches: nothing is paused")
        chosen = [alarm for alarm in matching if alarm["enabled"]]
        self.switch(chosen, False, remembered)
        paused = merged(remembered, chosen)
        return self.result(chosen, "enabled", "disabled", paused=paused)

    def restore(self, remembered):
        alarms = {alarm_id: self.client.get_alarm(alarm_id) for alarm_id in remembered}
        self.hide_signatures(*filter(None, alarms.values()))
        chosen = [alarm for alarm in alarms.values() if alarm and not alarm["enabled"]]
        self.switch(chosen, True, remembered)
        gone = [alarm_id for alarm_id, alarm in alarms.items() if alarm is None]
        return self.result(chosen, "disabled", "enabled", paused=[], gone=gone)

    def switch(self, alarms, enabled, remembered):
        """Enable or disable all of these alarms; where one cannot be, put the others back."""
        if self.check_mode:
            return
        for index, alarm in enumerate(alarms):
            try:
                enable(self.client, alarm, enabled)
            except ApiError as error:
                reason = str(error)
                if error.status == 404:
                    reason = f"alarm {alarm['name']} was deleted meanwhile: try again"
                # Without the service's own answer, this one may have been changed all the same.
                unknown = error.status is None or error.status >= 500
                touched = alarms[:index + unknown]
                self.fail_back(touched, enabled, remembered, reason)

    def fail_back(self, alarms, enabled, remembered, reason):
        """Undo what was done, and fail with what is paused all the same."""
        left = []
        for alarm in alarms:
            try:
                enable(self.client, alarm, not enabled)
            except ApiError as error:
                if error.status != 404:
                    left.append(alarm)
                    self.warn(f"alarm {alarm['name']} could not be put back: {error}")
        if enabled:
            self.fail_json(msg=reason, paused=list(remembered))
        if left:
            names = ", ".join(f"{alarm['name']} ({alarm['alarm_id']})" for alarm in left)
            reason += f"; still paused, or perhaps so: {names}"
        self.fail_json(msg=reason, paused=merged(remembered, left))

    @staticmethod
    def result(alarms, before, after, **more):
        names = [f"{alarm['name']} ({alarm['alarm_id']})" for alarm in alarms]
        return dict(
            changed=bool(alarms),
            alarms=[dict(alarm_id=alarm["alarm_id"], name=alarm["name"]) for alarm in alarms],
            diff=dict(before=dict.fromkeys(names, before), after=dict.fromkeys(names, after)),
            **more,
        )


def merged(remembered, alarms):
    """Give the remembered ids and those of these alarms, each once."""
    return list(dict.fromkeys([*remembered, *(alarm["alarm_id"] for alarm in alarms)]))


def main():
    AlarmToggleModule()()


if __name__ == "__main__":
    main()
