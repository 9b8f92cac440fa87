# SPDX-License-Identifier: Apache-2.0
"""Judges of examples that configure something: ini, YAML, TOML; and of Python."""

import ast
import configparser
import os
import re
import time
import tomllib
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

import yaml
from oslo_config import cfg

from tests.lab import Lab
from tests.service.unit.docs.blocks import ROOT
from tests.service.unit.docs.commands import ansible
from thermostat.alarms.outside import OutsideRule
from thermostat.api.openapi.document import document
from thermostat.api.policies import list_rules, load_enforcer
from thermostat.events.opts import OPTS
from thermostat.notify.transports.base import Notification
from thermostat.outside.base import Answer, Question
from thermostat.samples.model import Sample, SampleType

FOREIGN_OPTIONS = {("DEFAULT", "plugin_dirs"): "heat.conf"}
"""Options of other services, and in which file they are."""


def ini(block, _tools):
    """Each option is one of ours; the sample files have them all."""
    parser = configparser.ConfigParser(inline_comment_prefixes="#", interpolation=None)
    parser.optionxform = str
    parser.read_string(block.text)
    known = known_options()
    sections = {name: dict(parser[name]) for name in parser.sections()} | {
        "DEFAULT": dict(parser["DEFAULT"])
    }
    for section, options in sections.items():
        for option in options.keys() - (parser["DEFAULT"] if section != "DEFAULT" else {}).keys():
            assert (section, option) in known | FOREIGN_OPTIONS.keys(), (
                f"[{section}] {option} is no option of the server or agent"
            )


def known_options():
    """Give (section, option) of the sample files."""
    found = set()
    for path in (ROOT / "etc" / "thermostat").glob("*.conf.sample"):
        section = "DEFAULT"
        for line in path.read_text().splitlines():
            if header := re.fullmatch(r"\[(.+)\]", line):
                section = header[1]
            elif option := re.match(r"#?([a-z_0-9]+) = ", line):
                found.add((section, option[1]))
    return found


def toml(block, _tools):
    """Its entry points are of groups that there are."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    wanted = tomllib.loads(block.text)["project"]["entry-points"]
    assert wanted.keys() <= known.keys()


def yaml_(block, tools):
    """Judge a playbook, an inventory, variables of the roles, a policy file, a pipeline."""
    value = yaml.safe_load(block.text)
    if isinstance(value, list) and "hosts" in value[0]:
        _play(block, tools)
    elif "all" in value:
        _inventory(block, tools)
    elif all(name.startswith("thermostat_") for name in value):
        _role_variables(value)
    elif value.keys() <= _rules():
        _policy(block, tools)
    elif "sinks" in value:
        for sink in value["sinks"]:
            for url in sink["publishers"]:
                _publisher(url)
    elif value.keys() <= {"alarm_actions", "ok_actions", "insufficient_data_actions"}:
        assert all(isinstance(actions, list) for actions in value.values())
    else:
        raise AssertionError("add a judge of such YAML to tests/service/unit/docs/settings.py")


def _publisher(url):
    """Judge where a pipeline sends: to our API, or to the topic that event alarms listen to."""
    parts = urlsplit(url)
    if parts.scheme == "notifier":
        topics = [option.default for option in OPTS if "topic" in option.name]
        assert dict(parse_qsl(parts.query))["topic"] in topics
    else:
        assert parts.path in document()["paths"]


def _play(block, tools):
    for name in re.findall(r"import_tasks: (\S+)", block.text):
        (tools.directory / name).write_text("[]\n")
    path = tools.directory / "play.yml"
    path.write_text(block.text)
    ansible(tools.collections, "ansible-playbook", "--syntax-check", str(path))


def _inventory(block, tools):
    path = tools.directory / "inventory.yml"
    path.write_text(block.text)
    listed = ansible(tools.collections, "ansible-inventory", "-i", str(path), "--list")
    assert "thermostat_server" in listed
    _role_variables(yaml.safe_load(block.text)["all"]["vars"])


def _role_variables(values):
    known = {
        option
        for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values()
        for option in entry["options"]
    }
    assert values.keys() <= known, f"no role has {values.keys() - known}"
    options = known_options()
    for name in ("thermostat_server_settings", "thermostat_agent_settings"):
        for section, members in values.get(name, {}).items():
            for option in members:
                assert (section, option) in options, f"[{section}] {option}"


def _rules():
    return {rule.name for rule in list_rules()}


def _policy(block, tools):
    path = tools.directory / "policy.yaml"
    path.write_text(block.text)
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    enforcer = load_enforcer(conf)
    conf.set_override("policy_file", str(path), "oslo_policy")
    enforcer.load_rules(force_reload=True)
    assert enforcer.check_rules(raise_on_violation=True)


def python(block, tools):
    """Run classes, each with what its page says that it gets; look up the names of a script."""
    tree = ast.parse(block.text)
    if any(isinstance(node, ast.ClassDef) for node in tree.body):
        _class(block.text, tools)
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="lab"), attr=name):
                assert hasattr(Lab, name), f"a lab has no {name}"


def _class(text, _tools):
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt("host", default="compute-1")], group="agent")
    names = {
        "cfg": cfg,
        "ConfigOpts": cfg.ConfigOpts,
        "LOAD_OPTS": [],
        "OPTS": [cfg.StrOpt("endpoint")],
        "Sequence": Sequence,
        "Question": Question,
        "Answer": Answer,
        "OutsideRule": OutsideRule,
        "Sample": Sample,
        "SampleType": SampleType,
        "Notification": Notification,
        "os": os,
        "time": time,
    }
    known = set(names)
    exec(compile(text, "example", "exec"), names)
    (made,) = (one for name, one in names.items() if name not in known and isinstance(one, type))
    instance = made(conf)
    if hasattr(instance, "poll"):
        assert all(isinstance(sample, Sample) for sample in instance.poll(1))
        instance.close()
    if hasattr(instance, "ask"):
        assert instance.types == frozenset()  # it is not configured
