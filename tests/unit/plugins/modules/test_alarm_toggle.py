# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.thermostat.openstack.plugins.module_utils._client import ApiError
from ansible_collections.thermostat.openstack.plugins.modules import alarm_toggle


class Failed(Exception):
    pass


class Service:
    """A stand-in for the alarm service; `broken` are ids whose change it refuses."""

    def __init__(self, enabled, broken=()):
        self.alarms = {
            name: {"alarm_id": name, "name": name, "type": "threshold", "enabled": value}
            for name, value in enabled.items()
        }
        self.broken = broken

    def list_alarms(self):
        return [dict(alarm) for alarm in self.alarms.values()]

    def get_alarm(self, alarm_id):
        return self.alarms.get(alarm_id)

    def replace_alarm(self, alarm):
        if alarm["alarm_id"] in self.broken:
            raise ApiError("PUT", 503, "away")
        self.alarms[alarm["alarm_id"]] = alarm
        return alarm

    def enabled(self):
        return {name: alarm["enabled"] for name, alarm in self.alarms.items()}


def toggle(service, state, alarms=(), check_mode=False, **query):
    module = alarm_toggle.AlarmToggleModule.__new__(alarm_toggle.AlarmToggleModule)
    module.client = service
    module.check_mode = check_mode
    module.hide_signatures = lambda *alarms: None
    module.warn = lambda message: None
    module.params = {"name": None, "query": None, "matching_metadata": None, **query}
    module.params.update(state=state, alarms=list(alarms))

    def fail_json(msg):
        raise Failed(msg)

    module.fail_json = fail_json
    return module.work()


def test_what_was_enabled_before_is_restored_and_nothing_else():
    service = Service({"web-1": True, "web-2": False, "web-3": True, "db": True})
    paused = toggle(service, "paused", name="web-*")
    assert paused["paused"] == ["web-1", "web-3"]
    assert service.enabled() == {"web-1": False, "web-2": False, "web-3": False, "db": True}
    del service.alarms["web-3"]
    restored = toggle(service, "restored", paused["paused"])
    assert service.enabled() == {"web-1": True, "web-2": False, "db": True}
    assert (restored["paused"], restored["gone"]) == ([], ["web-3"])


def test_pausing_again_changes_nothing_and_forgets_nothing():
    service = Service({"web-1": True})
    first = toggle(service, "paused", name="*")
    second = toggle(service, "paused", first["paused"], name="*")
    assert (second["changed"], second["paused"]) == (False, ["web-1"])


def test_restoring_what_someone_enabled_meanwhile_changes_nothing():
    service = Service({"web-1": True})
    assert toggle(service, "restored", ["web-1"])["changed"] is False
    assert toggle(service, "restored", [])["changed"] is False


def test_check_mode_tells_and_changes_nothing():
    service = Service({"web-1": True})
    result = toggle(service, "paused", check_mode=True, name="*")
    assert result["changed"] is True
    assert result["diff"] == {
        "before": {"web-1 (web-1)": "enabled"},
        "after": {"web-1 (web-1)": "disabled"},
    }
    assert service.enabled() == {"web-1": True}


def test_a_refusal_halfway_leaves_all_as_they_were():
    service = Service({"web-1": True, "web-2": True}, broken=["web-2"])
    with pytest.raises(Failed, match="away"):
        toggle(service, "paused", name="*")
    assert service.enabled() == {"web-1": True, "web-2": True}
