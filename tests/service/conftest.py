# SPDX-License-Identifier: Apache-2.0
"""The lab and the stores, shared by all tests of a run that need real ones."""

import os
from collections.abc import Iterator

import pytest

from tests.lab import Lab
from tests.lab.steps import Clock
from tests.service import gnocchi


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab in the default state directory, started if need be, what it says shown at once.

    One that already ran is left running, and so is every one if THERMOSTAT_KEEP_LAB is set.
    """
    lab = Lab()
    keep = lab.is_begun() or bool(os.environ.get("THERMOSTAT_KEEP_LAB"))
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(flush=True)
        lab.up(progress=Clock())
    yield lab
    if not keep:
        lab.down()


@pytest.fixture(scope="session")
def octavia(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab with an Octavia, which is removed at the end unless it was there before."""
    yield from _with(lab, "octavia", request)


@pytest.fixture(scope="session")
def zaqar(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab with a Zaqar, which is removed at the end unless it was there before."""
    yield from _with(lab, "zaqar", request)


def _with(lab: Lab, name: str, request: pytest.FixtureRequest) -> Iterator[Lab]:
    was_there = lab.has(name)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        lab.add(name, progress=Clock())
    yield lab
    if not was_there:
        lab.remove(name)


@pytest.fixture(scope="session")
def gnocchi_server() -> Iterator[gnocchi.Gnocchi]:
    """A Gnocchi of its own, without Keystone."""
    with gnocchi.serving() as server:
        yield server
