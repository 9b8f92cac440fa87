# SPDX-License-Identifier: Apache-2.0
"""A whole server with a million alarms: its start, its memory, its load, and how soon it tells.

The process is thermostat-server's (HTTP, sample store, alarm database, evaluator, notifier) but for
the token check. Its databases hold a million series with six samples each and an alarm on each
series. When it is ready, agents begin to poll all series once a minute and send what they measured.
"""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import urllib3

from bench._dataset import BASE_US, Dataset, copy_of, write_alarms
from bench._fleet import TICK_S, US_PER_S
from bench._processes import (
    BenchError,
    cpu_s,
    free_port,
    resident_bytes,
    running,
    settings,
    wait_for,
)
from tests.service.identity import PROJECT
from thermostat.alarms.model import Alarm, Severity
from thermostat.alarms.query import Condition, Operator
from thermostat.alarms.rules import ThresholdRule
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import COLUMNAR_TYPE, encode_columnar

ALARMS = 1_000_000
PROBES = 100
PROBED_TICKS = 4
STEADY_S = 60
SETTLE_S = 75
"""What a server does only after a start (sealing, meeting each series again) is over after this."""
LIMIT_S = 300
METER = "probed"


def run() -> Iterator[dict[str, Any]]:
    """Yield what one run of the server gives."""
    with ExitStack() as stack:
        data = stack.enter_context(copy_of(ALARMS))
        write_alarms(data.alarms, _probe_alarms())
        began = time.monotonic()
        process, url, offset_s = _start(stack, data)
        ready_s = time.monotonic() - began
        yield {"name": "restart_1m_series", "value": round(ready_s, 2), "unit": "s"}
        _say(f"{cpu_s(process.pid):.1f} s of processor", process)
        polls = stack.enter_context(
            running(
                data.directory / "polls.log",
                *(sys.executable, "-m", "bench._polls", url, str(offset_s), str(ALARMS)),
            )
        )
        time.sleep(SETTLE_S)
        yield {
            "name": "steady_load",
            "value": round(100 * _load(process.pid), 1),
            "unit": "% of a core",
        }
        _say(f"polls are {_last_line(data.directory / 'polls.log')} s behind", process)
        latencies_s = _latencies(url, data.alarms, offset_s)
        yield {
            "name": "transition_latency_p99",
            "value": round(float(np.percentile(latencies_s, 99)), 3),
            "unit": "s",
        }
        _say(
            f"{len(latencies_s)} transitions, median {np.median(latencies_s):.3f} s, "
            f"slowest {max(latencies_s):.3f} s",
            process,
        )
        yield {
            "name": "memory_1m_alarms",
            "value": resident_bytes(process.pid),
            "unit": "bytes",
        }
        if polls.poll() is not None:
            raise BenchError(f"the polls ended: {_last_line(data.directory / 'polls.log')}")


def _start(stack: ExitStack, data: Dataset) -> tuple[subprocess.Popen[bytes], str, float]:
    """Start the server; give its process, URL and clock when it is ready to judge."""
    port, log = free_port(), data.directory / "server.log"
    configuration = data.directory / "server.conf"
    configuration.write_text(
        settings(
            api={"port": port},
            database={"connection": f"sqlite:///{data.alarms}"},
            store={"path": data.samples, "min_free_mb": 0},
        )
    )
    command = (sys.executable, "-m", "bench._serve", configuration, str(BASE_US / US_PER_S))
    process = stack.enter_context(running(log, *command))
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/healthcheck", process, log, timeout_s=LIMIT_S)
    return process, url, float(_last_line(log))


def _load(pid: int) -> float:
    """Give the share of a core that a process takes."""
    began_s, began_cpu_s = time.monotonic(), cpu_s(pid)
    time.sleep(STEADY_S)
    return (cpu_s(pid) - began_cpu_s) / (time.monotonic() - began_s)


# -- how soon a transition is written -------------------------------------------------------------


