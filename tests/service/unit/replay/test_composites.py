# SPDX-License-Identifier: Apache-2.0
"""Rules over rules are replayed with the alarms that they name."""

import json

import pytest

from thermostat.cmd.replay import main

ALARMS = """\
alarms:
  - name: busy
    type: threshold
    threshold_rule: {meter_name: cpu_util, comparison_operator: gt, threshold: 70}
  - name: full
    type: threshold
    threshold_rule: {meter_name: memory.util, comparison_operator: gt, threshold: 80}
  - name: maintenance
    type: threshold
    threshold_rule: {meter_name: maintenance, comparison_operator: gt, threshold: 0}
  - name: overloaded
    type: composite
    composite_rule:
      or:
        - and: [{type: alarm, alarm_id: busy}, {not: {type: alarm, alarm_id: full}}]
        - {type: threshold, meter_name: cpu_util, comparison_operator: gt, threshold: 95}
      suppressor: maintenance
    alarm_actions: ['https://hook.example']
  - name: both
    type: combination
    combination_rule: {alarm_ids: [busy, full], operator: and}
"""
TEST = f"""\
{ALARMS}
tests:
  - name: over other alarms, by name
    series:
      - {{meter: cpu_util, resource: vm-1, values: "50 90 90 50 99"}}
      - {{meter: memory.util, resource: vm-1, values: "50 50 90 90 90"}}
      - {{meter: maintenance, resource: vm-1, values: "0x5"}}
    expect:
      - {{at: 4m, alarm: overloaded, state: alarm}}
    transitions:
      - {{at: 0, alarm: busy, state: ok}}
      - {{at: 0, alarm: full, state: ok}}
      - {{at: 0, alarm: maintenance, state: ok}}
      - {{at: 0, alarm: overloaded, state: ok}}
      - {{at: 0, alarm: both, state: ok}}
      - {{at: 1m, alarm: busy, state: alarm}}
      - {{at: 1m, alarm: overloaded, state: alarm}}
      - {{at: 2m, alarm: full, state: alarm}}
      - {{at: 2m, alarm: overloaded, state: ok}}
      - {{at: 2m, alarm: both, state: alarm}}
      - {{at: 3m, alarm: busy, state: ok}}
      - {{at: 3m, alarm: both, state: ok}}
      - {{at: 4m, alarm: busy, state: alarm}}
      - {{at: 4m, alarm: overloaded, state: alarm}}
      - {{at: 4m, alarm: both, state: alarm}}
"""


@pytest.fixture
def test(tmp_path, capsys):
    """Run the tests in a text; give status, output and errors."""

    def test(text):
        (tmp_path / "test.yaml").write_text(text)
        status = main(["test", str(tmp_path / "test.yaml")])
        return status, *capsys.readouterr()

    return test


def test_states_follow_those_of_other_alarms(test):
    status, output, errors = test(TEST)
    assert (status, errors) == (0, ""), output


def test_a_failure_shows_the_datapoints_of_sub_rules(test):
    status, output, _ = test(
        TEST.replace("alarm: overloaded, state: alarm}", "alarm: overloaded, state: ok}", 1)
    )
    assert status == 1
    assert "datapoints of avg of cpu_util over 60 s > 95, by end (samples): 4m 99 (1)" in output
    assert "changed at 4m: ok -> alarm" in output


def test_names_may_be_used_where_alarms_have_ids(test):
    assert test(TEST.replace("- name: busy\n", "- name: busy\n    alarm_id: b1\n"))[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "alarm_id: full",
            "alarm_id: fool",
            ":15: alarms[3].composite_rule.or[0].and[1].not.alarm_id: there is no alarm 'fool'",
        ),
        (
            "suppressor: maintenance",
            "suppressor: none",
            ":17: alarms[3].composite_rule.suppressor: there is no alarm 'none'",
        ),
        ("alarm_id: busy", "alarm_id: both", ": 'overloaded' depends on a cycle of alarms"),
        ("alarm_ids: [busy, full]", "alarm_ids: [overloaded, full]", None),
    ],
)
def test_references_that_lead_nowhere_are_named(test, old, new, error):
    text = TEST.replace(old, new)
    if "cycle" in str(error):
        text = text.replace("alarm_ids: [busy, full]", "alarm_ids: [overloaded, full]")
    status, _, errors = test(text)
    if error is None:
        assert status == 1  # other states, but no error
        return
    assert status == 2
    assert error in errors


def test_suppressed_alarms_change_their_state(test):
    text = TEST.replace('values: "0x5"', 'values: "0 1x4"')
    text = text.replace(
        "      - {at: 1m, alarm: busy",
        "      - {at: 1m, alarm: maintenance, state: alarm}\n      - {at: 1m, alarm: busy",
    )
    status, output, errors = test(text)
    assert (status, errors) == (0, ""), output


def test_a_run_says_where_actions_were_withheld(tmp_path, capsys):
    (tmp_path / "alarms.yaml").write_text(ALARMS)
    lines = [
        {
            "name": meter,
            "type": "gauge",
            "unit": "%",
            "volume": volume,
            "resource_id": "vm-1",
            "project_id": "p1",
            "timestamp": f"2026-03-02T09:{minute:02d}:00",
        }
        for minute, volumes in enumerate([(50, 0, 1), (90, 0, 1), (90, 0, 0), (90, 0, 0)])
        for meter, volume in zip(("cpu_util", "memory.util", "maintenance"), volumes, strict=True)
    ]
    (tmp_path / "samples").write_text("\n".join(map(json.dumps, lines)))
    arguments = ["--alarm", str(tmp_path / "alarms.yaml"), "--samples", str(tmp_path / "samples")]
    main(["run", *arguments, "--format", "json", "--allowed-lag", "0", "--repeats"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    of_it = [
        (one["timestamp"][14:19], one["state"], one["suppressed"], one["repeated"])
        for one in found
        if one.get("name") == "overloaded"
    ]
    assert of_it == [
        ("00:00", "ok", False, False),
        ("01:00", "alarm", True, False),
        ("02:00", "alarm", False, True),
    ]
