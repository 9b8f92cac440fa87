#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: alarm
short_description: Create, change, enable, disable and delete alarms
version_added: 1.0.0
author: Thermostat contributors (@thermostat)
description:
  - Manages an alarm that compares a statistic of a group of resources, period by period, with a threshold.
  - Options that are not given keep what they have, or get the service's defaults when the alarm is created.
options:
  name:
    description:
      - The alarm's name. It selects the alarm unless O(id) is given, and must then be unique in the project.
      - With O(id), the alarm is renamed to it.
    type: str
  id:
    description: The id of an alarm that exists.
    type: str
  state:
    description:
      - V(present) makes the definition as wanted, and leaves alone whether the alarm is enabled; a new alarm is.
      - V(enabled) and V(disabled) do the same and enable or disable it, in one step.
      - V(absent) deletes it.
    type: str
    choices: [present, absent, enabled, disabled]
    default: present
  description:
    description: What the alarm is for.
    type: str
  severity:
    description: How much the alarm matters. The service's default is V(low).
    type: str
    choices: [low, moderate, critical]
  meter_name:
    description: The meter. Needed to create an alarm.
    type: str
  threshold:
    description: What to compare with. Needed to create an alarm.
    type: float
  comparison_operator:
    description: The datapoint stands to the left of it, the threshold to the right. The service's default is V(eq).
    type: str
    choices: [lt, le, eq, ne, ge, gt]
  statistic:
    description: How the samples of a period become a datapoint. The service's default is V(avg).
    type: str
    choices: [avg, min, max, sum, count, last, stddev, p50, p75, p90, p95, p98, p99, p99.5, p99.9]
  period:
    description: Seconds that one datapoint covers. The service's default is V(60).
    type: int
  evaluation_periods:
    description: How many datapoints are judged together. The service's default is V(1).
    type: int
  datapoints_to_alarm:
    description: How many of these must breach. All of them by default.
    type: int
  treat_missing_data:
    description: How a period without samples counts. The service's default is V(missing).
    type: str
    choices: [missing, ignore, breaching, not_breaching]
  exclude_outliers:
    description: Whether to leave out periods with an unusual number of samples.
    type: bool
  clear_threshold:
    description:
      - In state C(alarm), compare with this instead of O(threshold), so that the alarm does not flit between its states.
      - At most O(threshold) where alarms are above it, at least O(threshold) where they are below it.
    type: float
  min_reporting_ratio:
    description:
      - The share of the group's members, from V(0) to V(1), that must have reported in a period for it to count.
      - The service's default is V(0).
    type: float
  warm_up:
    description: Seconds after its first sample in which a new member of the group does not count. The service's default is V(0).
    type: int
  query:
    description: The conditions that select the group of resources. Together with O(matching_metadata) it replaces the alarm's whole query.
    type: list
    elements: dict
    suboptions:
      field:
        description: V(resource_id), V(project_id), V(user_id), V(source), or V(metadata.<key>).
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
      - Keys of the resources' metadata and the values that they must have. An easier way to write a O(query).
      - A key such as V(server_group) is that of a server's metadata C(metering.server_group), as in a Heat template;
        V(user_metadata.server_group) and V(metering.server_group) are the same. Other metadata is written in full,
        for example V(metadata.flavor.name).
    type: dict
  alarm_actions:
    description: URLs to call when the state becomes C(alarm).
    type: list
    elements: str
  ok_actions:
    description: URLs to call when the state becomes C(ok).
    type: list
    elements: str
  insufficient_data_actions:
    description: URLs to call when the state becomes C(insufficient data).
    type: list
    elements: str
  repeat_actions:
    description: Whether to call the actions again at each evaluation as long as the state lasts. The service's default is V(false).
    type: bool
  time_constraints:
    description: When to evaluate the alarm. Always, if the list is empty.
    type: list
    elements: dict
    suboptions:
      name:
        description: A name that is unique in the alarm.
        type: str
        required: true
      description:
        description: What it is for.
        type: str
        default: ""
      start:
        description: When the span of time begins, as a cron expression.
        type: str
        required: true
      duration:
        description: How long it lasts, in seconds.
        type: int
        required: true
      timezone:
        description: An IANA time zone name. UTC if empty.
        type: str
        default: ""
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell what would change without changing it.
    support: full
  diff_mode:
    description: Will return details on what has changed or would change.
    support: full
  idempotent:
    description: When run twice in a row outside check mode, the second run changes nothing.
    support: full
extends_documentation_fragment:
  - openstack.cloud.openstack