def _probe_alarms() -> Iterator[Alarm]:
    """Give alarms that one sample decides."""
    for number in range(PROBES):
        yield Alarm(
            alarm_id=f"probe-{number}",
            name=f"probe {number}",
            description="",
            enabled=True,
            severity=Severity.LOW,
            rule=ThresholdRule(
                meter_name=METER,
                query=(Condition("resource_id", Operator.EQ, f"probe-{number}"),),
                period=TICK_S,
                threshold=50.0,
                comparison_operator=Operator.GT,
            ),
            user_id="user",
            project_id=PROJECT,
            state_timestamp_us=BASE_US,
            timestamp_us=BASE_US,
        )


def _latencies(url: str, database: Path, offset_s: float) -> list[float]:
    """Give the seconds from sending a deciding sample to seeing its transition in the database.

    Each probe sends one sample a tick, now over the threshold and now under it, at an instant of
    its own within the tick.
    """
    watcher = _Watcher(database)
    pool = urllib3.PoolManager()
    now_s = time.time() + offset_s
    first_s = (int(now_s) // TICK_S + 1) * TICK_S
    due = sorted(
        (first_s + tick * TICK_S + (number + 0.5) * (TICK_S - 1) / PROBES, tick, number)
        for tick in range(PROBED_TICKS)
        for number in range(PROBES)
    )
    sent: dict[tuple[str, int], float] = {}
    for at_s, tick, number in due:
        time.sleep(max(0.0, at_s - (time.time() + offset_s)))
        body = encode_columnar([_probe(number, tick, (first_s + tick * TICK_S) * US_PER_S)])
        sent[f"probe-{number}", tick] = time.monotonic()
        answer = pool.request(
            "POST", f"{url}/v2/samples", body=body, headers={"Content-Type": COLUMNAR_TYPE}
        )
        if answer.status != 201:
            raise BenchError(f"HTTP {answer.status}: {answer.data!r}")
    time.sleep(2.0)
    seen = watcher.stop()
    late = [key for key in sent if key not in seen]
    if late:
        raise BenchError(f"{len(late)} transitions of {len(sent)} were not written: {late[:3]}")
    return [seen[key] - begun for key, begun in sent.items()]


def _probe(number: int, tick: int, at_us: int) -> Sample:
    return Sample(
        name=METER,
        type=SampleType.GAUGE,
        unit="%",
        volume=10.0 if tick % 2 else 90.0,
        resource_id=f"probe-{number}",
        project_id=PROJECT,
        timestamp_us=at_us,
    )


class _Watcher:
    """Sees when the transitions of probes are committed, to a few milliseconds."""

    _PAUSE_S = 0.002

    def __init__(self, database: Path) -> None:
        self._database = database
        self._seen: dict[tuple[str, int], float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> dict[tuple[str, int], float]:
        """Give when each probe's transitions were seen first, numbered from 0."""
        self._stopped.set()
        self._thread.join()
        return self._seen

    def _watch(self) -> None:
        connection = sqlite3.connect(self._database)
        counts: dict[str, int] = {}
        ((position,),) = connection.execute("select coalesce(max(position), 0) from alarm_history")
        while not self._stopped.wait(self._PAUSE_S):
            rows = connection.execute(
                "select position, alarm_id, detail from alarm_history"
                " where position > ? order by position",
                (position,),
            ).fetchall()
            now = time.monotonic()
            for position, alarm_id, detail in rows:  # noqa: B007  # the last one is needed
                decided = msgspec.json.decode(detail)["state"] in {"ok", "alarm"}
                if alarm_id.startswith("probe-") and decided:
                    number = counts.get(alarm_id, 0)
                    self._seen[alarm_id, number] = now
                    counts[alarm_id] = number + 1
        connection.close()


def _last_line(log: Path) -> str:
    return log.read_text().splitlines()[-1]


def _say(what: str, process: subprocess.Popen[bytes]) -> None:
    memory = resident_bytes(process.pid) / 1e6
    print(f"  server: {what}; {memory:.0f} MB resident", file=sys.stderr, flush=True)
