# SPDX-License-Identifier: Apache-2.0
"""`openstack` as a user of the lab runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHELL = Path(__file__).with_name("openstack_shell.py")


def environment(lab: Any) -> Mapping[str, str]:
    """Give an environment in which only the lab's clouds are known."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    clouds = str(lab.layout.clouds_file)
    return {**own, "OS_CLIENT_CONFIG_FILE": clouds, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Result:
    """What one command did."""

    status: int
    out: str
    err: str


class OpenStack:
    """One long-lived process that runs `openstack` commands for several users."""

    def __init__(self, lab: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, SHELL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(lab),
        )

    def close(self) -> None:
        """End the process."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def run(self, *arguments: str, cloud: str = "demo") -> Result:
        """Run a command and give what it did, whatever that was."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(["--os-cloud", cloud, *arguments]), file=self._process.stdin, flush=True)
        return Result(**json.loads(self._process.stdout.readline()))

    def __call__(self, *arguments: str, cloud: str = "demo") -> str:
        """Run a command that must succeed, and give what it printed."""
        result = self.run(*arguments, cloud=cloud)
        assert result.status == 0, (arguments, result)
        return result.out

    def json(self, *arguments: str, cloud: str = "demo") -> Any:
        """Run a command that must succeed, and give what it shows."""
        return json.loads(self(*arguments, "-f", "json", cloud=cloud))

    def refused(self, *arguments: str, cloud: str = "demo") -> str:
        """Run a command that must fail, and give what it says."""
        result = self.run(*arguments, cloud=cloud)
        assert result.status != 0, (arguments, result)
        return result.err + result.out
