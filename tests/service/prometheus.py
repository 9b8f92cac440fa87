# SPDX-License-Identifier: Apache-2.0
"""A private Prometheus on a free port, with series that a test wrote down; nothing is scraped."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bench._processes import free_port, run, running, wait_for

Point = tuple[float, float]
"""Seconds since the epoch, and the value."""


@contextlib.contextmanager
def serving(series: Mapping[str, Iterable[Point]], *arguments: str, web: str = "") -> Iterator[str]:
    """Give the URL of a Prometheus with these series, named as PromQL names them.

    `web` is the text of its web configuration, where TLS and users are set.
    """
    directory = Path(tempfile.mkdtemp(prefix="thermostat-prometheus-"))
    try:
        _fill(directory, series)
        (directory / "prometheus.yml").write_text("{}\n")
        (directory / "web.yml").write_text(web or "{}\n")
        port, log = free_port(), directory / "log"
        command = (
            "prometheus",
            f"--config.file={directory}/prometheus.yml",
            f"--web.config.file={directory}/web.yml",
            f"--storage.tsdb.path={directory}/data",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            *arguments,
        )
        with running(log, *command) as process:
            url = f"http://127.0.0.1:{port}"
            if web:
                _wait_until_it_listens(log)
            else:
                wait_for(f"{url}/-/ready", process, log)
            yield url
    finally:
        shutil.rmtree(directory)


def _fill(directory: Path, series: Mapping[str, Iterable[Point]]) -> None:
    """Write the series as blocks."""
    by_name: dict[str, list[str]] = {}
    for name, points in series.items():
        metric = name.partition("{")[0]
        lines = by_name.setdefault(metric, [f"# TYPE {metric} gauge"])
        lines += [f"{name} {value} {at_s}" for at_s, value in points]
    text = directory / "series.txt"
    text.write_text("\n".join(line for lines in by_name.values() for line in lines) + "\n# EOF\n")
    (directory / "data").mkdir()
    command = ("promtool", "tsdb", "create-blocks-from", "openmetrics", text, directory / "data")
    run(directory / "promtool.log", *command)


def _wait_until_it_listens(log: Path) -> None:
    import time

    deadline = time.monotonic() + 30
    while "Server is ready" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
