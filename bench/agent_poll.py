# SPDX-License-Identifier: Apache-2.0
"""What one poll of real QEMU guests costs, beside libvirt's bulk call."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import libvirt
from oslo_config import cfg

from tests.service import guests
from tests.service.receiver import running_receiver
from thermostat.agent import opts
from thermostat.agent.pollsters._domains import DomainReader
from thermostat.agent.pollsters.libvirt import LibvirtPollster
from thermostat.samples.derive import Deriver
from thermostat.samples.wire import encode_columnar

GUESTS = int(os.environ.get("THERMOSTAT_BENCH_GUESTS", "20"))
ROUNDS = 15
CYCLES = 8
_KIB_PER_MIB = 1024


def run() -> Iterable[dict]:
    """Yield a poll's time beside the bulk call's, and the whole agent's CPU time and memory."""
    with guests.running(GUESTS) as running:
        yield from _one_poll(running.uri)
        yield from _whole_agent(running.uri)


class _Timed:
    """A connection whose bulk call is timed; everything else passes through."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.bulk_s: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def getAllDomainStats(self, *arguments: int) -> Any:  # noqa: N802 - libvirt's name
        started = time.perf_counter()
        try:
            return self._connection.getAllDomainStats(*arguments)
        finally:
            self.bulk_s.append(time.perf_counter() - started)


def _one_poll(uri: str) -> Iterator[dict]:
    """Time whole polls, and the bulk call within each of them: both meet the same neighbours."""
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("nova_metadata", False, "agent")
    connection = _Timed(libvirt.openReadOnly(uri))
    reader = DomainReader(uri, timeout_s=30, search_s=30, connect=lambda _uri: connection)
    pollster, deriver = LibvirtPollster(conf, reader), Deriver()
    pollster.poll(_now_us())
    connection.bulk_s.clear()
    polls, rest = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        samples = list(pollster.poll(_now_us()))
        polls.append(time.perf_counter() - started)
        started = time.perf_counter()
        samples += [more for sample in samples for more in deriver.derive(sample)]
        encode_columnar(samples)
        rest.append(time.perf_counter() - started)
    pollster.close()
    if len(connection.bulk_s) != ROUNDS:
        raise AssertionError(f"{len(connection.bulk_s)} bulk calls in {ROUNDS} polls")
    yield {
        "name": "agent_poll",
        "value": _ms(median(polls)),
        "unit": f"ms per poll of {GUESTS} guests",
        "peer": "libvirt's bulk call within it",
        "ratio": round(median(map(truediv, connection.bulk_s, polls)), 3),
    }
    yield {
        "name": "agent_derive_encode",
        "value": _ms(median(rest)),
        "unit": f"ms per poll of {GUESTS} guests ({len(samples)} samples)",
    }


def _whole_agent(uri: str) -> Iterator[dict]:
    """Run the agent as a process of its own against a receiver, and read what it used."""
    with running_receiver() as receiver, tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "agent.conf"
        config.write_text(
            f"[agent]\ninterval = 1\nlibvirt_uri = {uri}\nnova_metadata = false\n"
            f"spool_dir = {directory}/spool\n[service_auth]\nauth_type = none\n"
            f"[metering]\nendpoint_override = {receiver.url}\n"
        )
        agent = subprocess.Popen(
            [sys.executable, "-m", "thermostat.cmd.agent", "--config-file", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            receiver.wait_for(2, timeout_s=60)
            begun, before_s = len(receiver.batches), _cpu_s(agent.pid)
            receiver.wait_for(begun + CYCLES, timeout_s=10 * CYCLES)
            cycles = len(receiver.batches) - begun
            used_s = _cpu_s(agent.pid) - before_s
            rss_mib = _status_kib(agent.pid, "VmRSS") / _KIB_PER_MIB
        finally:
            agent.terminate()
            agent.wait(30)
    yield {
        "name": "agent_cpu",
        "value": _ms(used_s / cycles / GUESTS),
        "unit": "ms of CPU per guest and cycle, polling to delivery",
    }
    yield {"name": "agent_rss", "value": round(rss_mib, 1), "unit": f"MiB with {GUESTS} guests"}


def _now_us() -> int:
    return time.time_ns() // 1000


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _cpu_s(pid: int) -> float:
    """Give the CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)
