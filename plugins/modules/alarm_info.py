#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: alarm_info
short_description: Read alarms
version_added: 1.0.0
author: Thermostat contributors (@thermostat)
description:
  - Reads the alarms of a project, all or some of them, with their states and the reasons of these.
options:
  name:
    description: Only alarms whose name matches this pattern; V(*) and V(?) stand for any characters and any one.
    type: str
  id:
    description: Only the alarm with this id.
    type: str
  query:
    description: Only alarms that meet all these conditions.
    type: list
    elements: dict
    suboptions:
      field:
        description:
          - An attribute of the alarm (for example V(state) or V(severity)) or of its rule (for example V(meter_name)).
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
      - Only alarms whose rules require these values of these keys of a resource's metadata.
      - A key such as V(server_group) is that of a server's metadata C(metering.server_group), as in a Heat template;
        V(user_metadata.server_group) and V(metering.server_group) are the same. Other metadata is written in full,
        for example V(metadata.flavor.name).
    type: dict
attributes:
  check_mode:
    description: Can run in C(check_mode) and give the same result.
    support: full
  diff_mode:
    description: Will return details on what has changed.
    support: none
extends_documentation_fragment:
  - openstack.cloud.openstack
"""

EXAMPLES = r"""
- name: Read the alarms of the group web
  thermostat.openstack.alarm_info:
    cloud: mycloud
    matching_metadata:
      server_group: web
  register: web

- name: Show those that fire, and why
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.state_reason }}"
  loop: "{{ web.alarms | selectattr('state', 'equalto', 'alarm') }}"
"""

RETURN = r"""
alarms:
  description: The alarms, in the form of Aodh's API. Signatures in action URLs are censored.
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
      sample: web-high
    enabled:
      description: Whether it is evaluated.
      type: bool
      sample: true
    state:
      description: V(ok), V(alarm) or V(insufficient data).
      type: str
      sample: ok
    state_reason:
      description: Why it is in this state, in words.
      type: str
      sample: Not evaluated yet
    threshold_rule:
      description: The rule.
      type: dict
      sample: {meter_name: cpu_util, threshold: 50.0}
"""

from ansible_collections.thermostat.openstack.plugins.module_utils._module import (
    QUERY_SPEC,
    AlarmModule,
)
from ansible_collections.thermostat.openstack.plugins.module_utils._select import matches


class AlarmInfoModule(AlarmModule):
    argument_spec = dict(
        name=dict(type="str"),
        id=dict(type="str"),
        query=QUERY_SPEC,
        matching_metadata=dict(type="dict"),
    )
    module_kwargs = dict(supports_check_mode=True)

    def work(self):
        if self.params["id"]:
            alarm = self.client.get_alarm(self.params["id"])
            alarms = [alarm] if alarm else []
        else:
            alarms = self.client.list_alarms()
        self.hide_signatures(*alarms)
        wanted = {
            "name": self.params["name"],
            "query": self.params["query"] or [],
            "matching_metadata": self.params["matching_metadata"],
        }
        return dict(changed=False, alarms=[alarm for alarm in alarms if matches(alarm, **wanted)])


def main():
    AlarmInfoModule()()


if __name__ == "__main__":
    main()
