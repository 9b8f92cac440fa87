# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: statistics
short_description: Read the statistics of a meter
version_added: 1.0.0
author: Thermostat contributors (@thermostat)
description:
  - Gives the statistics of a meter over a group of resources, period by period, as the service of type C(metering) computes them from its samples.
  - It asks anew each time it is evaluated, so it can be waited for in C(until).
options:
  _terms:
    description: The meters.
    type: list
    elements: str
    required: true
  field:
    description:
      - Give only this field of the newest period of each meter, for example V(avg), instead of dicts.
      - Nothing is given for a meter without samples.
    type: str
  query:
    description: The conditions that select the group of resources, each a dict of C(field), C(op) (C(eq) if missing) and C(value).
    type: list
    elements: dict
    default: []
  matching_metadata:
    description:
      - Keys of the resources' metadata and the values that they must have. An easier way to write a O(query).
      - A key such as V(server_group) is that of a server's metadata C(metering.server_group), as in a Heat template;
        V(user_metadata.server_group) and V(metering.server_group) are the same. Other metadata is written in full,
        for example V(metadata.flavor.name).
    type: dict
    default: {}
  period:
    description: Seconds that one datapoint covers. All samples make one datapoint if it is not given.
    type: int
  seconds:
    description: Only samples of the last so many seconds, by the control node's clock.
    type: int
  start:
    description: Only samples later than this time, in ISO 8601 form, UTC.
    type: str
  end:
    description: Only samples not later than this time, in ISO 8601 form, UTC.
    type: str
  groupby:
    description: Make separate statistics for each value of these fields.
    type: list
    elements: str
    default: []
  aggregates:
    description: Compute only these statistics, for example V(avg) or V(stddev).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - openstack.cloud.openstack
"""

EXAMPLES = r"""
- name: Wait until the group web is idle
  ansible.builtin.debug:
    msg: "{{ busy }} %"
  vars:
    busy: "{{ lookup('thermostat.openstack.statistics', 'cpu_util', cloud='mycloud', field='avg',
                     matching_metadata={'server_group': 'web'}, seconds=120, period=60) }}"
  until: busy | float(100) < 10
  retries: 30
  delay: 10

- name: Add a server by hand only where the group is really busy
  ansible.builtin.include_tasks: add_server.yml
  when: >-
    lookup('thermostat.openstack.statistics', 'cpu_util', cloud='mycloud', field='avg', seconds=300,
           matching_metadata={'server_group': 'web'}) | float(0) > 80

- name: Show the CPU of each server in the last ten minutes, minute by minute
  ansible.builtin.debug:
    msg: "{{ item.groupby.resource_id }} {{ item.period_start }} {{ item.avg }}"
  loop: "{{ query('thermostat.openstack.statistics', 'cpu_util', cloud='mycloud', seconds=600, period=60,
                  groupby=['resource_id']) }}"
"""

RETURN = r"""
_raw:
  description: With O(field), one value for each meter that has samples. Else one dict for each period, oldest first.
  type: list
  elements: raw
  sample:
    - avg: 12.5
      count: 6
      min: 10.0
      max: 15.0
      sum: 75.0
      unit: "%"
      period: 60
      period_start: "2026-01-01T00:00:00"
      period_end: "2026-01-01T00:01:00"
      duration: 50.0
      duration_start: "2026-01-01T00:00:10"
      duration_end: "2026-01-01T00:01:00"
      groupby: null
"""

import datetime

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.thermostat.openstack.plugins.module_utils._client import ApiError, Client
from ansible_collections.thermostat.openstack.plugins.module_utils._select import metadata_query

CONNECT_OPTIONS = {
    "cloud": "cloud",
    "auth": "auth",
    "auth_type": "auth_type",
    "region_name": "region_name",
    "verify": "validate_certs",
    "cacert": "ca_cert",
    "cert": "client_cert",
    "key": "client_key",
    "api_timeout": "api_timeout",
    "interface": "interface",
}


def build_params(options, now):
    """Give the parameters of a request for statistics, as a list of pairs."""
    conditions = [
        (term["field"], term.get("op", "eq"), str(term["value"]))
        for term in options["query"] + metadata_query(options["matching_metadata"])
    ]
    start = options["start"]
    if options["seconds"] is not None:
        start = (now - datetime.timedelta(seconds=options["seconds"])).isoformat()
    if start:
        conditions.append(("timestamp", "gt", start))
    if options["end"]:
        conditions.append(("timestamp", "le", options["end"]))
    params = []
    for field, op, value in conditions:
        params += [("q.field", field), ("q.op", op), ("q.value", value)]
    if options["period"] is not None:
        params.append(("period", str(options["period"])))
    params += [("groupby", field) for field in options["groupby"]]
    params += [("aggregate.func", function) for function in options["aggregates"]]
    return params


def newest(statistics, field):
    """Give a field of the newest period in a list of one value, or an empty list."""
    if not statistics:
        return []
    last = max(statistics, key=lambda statistic: statistic["period_end"])
    if field not in last:
        raise AnsibleError(f"field: statistics have no {field!r}, but {', '.join(sorted(last))}")
    return [last[field]]


class LookupModule(LookupBase):
    """The statistics of some meters."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        options = self.get_options()
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        params = build_params(options, now)
        client = Client(self._connect(options))
        found = []
        for meter in terms:
            statistics = self._ask(client, meter, params)
            found += newest(statistics, options["field"]) if options["field"] else statistics
        return found

    @staticmethod
    def _connect(options):
        try:
            import openstack
        except ImportError as error:
            raise AnsibleError("This lookup needs openstacksdk on the control node") from error
        config = options["cloud"]
        if not isinstance(config, dict):
            config = {name: options[option] for name, option in CONNECT_OPTIONS.items()}
        try:
            return openstack.connect(**config)
        except openstack.exceptions.SDKException as error:
            raise AnsibleError(str(error)) from error

    @staticmethod
    def _ask(client, meter, params):
        from keystoneauth1 import exceptions

        try:
            return client.statistics(meter, params)
        except (ApiError, exceptions.ClientException) as error:
            raise AnsibleError(f"{meter}: {error}") from error
