# SPDX-License-Identifier: Apache-2.0
"""`thermostat-replay run`, from outside."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.alarm_support import make_alarm, open_database
from thermostat.alarms.model import State
from thermostat.alarms.outside import PrometheusRule
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import ThresholdRule
from thermostat.cmd.replay import main
from thermostat.db.alarms import AlarmRepository
from thermostat.db.history import Author
from thermostat.ingest import Ingest
from thermostat.replay.reading import SampleReader
from thermostat.store.embedded import EmbeddedStore

GOLDEN = Path(__file__).parents[2] / "golden" / "replay" / "ceilometer"
ROTATED = [str(GOLDEN / name) for name in ("meters", "meters.1", "meters.2")]
AS_JSON = str(GOLDEN / "meters.json")
ALARM = """\
name: web-busy
type: threshold
threshold_rule:
  meter_name: cpu_util
  comparison_operator: gt
  threshold: 45
  evaluation_periods: 2
  query: [{field: metadata.user_metadata.server_group, value: web}]
"""
PRINTED = """\
TIME (UTC)           ALARM     STATE                                   REASON
2026-03-02 09:02:25  web-busy  insufficient data -> ok                 Transition to ok due to 2 \
samples inside threshold, most recent: 15 (avg of cpu_util over 60 s > 45: 15, 15)
2026-03-02 09:05:25  web-busy  ok -> alarm                             Transition to alarm due to \
2 samples outside threshold, most recent: 52.5 (avg of cpu_util over 60 s > 45: 50, 52.5)
"""


@pytest.fixture
def alarm(tmp_path):
    path = tmp_path / "busy.yaml"
    path.write_text(ALARM)
    return str(path)


@pytest.fixture
def run(capsys):
    """Run the command; give status, output and errors."""

    def run(*arguments):
        status = main(["run", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def objects(output):
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("files", [ROTATED, ROTATED[::-1], [AS_JSON]])
def test_prints_transitions_reasons_and_a_summary(run, alarm, files):
    status, output, errors = run("--alarm", alarm, "--samples", *files)
    assert (status, errors) == (0, "")
    table, _, summary = output.rpartition("\n2026-03-02 09:01:00 to ")
    assert table + "\n" == PRINTED
    assert summary.startswith("2026-03-02 09:08:00: 19 samples read, 16 judged; ")
    assert "; 2 transitions; " in summary


def test_prints_json_lines(run, alarm):
    status, output, _ = run("--alarm", alarm, "--samples", AS_JSON, "--format", "json")
    *transitions, last = objects(output)
    assert status == 0
    assert [
        (one["timestamp"], one["name"], one["previous"], one["state"]) for one in transitions
    ] == [
        ("2026-03-02T09:02:25Z", "web-busy", "insufficient data", "ok"),
        ("2026-03-02T09:05:25Z", "web-busy", "ok", "alarm"),
    ]
    assert transitions[1]["reason_data"]["most_recent"] == 52.5
    summary = last["summary"]
    assert (summary["samples_read"], summary["transitions"], summary["bad_lines"]) == (19, 2, 0)
    assert summary["start"] < summary["end"] == "2026-03-02T09:08:00.274572Z"


def test_reads_standard_input(run, alarm, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(Path(AS_JSON).read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("--alarm", alarm, "--samples", "-")[1].startswith(PRINTED)


def test_the_span_may_be_given(run, alarm):
    arguments = ("--alarm", alarm, "--samples", AS_JSON, "--format", "json")
    output = run(*arguments, "--start", "-5m", "--end", "2026-03-02T09:07:00Z")[1]
    *transitions, last = objects(output)
    assert (last["summary"]["start"], last["summary"]["end"]) == (
        "2026-03-02T09:02:00Z",
        "2026-03-02T09:07:00Z",
    )
    # the window at the start has what was measured before
    assert transitions[0]["state"] == "ok"
    assert transitions[0]["timestamp"] < "2026-03-02T09:03:00Z"


def test_a_shorter_lag_tells_earlier(run, alarm):
    output = run("--alarm", alarm, "--samples", AS_JSON, "--format", "json", "--allowed-lag", 0)[1]
    assert [one.get("timestamp") for one in objects(output)] == [
        "2026-03-02T09:02:10Z",
        "2026-03-02T09:05:10Z",
        None,
    ]


def test_repetitions_are_counted_and_printed_if_wanted(run, tmp_path):
    path = tmp_path / "alarm.yaml"
    path.write_text(ALARM + "repeat_actions: true\nalarm_actions: ['http://x.example']\n")
    output = run("--alarm", path, "--samples", AS_JSON)[1]
    assert output.startswith(PRINTED)
    assert ", 17 repetitions; " in output
    output = run("--alarm", path, "--samples", AS_JSON, "--repeats")[1]
    assert output.count("alarm (repeated)") == 17


def test_says_which_rule_matches_nothing(run, tmp_path):
    path = tmp_path / "alarm.yaml"
    path.write_text(ALARM.replace("value: web", "value: wep"))
    status, output, errors = run("--alarm", path, "--samples", AS_JSON)
    assert status == 0
    assert "; 0 transitions" in output
    assert errors == (
        "thermostat-replay: alarm web-busy: no series of cpu_util in project p1 matches its query\n"
    )


def test_bad_lines(run, alarm, tmp_path):
    path = tmp_path / "samples"
    path.write_text("nonsense\n" + Path(AS_JSON).read_text())
    status, output, errors = run("--alarm", alarm, "--samples", path)
    assert (status, output) == (2, "")
    assert errors.startswith(f"thermostat-replay: {path}:1: the line is not valid JSON: ")
    assert errors.endswith("(--skip-bad-lines goes on)\n")
    status, output, errors = run("--alarm", alarm, "--samples", path, "--skip-bad-lines")
    assert status == 0
    assert output.startswith(PRINTED)
    assert "1 bad lines skipped" in output
    assert f"1 bad lines were skipped, the first: {path}:1: " in errors


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--samples", AS_JSON], "there are no alarms: give --alarm FILE or --alarm-id ID"),
        (["--alarm", "none.yaml", "--samples", AS_JSON], "--alarm: none.yaml: No such file"),
        (["--alarm", "ALARM", "--samples", "none"], "--samples: none: No such file"),
        (["--alarm", "ALARM", "--samples", "/"], "--samples: /: Is a directory"),
        (
            ["--alarm", "ALARM", "--samples", "/dev/null"],
            "none of 0 samples is of a meter of the alarms: cpu_util",
        ),
        (["--alarm", "ALARM", "--store", "/none"], "--store: there is no store in /none"),
        (
            ["--alarm", "ALARM", "--samples", AS_JSON, "--start", "noon"],
            "--start: 'noon' is neither a date",
        ),
        (
            ["--alarm", "ALARM", "--samples", AS_JSON, "--start", "-6x"],
            "--start: '6x' is not a span",
        ),
        (
            ["--alarm", "ALARM", "--samples", AS_JSON, "--start", "2030-01-01"],
            "--start: must be before",
        ),
        (["--alarm-id", "a1", "--config-file", "/none", "--samples", AS_JSON], "--config-file: "),
    ],
)
def test_what_cannot_be_used_is_named(run, alarm, arguments, error):
    status, output, errors = run(*(alarm if one == "ALARM" else one for one in arguments))
    assert (status, output) == (2, "")
    assert errors.startswith("thermostat-replay: ")
    assert error in errors


def test_a_project_is_needed_where_there_are_several(run, alarm, tmp_path):
    path = tmp_path / "samples"
    lines = Path(AS_JSON).read_text()
    path.write_text(lines + lines.replace('"p1"', '"p2"'))
    status, _, errors = run("--alarm", alarm, "--samples", path)
    assert status == 2
    assert "there are several: give --project (p1, p2)" in errors
    assert run("--alarm", alarm, "--samples", path, "--project", "p2")[1].startswith(PRINTED)


@pytest.fixture
def store(tmp_path):
    """A store with the golden samples, closed."""
    path = tmp_path / "store"
    opened = EmbeddedStore(path, min_free_mb=0, retention_hours=1_000_000)
    Ingest(opened, lambda _: None).accept(list(SampleReader().read([AS_JSON])), derive=True)
    opened.close()
    return path


def test_reads_a_store_and_leaves_it_as_it_is(run, alarm, store):
    for _ in range(2):  # what was older than any retention is still there
        status, output, _ = run("--alarm", alarm, "--store", store, "--end", "-0s")
        assert status == 0
        assert [line[:21] for line in output.splitlines()[1:3]] == [
            "2026-03-02 09:02:25  ",
            "2026-03-02 09:05:25  ",
        ]


def test_a_store_in_use_is_not_touched(alarm, store):
    opened = EmbeddedStore(store, min_free_mb=0)
    try:
        command = [sys.executable, "-m", "thermostat.cmd.replay", "run", "--alarm", alarm]
        found = subprocess.run(
            [*command, "--store", store], capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        opened.close()
    assert (found.returncode, found.stdout) == (2, "")
    assert "is in use by process " in found.stderr
    assert "POST /v2/alarms/preview" in found.stderr
    assert "Traceback" not in found.stderr


def test_takes_alarms_from_the_database(run, tmp_path):
    rule = ThresholdRule(
        meter_name="cpu_util",
        threshold=45.0,
        comparison_operator=Operator.GT,
        evaluation_periods=2,
        query=(Condition("metadata.user_metadata.server_group", Operator.EQ, "web"),),
    )
    database = open_database(tmp_path / "alarms.sqlite")
    AlarmRepository(database).create(
        make_alarm(name="web-busy", rule=rule, state=State.ALARM), Author("u", "p1")
    )
    outside = make_alarm(alarm_id="a3", rule=PrometheusRule(query="up", threshold=1.0))
    AlarmRepository(database).create(outside, Author("u", "p1"))
    database.dispose()
    conf = tmp_path / "server.conf"
    conf.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/alarms.sqlite\n")
    arguments = ("--config-file", conf, "--samples", AS_JSON)
    assert run("--alarm-id", "a1", *arguments)[1].startswith(PRINTED)
    status, _, errors = run("--alarm-id", "a2", *arguments)
    assert status == 2
    assert "--alarm-id: there is no alarm a2 in the database" in errors
    status, _, errors = run("--alarm-id", "a3", *arguments)
    assert status == 2
    assert "alarm a3: prometheus_rule: a prometheus rule cannot be judged" in errors


def test_help_names_everything(capsys):
    for command in ("run", "test"):
        with pytest.raises(SystemExit) as exited:
            main([command, "--help"])
        assert exited.value.code == 0
        assert "exit status" in capsys.readouterr().out


def test_output_that_nobody_reads_is_no_error(alarm):
    command = f"{sys.executable} -m thermostat.cmd.replay run --alarm {alarm} --samples {AS_JSON}"
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} --repeats | true"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        timeout=60,
    )
    assert (found.returncode, found.stderr) == (0, "")
