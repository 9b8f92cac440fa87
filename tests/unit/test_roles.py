# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml
from jinja2 import Environment, FileSystemLoader

ROLES = ("_common", "agent", "heat_plugins", "server")
PREFIXES = {"_common": "thermostat_"}
EXPOSURE_BOUND = 2.0
UNIT = {
    "ansible_managed": "test",
    "_common_description": "Test",
    "_common_venv": "/opt/thermostat/test",
    "_common_config_file": "/etc/thermostat/test.conf",
    "_common_stop_timeout": 30,
    "_common_watchdog": 60,
    "thermostat_system_user": "thermostat",
    "thermostat_system_group": "thermostat",
    "thermostat_state_dir": "/var/lib/thermostat",
}


def load(path):
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_collection_s_and_the_role_s_name(root, role):
    prefix = PREFIXES.get(role, f"thermostat_{role}_")
    for name in load(root / "roles" / role / "defaults/main.yml"):
        assert name.startswith(prefix)


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_specified_with_its_default(root, role):
    defaults = load(root / "roles" / role / "defaults/main.yml")
    options = load(root / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    required = {name for name, option in options.items() if option.get("required")}
    assert set(defaults) == set(options) - required
    for name, default in defaults.items():
        # A default made of others is described in words.
        if "{{" not in str(default):
            assert options[name]["default"] == default, name


@pytest.mark.parametrize("role", ROLES)
def test_passwords_are_not_logged(root, role):
    options = load(root / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    logged = [name for name, option in options.items() if "password" in name and not option.get("no_log")]
    assert not logged


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_restarted_but_by_handlers(root, role):
    for path in (root / "roles" / role / "tasks").glob("*.yml"):
        assert "restarted" not in path.read_text()


def test_only_what_is_installed_with_the_collection_is_used(root):
    for path in (root / "roles").rglob("*.yml"):
        outside = re.findall(r"\.\./\.\./\.\.|src/thermostat|tools/", path.read_text())
        assert not outside, path


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("service, private_users", [("server", True), ("agent", False)])
def test_units_are_exposed_little(root, tmp_path, service, private_users):
    templates = Environment(
        loader=FileSystemLoader(root / "roles/_common/templates"), trim_blocks=True
    )
    unit = tmp_path / f"thermostat-{service}.service"
    values = dict(UNIT, _common_service=unit.stem, _common_private_users=private_users)
    unit.write_text(templates.get_template("unit.service.j2").render(values))
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr, "systemd does not understand the unit"
    exposure = float(re.search(r"Overall exposure level.*: ([\d.]+)", done.stdout).group(1))
    assert exposure < EXPOSURE_BOUND, done.stdout


@pytest.mark.parametrize("service", ["server", "agent"])
def test_systemd_waits_until_a_service_is_ready(root, tmp_path, service):
    # Both say READY=1; only the agent feeds the watchdog, between polls.
    variables = yaml.safe_load((root / f"roles/{service}/tasks/main.yml").read_text())[0]["vars"]
    watchdog = variables["_common_watchdog"]
    templates = Environment(
        loader=FileSystemLoader(root / "roles/_common/templates"), trim_blocks=True
    )
    values = dict(UNIT, _common_service=f"thermostat-{service}", _common_watchdog=watchdog)
    unit = templates.get_template("unit.service.j2").render(values)
    assert "\nType=notify\n" in unit
    assert "\nNotifyAccess=main\n" in unit
    assert ("\nWatchdogSec=" in unit) is (service == "agent")
