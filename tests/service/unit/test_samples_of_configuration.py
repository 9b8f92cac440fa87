# SPDX-License-Identifier: Apache-2.0
"""The sample files under etc/ are what the options and policies say now."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]
ETC = ROOT / "etc" / "thermostat"
BIN = pathlib.Path(sys.executable).parent


def generate(command, *arguments):
    subprocess.run([BIN / command, *arguments], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("service", ["server", "agent"])
def test_configuration(service, tmp_path):
    made = tmp_path / "made"
    asked = (ETC / f"generate-{service}.conf").read_text()
    where = f"etc/thermostat/{service}.conf.sample"
    assert where in asked
    (tmp_path / "generate.conf").write_text(asked.replace(where, str(made)))
    generate("oslo-config-generator", "--config-file", str(tmp_path / "generate.conf"))
    assert made.read_text() == (ROOT / where).read_text(), (
        f"run: oslo-config-generator --config-file etc/thermostat/generate-{service}.conf"
    )


def test_policy(tmp_path):
    made = tmp_path / "made"
    arguments = ("--namespace", "thermostat", "--output-file")
    generate("oslopolicy-sample-generator", *arguments, str(made))
    assert made.read_text() == (ETC / "policy.yaml.sample").read_text(), (
        f"run: oslopolicy-sample-generator {' '.join(arguments)} etc/thermostat/policy.yaml.sample"
    )
