# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib

import pytest
import yaml

PACKAGE = "ansible_collections.thermostat.openstack.plugins.modules"
# What every module of openstack.cloud takes, and so does every module here.
AUTH_OPTIONS = {"cloud", "auth", "auth_type", "region_name", "interface", "validate_certs"}


def modules(root):
    return sorted(path.stem for path in (root / "plugins/modules").glob("*.py"))


def test_every_module_is_in_the_action_group_and_nothing_else_is(root):
    runtime = yaml.safe_load((root / "meta/runtime.yml").read_text())
    assert sorted(runtime["action_groups"]["thermostat"]) == modules(root)


def test_every_module_takes_the_options_that_the_group_is_for(root):
    for name in modules(root):
        module = importlib.import_module(f"{PACKAGE}.{name}")
        fragments = yaml.safe_load(module.DOCUMENTATION)["extends_documentation_fragment"]
        assert "openstack.cloud.openstack" in fragments
        classes = [thing for thing in vars(module).values() if isinstance(thing, type)]
        specs = [vars(thing)["argument_spec"] for thing in classes if "argument_spec" in vars(thing)]
        ours = [spec for spec in specs if spec]
        assert len(ours) == 1
        # Its own options leave those of the login alone.
        assert not AUTH_OPTIONS & set(ours[0])


@pytest.mark.parametrize("kind", ["modules", "lookup"])
def test_every_plugin_is_documented(root, kind):
    for path in (root / "plugins" / kind).glob("*.py"):
        text = path.read_text()
        for part in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            assert f'\n{part} = r"""' in text, f"{path.name}: {part}"
