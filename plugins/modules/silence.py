#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: silence
short_description: Silence alarms for a while
version_added: 1.0.0
author: Thermostat contributors (@thermostat)
description:
  - While a silence is active, the alarms that it matches call no actions. Their states and their history go on.
  - When it ends, each of them that is in another state than was told last calls the actions of its state once.
  - A silence is known by its O(comment) and its O(matcher) together, as long as it is not over.
options:
  state:
    description: V(present) creates the silence, or changes when it begins and ends; V(absent) lets it end now.
    type: str
    choices: [present, absent]
    default: present
  comment:
    description: Why.
    type: str
    required: true
  matcher:
    description: Which alarms it is for. All of these terms must hold.
    type: list
    elements: dict
    required: true
    suboptions:
      field:
        description: What of the alarm is compared; V(state) is the one that would be told.
        type: str
        choices: [name, alarm_id, description, severity, type, state]
        required: true
      op:
        description: How to compare. A V(regex) is one of RE2 and is found anywhere in the field.
        type: str
        choices: [eq, ne, regex]
        default: eq
      value:
        description: What to compare with.
        type: str
        required: true
  duration:
    description:
      - For how many seconds a new silence lasts.
      - One that is there stays as it is. To extend it give O(until).
    type: int
  until:
    description: When it ends, as an ISO 8601 instant such as V(2026-12-01T06:00:00Z); without an offset it is UTC.
    type: str
  from:
    description: When it begins, as O(until). A new silence begins now if this is not given.
    type: str
  all_projects:
    description: Whether it is for the alarms of all projects. This is for administrators.
    type: bool
    default: false
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
notes:
  - A new silence needs O(duration) or O(until). A silence without an end would be forgotten.
extends_documentation_fragment:
  - openstack.cloud.openstack
"""

EXAMPLES = r"""
- name: Call nobody while the switches are replaced
  block:
    - name: Silence the alarms of the web servers, but for critical ones
      thermostat.openstack.silence:
        cloud: mycloud
        comment: the switches of row 4 are replaced
        duration: 7200
        matcher: &web
          - {field: name, op: regex, value: ^web-}
          - {field: severity, op: ne, value: critical}

    - name: Replace them
      ansible.builtin.include_role:
        name: replace_switches
  always:
    - name: From now on tell again, also what is still wrong
      thermostat.openstack.silence:
        cloud: mycloud
        comment: the switches of row 4 are replaced
        matcher: *web
        state: absent
"""

RETURN = r"""
silence:
  description: The silence as it is now. In check mode it has what is known of it.
  returned: when O(state=present)
  type: dict
  contains:
    silence_id:
      description: The id.
      type: str
      sample: 0ac5a1c5-3ee6-4bd5-a9d8-6c3a1e8e3a4f
    status:
      description: V(pending), V(active) or V(expired).
      type: str
      sample: active
    from:
      description: When it begins, in UTC.
      type: str
      sample: "2026-12-01T04:00:00"
    until:
      description: When it ends, in UTC.
      type: str
      sample: "2026-12-01T06:00:00"
    author:
      description: The id of the user who made it.
      type: str
      sample: 4f0e0bd5a9d84bd5a9d86c3a1e8e3a4f
ended:
  description: The ids of the silences that this task let end.
  returned: when O(state=absent)
  type: list
  elements: str
  sample: [0ac5a1c5-3ee6-4bd5-a9d8-6c3a1e8e3a4f]
"""

from datetime import datetime, timedelta, timezone

from ansible_collections.thermostat.openstack.plugins.module_utils._module import AlarmModule

SHOWN = ("comment", "matcher", "from", "until", "all_projects")


class SilenceModule(AlarmModule):
    argument_spec = {
        "state": dict(type="str", choices=["present", "absent"], default="present"),
        "comment": dict(type="str", required=True),
        "matcher": dict(
            type="list",
            elements="dict",
            required=True,
            options=dict(
                field=dict(
                    type="str",
                    choices=["name", "alarm_id", "description", "severity", "type", "state"],
                    required=True,
                ),
                op=dict(type="str", choices=["eq", "ne", "regex"], default="eq"),
                value=dict(type="str", required=True),
            ),
        ),
        "duration": dict(type="int"),
        "until": dict(type="str"),
        "from": dict(type="str"),
        "all_projects": dict(type="bool", default=False),
    }
    module_kwargs = dict(supports_check_mode=True, mutually_exclusive=[("duration", "until")])

    def work(self):
        found = self.find()
        if self.params["state"] == "absent":
            return self.end(found)
        times = {}
        for name in ("from", "until"):
            if self.params[name] is not None:
                times[name] = self.instant(name)
        if found:
            return self.change(found[0], times)
        return self.create(times)

    def find(self):
        """Give the silences with this comment and matcher that are not over, the longest first."""
        wanted = canonical(self.params["matcher"])
        return [
            silence
            for silence in self.client.list_silences(self.params["all_projects"])
            if silence["comment"] == self.params["comment"]
            and canonical(silence["matcher"]) == wanted
        ]

    def instant(self, name):
        """Give the instant that an option means, as the service shows it."""
        try:
            return shown(self.params[name])
        except ValueError:
            self.fail_json(msg=f"{name}: {self.params[name]!r} is not an ISO 8601 instant")

    def create(self, times):
        duration = self.params["duration"]
        if duration is None and "until" not in times:
            self.fail_json(msg="there is no such silence, and a new one needs duration or until")
        if duration is not None:
            if duration < 1:
                self.fail_json(msg="duration: must be at least 1 second")
            begin = datetime.fromisoformat(times["from"]) if "from" in times else now()
            times["until"] = (begin + timedelta(seconds=duration)).isoformat()
        silence = dict(times, comment=self.params["comment"], matcher=self.params["matcher"])
        if self.params["all_projects"]:
            silence["all_projects"] = True
        result = changed({}, silence)
        if not self.check_mode:
            result["silence"] = self.client.create_silence(silence)
        return result

    def change(self, silence, times):
        wanted = dict(silence, **times)
        if wanted == silence:
            return dict(changed=False, silence=silence, diff=dict(before={}, after={}))
        result = changed(silence, wanted)
        if not self.check_mode:
            definition = {name: wanted[name] for name in SHOWN}
            result["silence"] = self.client.replace_silence(silence["silence_id"], definition)
        return result

    def end(self, silences):
        ended = []
        for silence in silences:
            if self.check_mode or self.client.expire_silence(silence["silence_id"]):
                ended.append(silence)
        return dict(
            changed=bool(ended),
            ended=[silence["silence_id"] for silence in ended],
            diff=dict(before={s["silence_id"]: parts(s) for s in ended}, after={}),
        )


def changed(before, after):
    return dict(changed=True, silence=after, diff=dict(before=parts(before), after=parts(after)))


def parts(silence):
    """Give the part of a silence that its author decides."""
    return {name: silence[name] for name in SHOWN if name in silence}


def canonical(matcher):
    """Bring a matcher to a form in which equal meanings are equal: the order means nothing."""
    return {(term["field"], term.get("op") or "eq", str(term["value"])) for term in matcher}


def shown(text):
    """Give an instant as the service shows it: in UTC, without its offset. Raises ValueError."""
    instant = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    if instant.tzinfo is not None:
        instant = instant.astimezone(timezone.utc).replace(tzinfo=None)
    return instant.isoformat()


def now():
    """Give the time in UTC, without its offset."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def main():
    SilenceModule()()


if __name__ == "__main__":
    main()
