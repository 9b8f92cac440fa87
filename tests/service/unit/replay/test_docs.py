# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/replay.md do what it says."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from thermostat.cmd.replay import main
from thermostat.replay.notation import values

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT / "tests" / "service" / "golden" / "replay" / "ceilometer"
DOCS = (ROOT / "docs" / "replay.md").read_text()
FILES = re.findall(r"`(\S+\.yaml)`:\n\n```yaml\n(.*?)```", DOCS, re.S)
COMMANDS = re.findall(r"```console\n\$ thermostat-replay (.*?)\n(.*?)```", DOCS, re.S)


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """The files that the text shows and names, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, content in FILES:
        Path(name).write_text(content)
    first = dict(FILES)["web-busy.test.yaml"].partition("\n  - name: another")[0]
    first = first.replace("{at: 2m,", "{at: 3m,").replace("state: ok", "state: alarm")
    Path("too-early.test.yaml").write_text(re.sub(r".*at: 4m.*\n?", "", first))
    for name in ("meters", "meters.1", "meters.2"):
        shutil.copy(GOLDEN / name, name)


def test_there_are_examples():
    assert len(FILES) == 2
    assert len(COMMANDS) == 3


@pytest.mark.parametrize(("arguments", "wanted"), COMMANDS)
def test_commands_print_what_the_text_shows(capsys, arguments, wanted):
    main(shlex.split(arguments))
    assert timeless(capsys.readouterr().out) == timeless(wanted)


def timeless(text):
    return re.sub(r"\d+\.\d\d s$", "… s", text, flags=re.M)


def test_values_are_what_the_table_says():
    rows = re.findall(r"^\| `([^` ]+)` \|.*`([^`]*)` \|$", DOCS.partition("### Values")[2], re.M)
    assert len(rows) == 4
    for short, long in rows:
        assert values(short) == values(long)
