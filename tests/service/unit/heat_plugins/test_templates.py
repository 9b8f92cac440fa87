# SPDX-License-Identifier: Apache-2.0
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCS = Path(__file__).parents[4] / "docs"
EXAMPLES = [
    block
    for block in re.findall(r"^```yaml\n(.*?)^```", (DOCS / "heat.md").read_text(), re.M | re.S)
    if block.startswith("heat_template_version")
]


def load(name: str) -> dict[str, Any]:
    text = (DOCS / "templates" / name).read_text()
    template = json.loads(text) if text.startswith("{") else yaml.safe_load(text)
    return text_version(template)


def text_version(template: dict[str, Any]) -> dict[str, Any]:
    """Give the template with its version as text, which YAML reads as a date."""
    if "heat_template_version" in template:
        template["heat_template_version"] = str(template["heat_template_version"])
    return template


def validate(cloud: Any, template: dict[str, Any]) -> Any:
    """Do what `openstack orchestration template validate` does."""
    stack = cloud.parse(template, strict_validate=False)
    stack.validate(validate_res_tmpl_only=True)
    return stack


@pytest.mark.parametrize(
    "name",
    ["talk.template", "trust.yaml", "weekdays.yaml", "cpu-and-memory.yaml", "steps.yaml"],
)
def test_is_valid(cloud, name):
    validate(cloud, load(name))


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_documents_examples_are_valid(cloud, text):
    validate(cloud, text_version(yaml.safe_load(text)))


def test_the_document_has_examples():
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("name", ["CPUAlarmHigh", "CPUAlarmLow"])
def test_the_talks_alarms_watch_their_own_group_only(cloud, name):
    template = load("talk.template")
    stack = cloud.parse(template, {"ImageId": "tiny"})
    (condition,) = stack[name].rule(stack[name].properties)["query"]
    assert condition == {
        "field": "metadata.user_metadata.server_group",
        "op": "eq",
        "value": cloud.name,
    }
    (tag,) = stack["Group"].properties["Tags"]
    assert tag == {"Key": "metering.server_group", "Value": cloud.name}


def test_the_talks_numbers_are_text():
    template = load("talk.template")
    written = json.dumps([template["Parameters"], template["Resources"]])
    assert not re.search(r'": -?\d', written)


def test_a_named_policy_comes_before_the_alarm(cloud):
    stack = cloud.parse(load("talk.template"), {"ImageId": "tiny"})
    assert stack["ScaleDownPolicy"] in stack.dependencies.requires(stack["CPUAlarmLow"])