"""

EXAMPLES = r"""
- name: Call a webhook when the group web is busy for two minutes
  thermostat.openstack.alarm:
    cloud: mycloud
    name: web-busy
    meter_name: cpu_util
    statistic: avg
    period: 60
    evaluation_periods: 2
    comparison_operator: gt
    threshold: 80
    clear_threshold: 60
    warm_up: 120
    matching_metadata:
      server_group: web
    alarm_actions:
      - https://hooks.example.com/scale-out

- name: Raise its threshold and leave the rest
  thermostat.openstack.alarm:
    cloud: mycloud
    name: web-busy
    threshold: 90

- name: Silence it
  thermostat.openstack.alarm:
    cloud: mycloud
    name: web-busy
    state: disabled

- name: Delete it
  thermostat.openstack.alarm:
    cloud: mycloud
    name: web-busy
    state: absent
"""

RETURN = r"""
alarm:
  description: The alarm in the form of Aodh's API. Signatures in action URLs are censored.
  returned: when there is one, or would be in check mode
  type: dict
  contains:
    alarm_id:
      description: The id. Missing in check mode when the alarm would be created.
      type: str
      sample: 0ac5a1c5-3ee6-4bd5-a9d8-6c3a1e8e3a4f
    name:
      description: The name.
      type: str
      sample: web-busy
    enabled:
      description: Whether it is evaluated.
      type: bool
      sample: true
    state:
      description: V(ok), V(alarm) or V(insufficient data).
      type: str
      sample: insufficient data
    state_reason:
      description: Why it is in this state, in words.
      type: str
      sample: Not evaluated yet
    threshold_rule:
      description: The rule.
      type: dict
      sample: {meter_name: cpu_util, threshold: 80.0}
