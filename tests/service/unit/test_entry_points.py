# SPDX-License-Identifier: Apache-2.0
"""Every entry point that pyproject.toml declares leads to something that can be called."""

import importlib
import pathlib
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {
    f"{group}:{name}": target
    for group, entries in {
        "console_scripts": PROJECT["scripts"],
        **PROJECT["entry-points"],
    }.items()
    for name, target in entries.items()
}


@pytest.mark.parametrize("name", DECLARED)
def test_loads(name):
    module, _, attribute = DECLARED[name].partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))
