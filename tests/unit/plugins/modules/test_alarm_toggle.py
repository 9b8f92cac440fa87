# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.thermostat.openstack.plugins.module_utils._client import ApiError
from ansible_collections.thermostat.openstack.plugins.modules import alarm_toggle


class Failed(Exception):
    """The module's failure, with what it returns."""

    def __init__(self, msg, **result):
        super().__init__(msg)
        self.result = result


class Service:
    """A stand-in for the alarm service; `broken` are ids whose change it refuses.

    From the change of the alarm `away_from` on there is no answer; that change itself is made.
    """

    def __init__(self, enabled, broken=(), away_from=None):
        self.alarms = {
            name: {"alarm_id": name, "name": name, "type": "threshold", "enabled": value}
            for name, value in enabled.items()
        }
        self.warnings = []
        self.broken = broken
        self.away_from = away_from
        self.away = False

    def list_alarms(self):
        return [dict(alarm) for alarm in self.alarms.values()]

    def get_alarm(self, alarm_id):
        return self.alarms.get(alarm_id)

    def replace_alarm(self, alarm):
        if alarm["alarm_id"] in self.broken:
            raise ApiError("PUT", 503, "away")
        if self.away:
            raise ApiError("PUT", None, "Connection refused")
        self.away = alarm["alarm_id"] == self.away_from
        self.alarms[alarm["alarm_id"]] = alarm
        if self.away:
            raise ApiError("PUT", None, "Connection timed out")
        return alarm

    def enabled(self):
        return {name: alarm["enabled"] for name, alarm in self.alarms.items()}


def toggle(service, state, alarms=(), check_mode=False, **query):
    module = alarm_toggle.AlarmToggleModule.__new__(alarm_toggle.AlarmToggleModule)
    module.client = service
    module.check_mode = check_mode
    module.hide_signatures = lambda *alarms: None
    module.warn = service.warnings.append
    module.params = {"name": None, "query": None, "matching_metadata": None, **query}
    module.params.update(state=state, alarms=list(alarms))

    def fail_json(msg, **result):
        raise Failed(msg, **result)

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
    with pytest.raises(Failed, match="away") as failed:
        toggle(service, "paused", name="*")
    assert service.enabled() == {"web-1": True, "web-2": True}
    # A 5xx may come from a proxy after the change was made: it is remembered as perhaps paused.
    assert failed.value.result == {"paused": ["web-2"]}


def test_what_stays_paused_when_the_service_goes_away_is_returned_and_can_be_restored():
    service = Service({"web-1": True, "web-2": True, "web-3": True}, away_from="web-2")
    with pytest.raises(Failed, match=r"timed out; still paused.*web-1 \(web-1\), web-2") as failed:
        toggle(service, "paused", ["db"], name="*")
    assert service.enabled() == {"web-1": False, "web-2": False, "web-3": True}
    assert failed.value.result == {"paused": ["db", "web-1", "web-2"]}
    assert len(service.warnings) == 2
    service.away, service.away_from = False, None
    toggle(service, "restored", failed.value.result["paused"])
    assert all(service.enabled().values())


def test_an_alarm_without_an_answer_is_put_back_too():
    service = Service({"web-1": True}, away_from="web-1")
    real = service.replace_alarm

    def answer_again(alarm):
        try:
            return real(alarm)
        finally:
            service.away, service.away_from = False, None

    service.replace_alarm = answer_again
    with pytest.raises(Failed, match="timed out"):
        toggle(service, "paused", name="*")
    assert service.enabled() == {"web-1": True}


def test_restoring_that_fails_forgets_nothing():
    service = Service({"web-1": False, "web-2": False}, away_from="web-2")
    with pytest.raises(Failed, match="timed out") as failed:
        toggle(service, "restored", ["web-1", "web-2"])
    assert failed.value.result == {"paused": ["web-1", "web-2"]}


def test_a_pause_that_matches_nothing_warns():
    service = Service({"web-1": True})
    toggle(service, "paused", name="wbe-*")
    assert service.warnings == ["no alarm matches: nothing is paused"]
    toggle(service, "paused", name="web-*")
    toggle(service, "paused", ["web-1"], name="web-*")
    assert len(service.warnings) == 1
