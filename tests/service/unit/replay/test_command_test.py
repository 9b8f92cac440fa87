# SPDX-License-Identifier: Apache-2.0
"""`thermostat-replay test`, from outside."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thermostat.cmd.replay import main

ALARMS = """\
alarms:
  - name: busy
    type: threshold
    threshold_rule: {meter_name: cpu_util, comparison_operator: gt, threshold: 70}
"""
PASSING = f"""\
{ALARMS}
tests:
  - name: a busy minute
    series:
      - {{meter: cpu_util, resource: vm-1, values: "50 50 90 50"}}
    expect:
      - {{at: 1m, alarm: busy, state: ok}}
      - {{at: 2m, alarm: busy, state: alarm, reason: "most recent: 90"}}
    transitions:
      - {{at: 0, alarm: busy, state: ok, previous: insufficient data}}
      - {{at: 120, alarm: busy, state: alarm}}
      - {{at: 3m, alarm: busy, state: ok, reason: "(avg of cpu_util over 60 s > 70: 50)"}}
"""


@pytest.fixture
def run(tmp_path, capsys):
    """Run the tests in a text; give status, output and errors."""

    def run(text, *arguments):
        path = tmp_path / "busy.test.yaml"
        path.write_text(text)
        status = main(["test", str(path), *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_passes(run):
    assert run(PASSING) == (0, "PASS a busy minute\n1 passed, 0 failed\n", "")


def test_a_wrong_state_is_shown_with_what_led_to_it(run):
    status, output, _ = run(
        PASSING.replace("at: 1m, alarm: busy, state: ok", "at: 3m, alarm: busy, state: alarm")
    )
    assert status == 1
    assert output.splitlines() == [
        output.splitlines()[0],
        "  line 11: at 3m: busy: expected alarm, found ok",
        "    reason: Transition to ok due to 1 samples inside threshold, most recent: 50"
        " (avg of cpu_util over 60 s > 70: 50)",
        "    datapoints of avg of cpu_util over 60 s > 70, by end (samples): 3m 50 (1)",
        "    series cpu_util of vm-1: 0s=50  1m=50  2m=90  3m=50",
        "    changed at 0s: insufficient data -> ok",
        "    changed at 2m: ok -> alarm",
        "    changed at 3m: alarm -> ok",
        "0 passed, 1 failed",
    ]
    assert output.startswith("FAIL a busy minute  (")
    assert output.splitlines()[0].endswith("busy.test.yaml:7)")


def test_a_wrong_reason_is_shown(run):
    status, output, _ = run(PASSING.replace("recent: 90", "recent: 91"))
    assert status == 1
    assert "busy: is alarm as expected, but its reason has no 'most recent: 91'" in output
    assert (
        "reason: Transition to alarm due to 1 samples outside threshold, most recent: 90" in output
    )


def test_transitions_are_compared_as_a_whole(run):
    status, output, _ = run(
        PASSING.replace("at: 120,", "at: 150,").replace(
            "previous: insufficient data", "previous: alarm"
        )
    )
    assert status == 1
    differing = [line.split("  (")[0] for line in output.splitlines() if "-> " in line]
    assert differing == [
        "    -       0s  busy: alarm -> ok",
        "    +       0s  busy: insufficient data -> ok",
        "    -    2m30s  busy: -> alarm",
        "    +       2m  busy: ok -> alarm",
        "            3m  busy: alarm -> ok",
    ]


def test_no_transitions_may_be_expected(run):
    text = PASSING[: PASSING.index("    expect")]
    status, output, _ = run(text + "    transitions: []\n")
    assert status == 1
    assert output.count("    + ") == 3


def test_options_of_a_test_come_before_those_of_the_file(run):
    text = f"""\
{ALARMS}
interval: 60
start: 2026-03-29T00:58:00Z     # the clocks in Berlin go forward at 01:00 UTC
allowed_lag: 0
tests:
  - name: of the file
    series: [{{meter: cpu_util, resource: a, values: "90 90 _x5"}}]
    expect: [{{at: 2m, alarm: busy, state: insufficient data}}]
  - name: its own interval and lag
    interval: 30s
    allowed_lag: 20
    series: [{{meter: cpu_util, resource: a, values: "90 90 _x5"}}]
    expect:
      - {{at: 30s, alarm: busy, state: alarm}}
      - {{at: 1m49s, alarm: busy, state: alarm}}
      - {{at: 1m50s, alarm: busy, state: insufficient data}}
  - name: its own alarms and start
    start: 2026-03-29 00:59:30+00:00
    alarms:
      - name: at night
        type: threshold
        threshold_rule: {{meter_name: cpu_util, threshold: 1, comparison_operator: ge}}
        time_constraints: [{{name: n, start: "0 3 * * *", duration: 60, timezone: Europe/Berlin}}]
    interval: 10
    series: [{{meter: cpu_util, resource: a, values: 2x20}}]
    transitions: [{{at: 30s, alarm: at night, state: alarm}}]
"""
    status, output, errors = run(text)
    assert (status, errors) == (0, ""), output


def test_alarms_may_be_in_files_beside_the_test(run, tmp_path):
    (tmp_path / "alarms").mkdir()
    (tmp_path / "alarms" / "busy.yaml").write_text(ALARMS)
    assert run(PASSING.replace(ALARMS, "alarm_files: [alarms/busy.yaml]\n"))[0] == 0
    status, _, errors = run(PASSING.replace(ALARMS, "alarm_files: [alarms/none.yaml]\n"))
    assert status == 2
    assert ":1: alarm_files[0]: alarms/none.yaml: No such file or directory" in errors


def test_counters_and_groups(run):
    text = """\
