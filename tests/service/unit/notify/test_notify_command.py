# SPDX-License-Identifier: Apache-2.0
"""thermostat-notify: what is stuck and why, sent again or given up."""

import json
import subprocess
import sys

import pytest

from tests.service.hooks import Answer
from thermostat.cmd import notify
from thermostat.db.outbox import Outcome, Status

SECRET = "s3cret-signature"


@pytest.fixture
def configuration(tmp_path, notifier):
    path = tmp_path / "thermostat.conf"
    path.write_text(f"[database]\nconnection = {notifier.engine.url}\n")
    return ["--config-file", str(path)]


@pytest.fixture
def run(configuration, capsys):
    def run(command, *arguments):
        status = notify.main([command, *configuration, *arguments])
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def stuck(notifier):
    """A dead one and one that waits, by their targets."""
    notifier.fire(
        f"http://one.example/path?Signature={SECRET}", "https://two.example:81/b", "http://ok/"
    )
    due = {one.target: one.notification_id for one in notifier.outbox.due(2**62, 9)}
    notifier.outbox.settle(
        [
            Outcome(due["one.example"], Status.DEAD, "HTTP 410"),
            Outcome(due["two.example:81"], Status.PENDING, "no answer in time", 2 * 10**15),
            Outcome(due["ok"], Status.DELIVERED),
        ],
        5,
    )
    return due


def test_list_says_what_is_stuck_and_why(run, stuck):
    status, shown = run("list")
    assert status == 0
    head, *lines = shown.splitlines()
    assert head.split() == list(notify.COLUMNS)
    assert len(lines) == 2
    assert "http://one.example " in shown
    assert "HTTP 410" in shown
    assert "no answer in time" in shown
    assert stuck["two.example:81"] in shown
    assert SECRET not in shown
    assert "/path" not in shown


def test_list_as_json(run, stuck):
    _, shown = run("list", "--format", "json", "--status", "dead")
    (one,) = json.loads(shown)
    assert one["target"] == "http://one.example"
    assert one["id"] == stuck["one.example"]
    assert (one["status"], one["reason"], one["alarm"]) == ("dead", "HTTP 410", "a0")
    assert SECRET not in shown


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--target", "two.example:81"], 1),
        (["--target", "two.example"], 1),
        (["--target", "two"], 0),
        (["--scheme", "https"], 1),
        (["--alarm", "a0"], 2),
        (["--project", "p1"], 2),
        (["--project", "p2"], 0),
        (["--status", "delivered"], 1),
        (["--status", "delivered", "--status", "dead"], 2),
        (["--limit", "1"], 1),
    ],
)
def test_list_is_restricted(run, arguments, found):
    status, shown = run("list", *arguments)
    assert status == (0 if found else 1)
    assert len(shown.splitlines()) == 1 + found


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize("form", ["table", "json"])
def test_list_says_what_it_leaves_out(configuration, capsys, form):
    command = ["list", *configuration, "--format", form]
    assert notify.main([*command, "--limit", "1"]) == 0
    hint = capsys.readouterr().err
    assert hint == "thermostat-notify: the newest 1 of 2; --limit 2 shows all\n"
    assert notify.main([*command, "--limit", "2"]) == 0
    assert capsys.readouterr().err == ""


def test_dead_ones_are_delivered_after_a_retry(run, notifier, make_hook):
    hook = make_hook(lambda _call: Answer(410))
    notifier.start()
    notifier.fire(*[hook.url] * 3)
    assert notifier.wait()[Status.DEAD] == 3
    hook.answer = lambda _call: Answer()
    assert run("retry", "--status", "dead") == (0, "3 to be sent again\n")
    assert notifier.wait()[Status.DELIVERED] == 3
    assert len({call.headers["webhook-id"] for call in hook.calls}) == 3
    assert run("retry", "--all") == (1, "0 to be sent again\n")


def test_a_retry_has_a_new_deadline(run, notifier, make_hook):
    hook = make_hook(lambda _call: Answer(500))
    notifier.start(deadline=1)
    notifier.fire(hook.url)
    assert notifier.wait()[Status.DEAD] == 1
    before = len(hook.calls)
    run("retry", "--target", f"127.0.0.1:{hook.port}")
    notifier.wait()
    assert len(hook.calls) > before + 1


def test_drop(run, notifier, stuck):
    (row,) = [row for row in notifier.rows() if row["status"] == "dead"]
    assert run("drop", row["notification_id"]) == (0, "1 dropped\n")
    assert notifier.outbox.counts()[Status.DROPPED] == 1
    assert run("drop", row["notification_id"])[0] == 1
    assert run("drop", "--all") == (0, "1 dropped\n")
    assert notifier.outbox.counts()[Status.DELIVERED] == 1
    assert stuck


class TestMistakes:
    @pytest.mark.parametrize(
        "arguments",
        [["retry"], ["drop"], ["list", "--status", "lost"], ["list", "--limit", "0"], [], ["undo"]],
    )
    def test_arguments(self, arguments, capsys):
        with pytest.raises(SystemExit) as caught:
            notify.main(arguments)
        assert caught.value.code == 2
        assert "usage: thermostat-notify" in capsys.readouterr().err

    def test_no_database(self, tmp_path, capsys):
        path = tmp_path / "empty.conf"
        path.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/none.sqlite\n")
        assert notify.main(["list", "--config-file", str(path)]) == 1
        assert "thermostat-dbsync" in capsys.readouterr().err

    def test_no_configuration(self, capsys):
        assert notify.main(["list", "--config-file", "/none/such.conf"]) == 2
        assert "configuration" in capsys.readouterr().err

    def test_help(self):
        command = [sys.executable, "-m", "thermostat.cmd.notify", "list", "--help"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "--target" in shown
        assert "Exit status" in shown
