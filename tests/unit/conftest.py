# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the collection importable as Ansible does, from the copy that these tests lie in."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader
from ansible.utils.collection_loader import AnsibleCollectionConfig

ROOT = Path(__file__).resolve().parents[2]

if AnsibleCollectionConfig.collection_finder is None:
    init_plugin_loader([str(ROOT.parents[2])])


@pytest.fixture
def root():
    """The collection's directory."""
    return ROOT