"""

from ansible_collections.thermostat.openstack.plugins.module_utils._client import ACTION_OPTIONS
from ansible_collections.thermostat.openstack.plugins.module_utils._module import (
    QUERY_SPEC,
    AlarmModule,
)
from ansible_collections.thermostat.openstack.plugins.module_utils._select import metadata_query

ALARM_OPTIONS = ("name", "description", "severity", "repeat_actions", "time_constraints")
RULE_OPTIONS = (
    "meter_name",
    "threshold",
    "comparison_operator",
    "statistic",
    "period",
    "evaluation_periods",
    "datapoints_to_alarm",
    "treat_missing_data",
    "exclude_outliers",
    "clear_threshold",
    "min_reporting_ratio",
    "warm_up",
)


def wanted_changes(params):
    """Give what the options say of an alarm and of its rule, as two dicts."""
    names = ALARM_OPTIONS + ACTION_OPTIONS
    alarm = {name: params[name] for name in names if params[name] is not None}
    rule = {name: params[name] for name in RULE_OPTIONS if params[name] is not None}
    if params["query"] is not None or params["matching_metadata"] is not None:
        query = params["query"] or []
        rule["query"] = list(query) + metadata_query(params["matching_metadata"])
    if params["state"] in ("enabled", "disabled"):
        alarm["enabled"] = params["state"] == "enabled"
    return alarm, rule


def changed_options(current, wanted):
    """Give those of the wanted options that the current ones do not have already."""
    return {
        name: value for name, value in wanted.items() if not _is_same(name, current.get(name), value)
    }


def _is_same(name, current, wanted):
    current, wanted = _canonical(name, current), _canonical(name, wanted)
    if name == "time_constraints" and len(current) == len(wanted):
        # The service describes a constraint that has no description.
        current = [
            dict(has, description=has["description"] if wants["description"] else "")
            for has, wants in zip(current, wanted)
        ]
    return current == wanted


def _canonical(name, value):
    """Bring an option to a form in which equal meanings are equal."""
    if name == "query":
        terms = [(term["field"], term.get("op") or "eq", str(term["value"])) for term in value or []]
        return sorted(terms)
    if name == "time_constraints":
        defaults = {"description": "", "timezone": ""}
        return [dict(defaults, **constraint) for constraint in value or []]
    return value


class AlarmStateModule(AlarmModule):
    argument_spec = dict(
        name=dict(type="str"),
        id=dict(type="str"),
        state=dict(
            type="str", choices=["present", "absent", "enabled", "disabled"], default="present"
        ),
        description=dict(type="str"),
        severity=dict(type="str", choices=["low", "moderate", "critical"]),
        meter_name=dict(type="str"),
        threshold=dict(type="float"),
        comparison_operator=dict(type="str", choices=["lt", "le", "eq", "ne", "ge", "gt"]),
        statistic=dict(
            type="str",
            choices=["avg", "min", "max", "sum", "count", "last", "stddev"]
            + ["p50", "p75", "p90", "p95", "p98", "p99", "p99.5", "p99.9"],
        ),
        period=dict(type="int"),
        evaluation_periods=dict(type="int"),
        datapoints_to_alarm=dict(type="int"),
        treat_missing_data=dict(
            type="str", choices=["missing", "ignore", "breaching", "not_breaching"]
        ),
        exclude_outliers=dict(type="bool"),
        clear_threshold=dict(type="float"),
        min_reporting_ratio=dict(type="float"),
        warm_up=dict(type="int"),
        query=QUERY_SPEC,
        matching_metadata=dict(type="dict"),
        alarm_actions=dict(type="list", elements="str"),
        ok_actions=dict(type="list", elements="str"),
        insufficient_data_actions=dict(type="list", elements="str"),
        repeat_actions=dict(type="bool"),
        time_constraints=dict(
            type="list",
            elements="dict",
            options=dict(
                name=dict(type="str", required=True),
                description=dict(type="str", default=""),
                start=dict(type="str", required=True),
                duration=dict(type="int", required=True),
                timezone=dict(type="str", default=""),
            ),
        ),
    )
    module_kwargs = dict(supports_check_mode=True, required_one_of=[("name", "id")])

    def work(self):
        alarm_options, rule_options = wanted_changes(self.params)
        self.hide_signatures(alarm_options)
        alarm = self.find()
        if alarm:
            self.hide_signatures(alarm)
        if self.params["state"] == "absent":
            return self.delete(alarm)
        if alarm is None:
            return self.create(alarm_options, rule_options)
        return self.change(alarm, alarm_options, rule_options)

    def find(self):
        """Give the alarm that the id or the name selects, or None."""
        if self.params["id"]:
            alarm = self.client.get_alarm(self.params["id"])
            if alarm is None and self.params["state"] != "absent":
                self.fail_json(msg=f"id: this project has no alarm {self.params['id']}")
            return alarm
        found = self.client.list_alarms(name=self.params["name"])
        if len(found) > 1:
            ids = ", ".join(sorted(alarm["alarm_id"] for alarm in found))
            self.fail_json(
                msg=f"name: several alarms are named {self.params['name']}: "
                f"select one of them by its id ({ids})"
            )
        return found[0] if found else None

    def create(self, alarm_options, rule_options):
        missing = [name for name in ("meter_name", "threshold") if name not in rule_options]
        if missing:
            self.fail_json(
                msg=f"there is no alarm named {self.params['name']}, and to create it "
                f"{' and '.join(missing)} must be given"
            )
        alarm = dict(alarm_options, type="threshold", threshold_rule=rule_options)
        result = self.result({}, alarm)
        if not self.check_mode:
            result["alarm"] = self.client.create_alarm(alarm)
        return result

    def change(self, alarm, alarm_options, rule_options):
        rule_name = f"{alarm['type']}_rule"
        if rule_options and alarm["type"] != "threshold":
            self.fail_json(msg=f"this alarm is of type {alarm['type']}: its rule is not managed")
        changes = changed_options(alarm, alarm_options)
        rule_changes = changed_options(alarm[rule_name], rule_options)
        if not changes and not rule_changes:
            return dict(changed=False, alarm=alarm, diff=dict(before={}, after={}))
        wanted = dict(alarm, **changes)
        wanted[rule_name] = dict(alarm[rule_name], **rule_changes)
        result = self.result(alarm, wanted)
        if not self.check_mode:
            result["alarm"] = self.client.replace_alarm(wanted)
        return result

    def delete(self, alarm):
        if alarm is None:
            return dict(changed=False, diff=dict(before={}, after={}))
        if not self.check_mode and not self.client.delete_alarm(alarm["alarm_id"]):
            return dict(changed=False, diff=dict(before={}, after={}))
        return dict(changed=True, diff=dict(before=definition(alarm), after={}))

    def result(self, before, after):
        return dict(
            changed=True,
            alarm=after,
            diff=dict(before=definition(before), after=definition(after)),
        )


def definition(alarm):
    """Give the part of an alarm that its owner decides, with the rule's options beside the others."""
    names = ALARM_OPTIONS + ACTION_OPTIONS + ("enabled",)
    shown = {name: alarm[name] for name in names if name in alarm}
    shown.update(alarm.get("threshold_rule", {}))
    return shown


def main():
    AlarmStateModule()()


if __name__ == "__main__":
    main()
