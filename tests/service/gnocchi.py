# SPDX-License-Identifier: Apache-2.0
"""A private Gnocchi on a free port, over a private PostgreSQL and files, and what fills it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests

from bench._processes import free_port, running, settings, wait_for
from tests.service import postgresql

PROGRAM = Path(__file__).parents[1] / "lab/services/gnocchi_all_in_one.py"
TIMEOUT_S = 120
SERVICE = "service"
"""The project that the agents' user belongs to."""


def venv() -> Path:
    """Where Gnocchi is installed."""
    return Path(os.environ.get("THERMOSTAT_LAB_VENV", ".lab/venv"))


class Gnocchi:
    """A client that is whoever it says."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token: str | None = None
        """Where Gnocchi verifies tokens, the one that says who asks."""
        self._session = requests.Session()

    def ask(
        self, method: str, path: str, body: Any = None, *, project: str = SERVICE, **query: Any
    ) -> Any:
        """Give Gnocchi's answer; what it refuses fails."""
        headers = {"X-Project-Id": project, "X-User-Id": f"{project}-user", "X-Roles": "admin"}
        if self.token is not None:
            headers = {"X-Auth-Token": self.token}
        answer = self._session.request(
            method,
            f"{self.url}/v1/{path}",
            json=body,
            params=query,
            headers=headers,
            timeout=TIMEOUT_S,
        )
        assert answer.status_code < 400, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def create_policy(self, name: str, methods: Iterable[str], granularity_s: int = 60) -> None:
        """Create an archive policy of a day."""
        definition = [{"granularity": granularity_s, "timespan": 86_400}]
        body = {"name": name, "definition": definition, "aggregation_methods": list(methods)}
        self.ask("POST", "archive_policy", body)

    def create_resource(
        self,
        identifier: str,
        metrics: Mapping[str, str],
        *,
        project: str,
        kind: str = "generic",
        creator: str = SERVICE,
        **attributes: Any,
    ) -> dict[str, str]:
        """Create a resource with metrics of these archive policies; give the metrics' ids."""
        body = {
            "id": identifier,
            "project_id": project,
            "metrics": {name: {"archive_policy_name": one} for name, one in metrics.items()},
            **attributes,
        }
        made = self.ask("POST", f"resource/{kind}", body, project=creator)
        ids: dict[str, str] = made["metrics"]
        return ids

    def push(self, measures: Mapping[str, Iterable[tuple[float, float]]]) -> None:
        """Store measures by the metrics' ids, and have them processed."""
        body = {
            metric: [{"timestamp": at_s, "value": value} for at_s, value in points]
            for metric, points in measures.items()
        }
        self.ask("POST", "batch/metrics/measures", body)
        for metric in measures:
            self.ask("GET", f"metric/{metric}/measures", refresh="true")


@contextlib.contextmanager
def serving(keystone: Mapping[str, object] | None = None) -> Iterator[Gnocchi]:
    """Give a running Gnocchi; with the settings of `keystone_authtoken` it verifies tokens."""
    directory = Path(tempfile.mkdtemp(prefix="thermostat-gnocchi-"))
    try:
        with postgresql.running() as database:
            conf = directory / "gnocchi.conf"
            conf.write_text(_configuration(directory, database.create_database(), keystone))
            port, log = free_port(), directory / "log"
            python = venv() / "bin/python"
            with running(log, python, "-W", "ignore", PROGRAM, conf, str(port)) as process:
                url = f"http://127.0.0.1:{port}"
                wait_for(url, process, log, TIMEOUT_S)
                yield Gnocchi(url)
    finally:
        shutil.rmtree(directory)


def _configuration(directory: Path, database: str, keystone: Mapping[str, object] | None) -> str:
    stock = next(venv().glob("lib/*/site-packages/gnocchi/rest/api-paste.ini")).read_text()
    paste = directory / ("keystone.ini" if keystone else "open.ini")
    verifying, filter_ = "keystone_authtoken gnocchiv1", "[filter:keystone_authtoken]\n"
    paste.write_text(
        stock.replace(filter_, f"{filter_}oslo_config_file = {directory}/gnocchi.conf\n")
        if keystone
        else stock.replace(verifying, "gnocchiv1")
    )
    for name in ("data", "incoming", "locks"):
        (directory / name).mkdir()
    return settings(
        DEFAULT={"coordination_url": f"file://{directory}/locks"},
        api={"auth_mode": "keystone", "paste_config": paste},
        indexer={"url": database},
        storage={"driver": "file", "file_basepath": directory / "data"},
        incoming={"driver": "file", "file_basepath": directory / "incoming"},
        **({"keystone_authtoken": keystone} if keystone else {}),
    )
