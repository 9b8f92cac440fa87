# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles write into configuration files is what oslo.config reads there."""

from __future__ import annotations

import pytest
from ansible.plugins.filter.core import FilterModule
from jinja2 import Environment, FileSystemLoader
from oslo_config import cfg


@pytest.fixture
def read(root, tmp_path):
    """Render settings and give what oslo.config reads of one section."""

    def read(section, settings, more=None):
        environment = Environment(
            loader=FileSystemLoader(root / "roles/_common/templates"),
            trim_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters["combine"] = FilterModule().filters()["combine"]
        template = environment.get_template("settings.conf.j2")
        file = tmp_path / "test.conf"
        file.write_text(
            template.render(
                ansible_managed="test",
                _common_settings={section: settings},
                _common_more_settings={section: more} if more else {},
            )
        )
        conf = cfg.ConfigOpts()
        names = {**settings, **(more or {})}
        conf.register_opts([cfg.StrOpt(name) for name in names], group=section)
        conf(["--config-file", str(file)], default_config_files=[], default_config_dirs=[])
        return {name: conf[section][name] for name in names}

    return read


@pytest.mark.parametrize(
    "password",
    ["pa$word", "a$$b", "$", "${x}", "a\\$b", "\\\\$", "100%", "#;=[x]", "'quoted'", '"', " a ", "x=y"],
)
def test_a_password_is_read_as_it_was_given(read, password):
    assert read("service_auth", {"password": password}) == {"password": password}


def test_urls_numbers_truths_and_lists(read):
    settings = {"url": "sqlite:////$HOME/a.sqlite", "number": 3, "truth": True, "list": ["a", "b$"]}
    wanted = {"url": "sqlite:////$HOME/a.sqlite", "number": "3", "truth": "true", "list": "a,b$"}
    assert read("database", settings) == wanted


def test_what_is_none_is_left_out(read):
    assert read("agent", {"host": None, "a": ""}) == {"host": None, "a": ""}


def test_further_settings_win_and_may_refer_to_others(read):
    settings, more = {"path": "/a", "url": "b$c"}, {"path": "/d", "log": "$path/log"}
    assert read("store", settings, more) == {"path": "/d", "url": "b$c", "log": "/d/log"}
