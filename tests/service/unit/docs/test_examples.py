# SPDX-License-Identifier: Apache-2.0
"""Every example in README.md and docs/ is run, or judged by what it is for.

A new example needs a fence with its language. If no judge knows what it is, give one to `wire`,
`commands` or `settings` beside this file; if another test runs it, say so in ELSEWHERE.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from falcon.testing import TestClient
from oslo_config import cfg
from prometheus_client import CollectorRegistry

from tests.service.unit.docs import commands, settings, wire
from tests.service.unit.docs.blocks import ROOT, blocks, unfenced
from thermostat.api.app import Services, create_api
from thermostat.api.policies import load_enforcer
from thermostat.db.alarms import AlarmRepository
from thermostat.db.deliveries import Deliveries
from thermostat.db.outbox import Outbox
from thermostat.db.retired_trusts import RetiredTrusts
from thermostat.db.signing import WebhookSecrets
from thermostat.db.silences import SilenceRepository
from thermostat.ingest import Ingest
from thermostat.store.memory import MemoryStore

ELSEWHERE = {
    ("docs/replay.md", "yaml", ""): "tests/service/unit/replay/test_docs.py",
    ("docs/replay.md", "console", ""): "tests/service/unit/replay/test_docs.py",
    (
        "docs/heat.md",
        "yaml",
        "heat_template_version",
    ): "tests/service/unit/heat_plugins/test_templates.py",
    (
        "docs/notifications.md",
        "python",
        "import base64",
    ): "tests/service/unit/notify/test_parts.py",
    ("docs/api-ref/", "", ""): "tests/service/unit/api/test_api_ref.py",
}
"""What other tests run: (the page's beginning, the language, the block's beginning): the test."""
NOT_EXECUTABLE = {
    "README.md": "what `make demo` prints: tests/service/lab/test_loop.py has its steps",
    "docs/agent.md": "a drawing",
    "docs/heat.md": "messages of Heat",
    "docs/api.md": "messages of the server",
}
"""Pages with blocks of `text`, and what they are."""
SCHEMES = frozenset({"http", "https", "trust+http", "trust+https", "trust+heat"})
BLOCKS = list(blocks())


@dataclass(frozen=True)
class Tools:
    directory: Path
    collections: Path


class Trusts:
    """Stands in for Keystone's: nothing is called with them here."""

    def create(self, _caller):
        return "trust"

    def abandon(self, _caller, _trust_id):
        pass


@pytest.fixture
def tools(tmp_path):
    """A working directory, and a folder where Ansible finds this checkout as the collection."""
    place = tmp_path / "collections" / "ansible_collections" / "thermostat"
    place.mkdir(parents=True)
    (place / "openstack").symlink_to(ROOT)
    return Tools(tmp_path, tmp_path / "collections")


@pytest.fixture
def alarms(engine):
    return AlarmRepository(engine)


@pytest.fixture
def client(alarms, engine):
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    store = MemoryStore()
    return TestClient(
        create_api(
            Services(
                store=store,
                ingest=Ingest(store, lambda _batch: None),
                alarms=alarms,
                outbox=Outbox(engine),
                silences=SilenceRepository(engine),
                deliveries=Deliveries(engine),
                retired_trusts=RetiredTrusts(engine),
                webhook_secrets=WebhookSecrets(engine),
                enforcer=load_enforcer(conf),
                trusts=Trusts(),
                schemes=SCHEMES,
                alarm_changed=lambda _alarm_id: None,
                registry=CollectorRegistry(),
            )
        )
    )


JUDGES = {
    "http": lambda block, _tools, client, alarms: wire.http(block, client, alarms),
    "json": lambda block, _tools, client, alarms: wire.json_(block, client, alarms),
    "console": lambda block, tools, *_: commands.console(block, tools.collections),
    "ini": lambda block, tools, *_: settings.ini(block, tools),
    "yaml": lambda block, tools, *_: settings.yaml_(block, tools),
    "toml": lambda block, tools, *_: settings.toml(block, tools),
    "python": lambda block, tools, *_: settings.python(block, tools),
}


def elsewhere(block):
    """The test that runs this block; None: it is judged here."""
    for (page, language, start), test in ELSEWHERE.items():
        if (
            block.page.startswith(page)
            and language in ("", block.language)
            and block.text.startswith(start)
        ):
            return test
    return None


def test_there_are_examples():
    assert len(BLOCKS) > 40


def test_examples_are_fenced():
    assert not list(unfenced()), "put a fence around them, with the language: ```http"


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_other_tests_are_there(test):
    assert (ROOT / test).exists()
    assert any(elsewhere(block) == test for block in BLOCKS)


@pytest.mark.parametrize("block", [block for block in BLOCKS if not elsewhere(block)], ids=str)
def test_example(block, tools, client, alarms):
    assert block.language, f"{block}: name the language after the three backticks"
    if block.language == "text":
        assert block.page in NOT_EXECUTABLE, f"{block}: can it be run? If not, say what it is"
        return
    judge = JUDGES.get(block.language)
    assert judge, f"{block}: use one of {', '.join(JUDGES)}, or add a judge"
    judge(block, tools, client, alarms)
