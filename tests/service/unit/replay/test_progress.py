# SPDX-License-Identifier: Apache-2.0
"""Progress is shown on a terminal, and nowhere else."""

import io
import sys

import pytest

from thermostat.replay import progress
from thermostat.replay.progress import Progress


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN", 0.0)


def test_one_line_that_is_taken_away(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = Progress()
    shown.lines(10_000)
    shown.share(0.5)
    shown.clear()
    shown.clear()
    assert sys.stderr.getvalue() == ("\r\x1b[K10000 lines read\r\x1b[Kreplayed 50%\r\x1b[K")


def test_not_too_often(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN", 60.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    Progress().lines(10_000)
    assert sys.stderr.getvalue() == ""


def test_nothing_where_standard_error_is_a_file(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    shown = Progress()
    shown.share(0.5)
    shown.clear()
    assert sys.stderr.getvalue() == ""
