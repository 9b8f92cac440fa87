# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# SPDX-License-Identifier: BSD-2-Clause
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)

# Private to this collection.
"""What this collection's modules have in common."""

from __future__ import annotations

from ansible_collections.openstack.cloud.plugins.module_utils.openstack import OpenStackModule
from ansible_collections.thermostat.openstack.plugins.module_utils._client import (
    ApiError,
    Client,
    signatures,
)

QUERY_SPEC = dict(
    type="list",
    elements="dict",
    options=dict(
        field=dict(type="str", required=True),
        op=dict(type="str", choices=["lt", "le", "eq", "ne", "ge", "gt"], default="eq"),
        value=dict(type="str", required=True),
    ),
)


class AlarmModule(OpenStackModule):
    """A module that works with alarms; a subclass gives C(work)."""

    def run(self):
        """Do the work, and turn the services' refusals into the module's failure."""
        from keystoneauth1 import exceptions

        self.client = Client(self.conn)
        try:
            result = self.work()
        except (ApiError, exceptions.ClientException) as error:
            self.fail_json(msg=str(error))
        self.exit_json(**result)

    def work(self):
        """Do it and give what the module returns."""
        raise NotImplementedError

    def hide_signatures(self, *alarms):
        """Make Ansible censor the secret parts of these alarms' action URLs in all it shows."""
        self.ansible.no_log_values.update(signatures(alarms))
