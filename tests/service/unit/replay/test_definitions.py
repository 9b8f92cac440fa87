# SPDX-License-Identifier: Apache-2.0
"""Alarm definitions from files, and errors that name file, line and field."""

import json

import pytest

from thermostat.alarms.query import Condition, Operator
from thermostat.replay.definitions import documents_of, make_alarms
from thermostat.replay.errors import DocumentError

BUSY = {
    "name": "busy",
    "type": "threshold",
    "threshold_rule": {"meter_name": "cpu_util", "threshold": 70, "comparison_operator": "gt"},
}
YAML = """\
name: busy
type: threshold
threshold_rule:
  meter_name: cpu_util
  comparison_operator: gt
  threshold: 70
"""


OUTSIDE = """\
name: outside
type: prometheus
prometheus_rule: {query: up, threshold: 1}
"""
MIXED = """\
type: composite
composite_rule:
  or:
    - {type: threshold, meter_name: cpu_util, threshold: 70}
    - {type: prometheus, query: up, threshold: 1}
name: mixed
"""


def alarms_of(tmp_path, text):
    path = tmp_path / "alarms"
    path.write_text(text)
    return make_alarms(list(documents_of(path)), project_id="p1", now_us=0)


@pytest.mark.parametrize(
    "text",
    [
        YAML,
        f"---\n{YAML}---\n",
        f"alarms:\n- {YAML.replace(chr(10), chr(10) + '  ')}",
        json.dumps(BUSY),
        json.dumps([BUSY], indent="\t"),
        json.dumps({"alarms": [BUSY]}),
    ],
)
def test_forms_of_a_file(tmp_path, text):
    (alarm,) = alarms_of(tmp_path, text)
    assert (alarm.alarm_id, alarm.name, alarm.project_id) == ("busy", "busy", "p1")
    assert (alarm.rule.meter_name, alarm.rule.threshold) == ("cpu_util", 70)


def test_an_alarm_as_the_api_shows_it(tmp_path):
    shown = {
        **BUSY,
        "alarm_id": "a1",
        "project_id": "p9",
        "user_id": "u",
        "state": "ok",
        "state_reason": "x",
        "state_timestamp": "2026-01-01T00:00:00",
        "timestamp": "2026-01-01T00:00:00",
        "evaluate_timestamp": None,
        "time_constraints": [],
    }
    (alarm,) = alarms_of(tmp_path, json.dumps(shown))
    assert (alarm.alarm_id, alarm.project_id) == ("a1", "p9")


def test_an_alarm_as_openstack_alarm_show_prints_it(tmp_path):
    # what aodhclient makes of the object above, with -f json
    shown = {
        **{field: value for field, value in BUSY.items() if field != "threshold_rule"},
        **BUSY["threshold_rule"],
        "alarm_id": "a1",
        "query": "metadata.user_metadata.server_group = web AND\nresource_id != a = b",
        "time_constraints": json.dumps([{"name": "n", "start": "0 8 * * *", "duration": 60}]),
        "severity": "low",
    }
    (alarm,) = alarms_of(tmp_path, json.dumps(shown))
    assert alarm.rule.query == (
        Condition("metadata.user_metadata.server_group", Operator.EQ, "web"),
        Condition("resource_id", Operator.NE, "a = b"),
    )
    assert alarm.time_constraints[0].duration == 60


def test_dates_need_no_quotes(tmp_path):
    (alarm,) = alarms_of(tmp_path, YAML + "timestamp: 2026-01-01T00:00:00\n")
    assert alarm.name == "busy"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (YAML.replace("70", "high"), ":6: threshold_rule.threshold: Expected `float`, got `str`"),
        (
            YAML.replace("threshold: 70", "limit: 70"),
            ":6: threshold_rule.limit: Unknown attribute.",
        ),
        (YAML.replace("  threshold: 70\n", ""), ":3: threshold_rule.threshold: Mandatory field"),
        (YAML + "colour: red\n", ":7: colour: Unknown attribute."),
        (YAML + "name: other\n", ":7: name: is given twice"),
        (YAML + "state: [\n", ": not YAML: "),
        (YAML + "\tx: 1\n", ":7: not YAML: "),
        (YAML.replace("gt", "~"), None),
        (YAML.replace("threshold\n", "weather\n"), ":2: type: 'weather' is not one of threshold"),
        ("alarms: [1]", ":1: alarms[0]: an alarm is a mapping"),
        (f"{YAML}---\n{YAML}", ": name: 'busy' is given to more than one alarm"),
        ("name: \udcff", ": not UTF-8: "),
        (OUTSIDE, ":3: prometheus_rule: a prometheus rule cannot be judged over recorded samples"),
        (MIXED, ":5: composite_rule.or[1]: a prometheus rule cannot be judged over recorded"),
        ("a: &a [*a]", ":1: is nested too deeply"),
    ],
)
def test_errors_name_file_line_and_field(tmp_path, text, error):
    path = tmp_path / "alarms"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    if error is None:
        make_alarms(list(documents_of(path)), project_id="p1", now_us=0)
        return
    with pytest.raises(DocumentError) as caught:
        make_alarms(list(documents_of(path)), project_id="p1", now_us=0)
    assert str(caught.value).startswith(str(path))
    assert error in str(caught.value)