alarms:
  - name: traffic
    type: threshold
    threshold_rule:
      meter_name: network.incoming.bytes.rate
      comparison_operator: gt
      threshold: 15
      query: [{field: metadata.user_metadata.server_group, value: web}]
tests:
  - name: rates are made per resource
    series:
      - meter: network.incoming.bytes
        resource: vm-1
        type: cumulative
        metadata: {user_metadata: {server_group: web}}
        values: "1000+600x2 0+1200x3"       # 10 B/s, restarted, 20 B/s
      - meter: network.incoming.bytes
        resource: db-1
        type: cumulative
        metadata: {user_metadata: {server_group: db}}
        values: "0+9000x6"
    transitions:
      - {at: 1m, alarm: traffic, state: ok}
      - {at: 3m, alarm: traffic, state: insufficient data}
      - {at: 4m, alarm: traffic, state: alarm}
"""
    status, output, _ = run(text)
    assert status == 0, output


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("values: ", "valeus: ", ":9: tests[0].series[0].valeus: is not known here"),
        ("tests:", "test:", ":6: test: is not known here"),
        ('"50 50 90 50"', '"50 5O"', ":9: tests[0].series[0].values: '5O' is none of: a number"),
        ("state: alarm,", "state: on fire,", ":12: tests[0].expect[1].state: Invalid enum value"),
        ("at: 2m", "at: soon", ":12: tests[0].expect[1].at: 'soon' is not a span of time"),
        (
            "at: 2m, alarm: busy",
            "at: 2m, alarm: bussy",
            ":12: tests[0].expect[1].alarm: 'bussy' is not one of busy",
        ),
        (
            "threshold: 70",
            "threshold: hot",
            ":4: alarms[0].threshold_rule.threshold: Expected `float`",
        ),
        ("  - name: a busy minute", "  - name: ''", ":7: tests[0].name: "),
        (
            "    series:",
            "    until: 1m\n    series:",
            "until: ends before the expectation of line 13",
        ),
        (
            "    series:",
            "    interval: 0.5\n    series:",
            ":8: tests[0].interval: must be at least 1",
        ),
        ("    series:", "    start: noon\n    series:", ":8: tests[0].start: 'noon' is not a date"),
        ("    series:", "    allowed_lag: x\n    series:", ":8: tests[0].allowed_lag: 'x' is not"),
        ("at: 2m", "at: 999d", ":7: tests[0]: covers more than 31 days"),
        ("meter: cpu_util, ", "", ":9: tests[0].series[0].meter: is missing"),
        ("    expect:", "    expect: [", ": not YAML: "),
        (ALARMS, "", ": tests[0]: there are no alarms"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_line_and_field(run, old, new, error):
    assert old in PASSING
    status, output, errors = run(PASSING.replace(old, new, 1))
    assert status == 2
    assert error in errors
    assert errors.startswith("thermostat-replay: ")
    assert "busy.test.yaml" in errors
    assert output.endswith("0 passed, 0 failed, 1 files could not be used\n")


def test_a_test_must_expect_something(run):
    status, _, errors = run(PASSING[: PASSING.index("    expect")])
    assert status == 2
    assert "tests[0]: a test expects something: give expect or transitions" in errors


def test_names_are_given_once(run):
    status, _, errors = run(PASSING + PASSING[PASSING.index("  - name: a busy") :])
    assert status == 2
    assert "'a busy minute' is the name of two tests" in errors


def test_the_other_files_are_run_all_the_same(run, tmp_path):
    status, output, errors = run(PASSING, tmp_path / "none.yaml")
    assert status == 2
    assert output == "PASS a busy minute\n1 passed, 0 failed, 1 files could not be used\n"
    assert "none.yaml: No such file or directory" in errors


def test_junit(run, tmp_path):
    failing = PASSING.replace("recent: 90", "recent: 91") + (
        "  - name: second\n    expect: [{at: 0, alarm: busy, state: insufficient data}]\n"
    )
    assert run(failing, "--junit", tmp_path / "out.xml")[0] == 1
    (suite,) = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first, second = suite
    assert (first.get("name"), second.get("name")) == ("a busy minute", "second")
    assert "most recent: 91" in first.find("failure").get("message")
    assert second.find("failure") is None


WORDS = re.findall(r"\w+|\W", PASSING)
ODD = [
    *(
        "null",
        "[]",
        "{}",
        "[[[[",
        "- ",
        "? a\n: b\n",
        "'",
        '"',
        ": ",
        "|",
        "%",
        "@",
        "\t",
        "\0",
        "é",
    ),
    *("-1", "1e400", ".inf", ".nan", "0x10", "1:30", "_x99999", "1+1x99999", "31d", "2026-01-01"),
    *(
        "&a ",
        "*a",
        "!!set {a}",
        "!!binary aGk=",
        "!!python/object:os.system x",
        "cumulative",
        "true",
    ),
]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.integers(0, len(WORDS) - 1), st.sampled_from(["", *ODD])),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_a_file_says_it_is_run_or_refused_with_its_name(run, changes):
    words = list(WORDS)
    for position, odd in changes:
        words[position] = odd
    status, output, errors = run("".join(words))
    assert status in (0, 1, 2)
    assert (status == 2) == ("busy.test.yaml" in errors)
    assert output.endswith(("passed, 0 failed\n", "passed, 1 failed\n", "could not be used\n"))
