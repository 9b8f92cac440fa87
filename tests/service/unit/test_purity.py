# SPDX-License-Identifier: Apache-2.0
"""The pure core imports no I/O, no clock and no random: time is an argument."""

import ast
import pathlib

import pytest

import thermostat

ROOT = pathlib.Path(thermostat.__file__).parent
DECIDING = (
    "answered",
    "cells",
    "composites",
    "decide",
    "due",
    "held",
    "members",
    "polled",
    "polls",
    "pool",
    "reasons",
    "reporters",
    "schedules",
    "sketch",
    "telling",
    "ticks",
)
EVENTS = ("conditions", "forms", "index", "judging", "keeping", "model")
PURE = sorted(
    path
    for pattern in (
        "samples/*.py",
        "alarms/*.py",
        "balancers/decide.py",
        "outside/base.py",
        *(f"evaluate/{name}.py" for name in DECIDING),
        *(f"events/{name}.py" for name in EVENTS),
    )
    for path in ROOT.glob(pattern)
)
PURE_OWN = {
    "thermostat.balancers.base",
    "thermostat.evaluate",
    "thermostat.outside.base",
    *(f"thermostat.evaluate.{name}" for name in DECIDING),
    *(f"thermostat.events.{name}" for name in EVENTS),
}
ALLOWED = {
    "array",  # columns of numbers
    "collections",
    "croniter",
    "dataclasses",
    "datetime",
    "enum",
    "fnmatch",  # the translation of patterns only
    "functools",
    "itertools",
    "math",
    "msgspec",
    "numpy",
    "operator",
    "re",
    "struct",
    "sys",  # byte order only
    "types",
    "typing",
    "xxhash",
    "zoneinfo",
}
CLOCKS = {"now", "utcnow", "today"}


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Attribute):
            assert node.attr not in CLOCKS, f"line {node.lineno} reads the clock"
            continue
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print"), f"line {node.lineno} does I/O"
            continue
        else:
            continue
        for name in names:
            pure_own = name in PURE_OWN or name.startswith(
                ("thermostat.samples", "thermostat.alarms")
            )
            assert pure_own or name.split(".")[0] in ALLOWED, f"line {node.lineno} imports {name}"
