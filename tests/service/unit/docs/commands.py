# SPDX-License-Identifier: Apache-2.0
"""Judges of command lines: what they call exists and takes these arguments."""

import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import entry_points
from pathlib import Path
from unittest import mock

from tests.service.unit.docs.blocks import ROOT

BIN = Path(sys.executable).parent
NOT_OURS = {
    "apt-get": "Debian's",
    "pip": "tests/service/lab/test_collection.py installs with it",
    "ansible-galaxy": "Ansible's",
    "export": "the shell's",
    "python3": "Python's own venv",
    "oslopolicy-sample-generator": "tests/service/unit/test_samples_of_configuration.py",
    "thermostat-server-service": "tests/service/lab/test_collection.py: the role writes it",
}
"""Programs that are not run here, and why."""


def console(block, collections):
    """Judge each line with a prompt; the other lines are what is printed."""
    text = re.sub(r"\\\n *", "", block.text)
    lines = re.findall(r"^[$#] (.*)$", text, re.M)
    assert lines, "a line that is typed begins with '$ '"
    for line in lines:
        words = shlex.split(line, comments=True)
        program = Path(words[0]).name
        if program == "python" and words[1] == "-m":
            _module(words[2:])
        elif program == "make":
            _targets(words[1:])
        elif program == "openstack":
            _openstack(words[1:])
        elif program == "ansible-playbook":
            _playbook(words[1:], collections)
        elif program in _scripts():
            _options(program, words[1:])
        else:
            assert program in NOT_OURS, (
                f"{program}: add a judge for it to commands.py, or a reason to NOT_OURS"
            )


def _scripts():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def _targets(names):
    makefiles = [ROOT / "Makefile", *(ROOT / "tools").glob("*.mk")]
    known = re.findall(
        r"^([a-z-]+):.*##|^([a-z-]+):", "\n".join(map(Path.read_text, makefiles)), re.M
    )
    known = {name for pair in known for name in pair}
    for name in names:
        assert name in known, f"make has no target {name}"


def _module(words):
    name, *arguments = words
    if name == "pytest":
        for argument in arguments:
            assert "/" not in argument or (ROOT / argument).exists(), f"there is no {argument}"
        return
    assert (ROOT / name.replace(".", "/") / "__main__.py").exists(), f"there is no module {name}"


def _openstack(words):
    """Let the command's own parser take the arguments."""
    options = {
        point.name: point
        for group in ("openstack.alarming.v2", "openstack.orchestration.v1", "openstack.compute.v2")
        for point in entry_points(group=group)
    }
    for length in range(min(4, len(words)), 0, -1):
        point = options.get("_".join(words[:length]))
        if point is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the clients about themselves
                parser = point.load()(mock.MagicMock(), None).get_parser("openstack")
            parser.exit_on_error = False
            parser.parse_args(words[length:])
            return
    raise AssertionError(f"there is no command openstack {' '.join(words)}")


def _playbook(words, collections):
    name = next(word for word in words if word.startswith("thermostat.openstack."))
    playbook = ROOT / "playbooks" / f"{name.rpartition('.')[2]}.yml"
    assert playbook.exists(), f"there is no playbook {name}"
    options = [word for word in words if word.startswith("--")]
    helped = subprocess.run(
        [BIN / "ansible-playbook", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for option in options:
        assert option in helped, f"ansible-playbook has no {option}"
    if "--tags" in words:
        listed = ansible(collections, "ansible-playbook", "--list-tags", name)
        assert words[words.index("--tags") + 1] in listed


def _options(program, words):
    command = words[:1] if words and words[0].isalpha() else []
    helped = subprocess.run(
        [BIN / program, *command, "--help"], capture_output=True, text=True, check=True
    )
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in helped.stdout, f"{program} has no {word}"


def ansible(collections, program, *arguments, cwd=None):
    """Run one of Ansible's programs with the collection of this checkout, and give its output."""
    done = subprocess.run(
        [BIN / program, *arguments],
        cwd=cwd,
        env={
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
            "HOME": str(collections),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{BIN}:/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
