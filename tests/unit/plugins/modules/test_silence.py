# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.thermostat.openstack.plugins.modules import silence
from ansible_collections.thermostat.openstack.plugins.modules.silence import SilenceModule

MATCHER = [{"field": "name", "op": "regex", "value": "^web-"}, {"field": "type", "value": "event"}]
KNOWN = {
    "silence_id": "s1",
    "project_id": "ours",
    "all_projects": False,
    "matcher": [
        {"field": "type", "op": "eq", "value": "event"},
        {"field": "name", "op": "regex", "value": "^web-"},
    ],
    "from": "2026-12-01T04:00:00",
    "until": "2026-12-01T06:00:00",
    "comment": "switches",
    "status": "active",
}


class Failed(Exception):
    pass


class Client:
    """A stand-in for the client that keeps silences."""

    def __init__(self, *silences):
        self.silences = list(silences)
        self.sent = []

    def list_silences(self, all_projects=False):
        return [one for one in self.silences if one["all_projects"] == all_projects]

    def create_silence(self, wanted):
        self.sent.append(wanted)
        return dict(KNOWN, **wanted)

    def replace_silence(self, silence_id, wanted):
        self.sent.append((silence_id, wanted))
        return dict(KNOWN, **wanted)

    def expire_silence(self, silence_id):
        self.sent.append(silence_id)
        return silence_id != "over"


def run(client, check_mode=False, **given):
    """Give the module's result for these options."""
    module = SilenceModule.__new__(SilenceModule)
    defaults = dict.fromkeys(SilenceModule.argument_spec)
    own = dict(state="present", comment="switches", matcher=MATCHER, all_projects=False)
    module.params = {**defaults, **own, **given}
    module.check_mode = check_mode
    module.client = client

    def fail_json(msg):
        raise Failed(msg)

    module.fail_json = fail_json
    return module.work()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(silence, "now", lambda: silence.datetime(2026, 12, 1, 4))


def test_a_new_one():
    client = Client(dict(KNOWN, comment="another"), dict(KNOWN, matcher=MATCHER[:1]))
    result = run(client, duration=7200)
    assert result["changed"]
    assert result["silence"]["silence_id"] == "s1"
    assert client.sent == [
        {"until": "2026-12-01T06:00:00", "comment": "switches", "matcher": MATCHER}
    ]
    assert (result["diff"]["before"], result["diff"]["after"]["comment"]) == ({}, "switches")


def test_a_new_one_of_later_and_of_all_projects():
    client = Client(KNOWN)
    run(client, duration=60, all_projects=True, **{"from": "2026-12-02T01:00:00+01:00"})
    (wanted,) = client.sent
    assert (wanted["from"], wanted["until"]) == ("2026-12-02T00:00:00", "2026-12-02T00:01:00")
    assert wanted["all_projects"] is True


@pytest.mark.parametrize(
    "given",
    [
        {"duration": 60},
        {"until": "2026-12-01T06:00:00Z"},
        {"until": "2026-12-01T07:00:00+01:00", "from": "2026-12-01T04:00:00"},
        {},
    ],
)
def test_one_that_is_there_stays(given):
    client = Client(KNOWN)
    result = run(client, **given)
    assert (result["changed"], result["silence"], client.sent) == (False, KNOWN, [])


def test_until_extends():
    client = Client(KNOWN)
    result = run(client, until="2026-12-01T08:00:00Z")
    assert result["changed"]
    ((silence_id, wanted),) = client.sent
    assert (silence_id, wanted["until"]) == ("s1", "2026-12-01T08:00:00")
    assert set(wanted) == {"comment", "matcher", "from", "until", "all_projects"}
    assert result["diff"]["before"]["until"] == "2026-12-01T06:00:00"


def test_absent_ends_all_of_them():
    client = Client(KNOWN, dict(KNOWN, silence_id="s2"), dict(KNOWN, silence_id="over"))
    result = run(client, state="absent")
    assert (result["changed"], result["ended"]) == (True, ["s1", "s2"])
    assert client.sent == ["s1", "s2", "over"]
    again = run(Client(), state="absent")
    assert (again["changed"], again["ended"]) == (False, [])


@pytest.mark.parametrize(
    "given", [{"duration": 60}, {"until": "2026-12-01T08:00:00Z"}, {"state": "absent"}]
)
@pytest.mark.parametrize("known", [[], [KNOWN]])
def test_check_mode_tells_the_same_and_changes_nothing(given, known):
    client = Client(*known)
    would = run(client, check_mode=True, **given)
    assert client.sent == []
    did = run(Client(*known), **given)
    assert (would["changed"], would["diff"]) == (did["changed"], did["diff"])


@pytest.mark.parametrize(
    "given, words",
    [
        ({}, "needs duration or until"),
        ({"duration": 0}, "duration: must be at least 1 second"),
        ({"until": "soon"}, "until: 'soon' is not an ISO 8601 instant"),
        ({"duration": 5, "from": "then"}, "from: 'then' is not"),
    ],
)
def test_bad_options_are_named(given, words):
    with pytest.raises(Failed, match=words):
        run(Client(), **given)
