# SPDX-License-Identifier: Apache-2.0
"""The lab and the stores, shared by all tests of a run that need real ones.

A run may have several processes (`pytest -n 3 --dist loadfile`). Then the tests of a file stay
together, and so do those that share something or would get in each other's way: see `_group`.
"""

import fcntl
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.steps import Clock
from tests.service import gnocchi

KEEP = "THERMOSTAT_KEEP_LAB"
USE_GNOCCHI = {"test_gnocchi.py", "test_outside_stores.py"}
"""One is enough for them."""
NEED_NO_HEAT = {"test_agent.py", "test_agent_libvirt.py", "test_crash.py", "test_real_stores.py"}
"""Files of tests in the lab that go by neither Heat nor the catalogue, which names one server.

The others take turns.
"""


def pytest_configure(config: pytest.Config) -> None:
    """Set hypothesis up; note, before any test can start it, whether the lab runs.

    Then it is left running.
    """
    _set_hypothesis_up()
    if not hasattr(config, "workerinput") and Lab().is_begun():
        os.environ[KEEP] = "1"  # xdist's workers inherit it


def _set_hypothesis_up() -> None:
    """Let no example fail for its time; draw the same ones each time where CI is set.

    A change is refused for what it breaks, and not for what nobody has met before.
    """
    if importlib.util.find_spec("hypothesis") is None:  # as in Heat's environment
        return
    from hypothesis import settings

    settings.register_profile("thermostat", deadline=None, derandomize="CI" in os.environ)
    settings.load_profile("thermostat")


@pytest.hookimpl(optionalhook=True)  # where there is no xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let `--dist loadfile` keep together what `_group` does, and not only the tests of a file."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(super()._split_scope(nodeid))

    return Scheduling(config, log)


def _group(file: str) -> str:
    """Give the name of the tests that run in one process, one after the other."""
    path = PurePath(file)
    if path.name in USE_GNOCCHI:
        return "gnocchi"
    if "broker" in path.parts:
        return "broker"
    return "lab" if "lab" in path.parts and path.name not in NEED_NO_HEAT else file


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab in the default state directory, started if need be, what it says shown at once.

    One that already ran is left running, and so is every one if THERMOSTAT_KEEP_LAB is set.
    """
    lab = Lab()
    with _shared(lab.state_dir.with_name("lab-users.lock")) as users:
        with _shown(request) as progress:
            lab.up(progress)
        yield lab
        if not os.environ.get(KEEP) and _is_last(users):
            lab.down()


@contextmanager
def _shared(path: Path) -> Iterator[int]:
    """Hold this lock together with the other processes of the run that use the lab."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file.fileno()


def _is_last(users: int) -> bool:
    """Whether no other process holds the lock, which is given up if one does."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _shown(request: pytest.FixtureRequest) -> Iterator[Clock]:
    """Show progress at once; where xdist is used, only what goes to standard error is shown."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(file=sys.stderr, flush=True)
        yield Clock(sys.stderr)


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
    with _shown(request) as progress:
        lab.add(name, progress)
    yield lab
    if not was_there:
        lab.remove(name)


@pytest.fixture(scope="session")
def gnocchi_server() -> Iterator[gnocchi.Gnocchi]:
    """A Gnocchi of its own, without Keystone."""
    with gnocchi.serving() as server:
        yield server
