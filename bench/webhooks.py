# SPDX-License-Identifier: Apache-2.0
"""Notifications delivered to a target that answers at once."""

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import urllib3
from oslo_config import cfg

from thermostat.alarms.model import Alarm, Severity, State, Transition
from thermostat.alarms.rules import ThresholdRule
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.db.history import Author
from thermostat.db.outbox import Outbox, Status
from thermostat.db.schema import upgrade
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports.http import HttpTransport
from thermostat.notify.worker import Worker

HOOKS = 1000
CLIENTS = 8
LIMIT_S = 60.0


def run() -> Iterable[dict[str, Any]]:
    """Yield the notifier's figure beside its floor on this machine."""
    with tempfile.TemporaryDirectory() as directory, _target() as url:
        ours, posts = _deliver(Path(directory), url), _plain_posts(url)
        yield {
            "name": "webhooks_per_s",
            "value": round(ours),
            "unit": "1/s",
            "peer": f"urllib3 in a loop, nothing kept, {posts:.0f}/s",
            "ratio": round(ours / posts, 2),
        }


def _deliver(directory: Path, url: str) -> float:
    """Give notifications delivered per second; the outbox is full before the clock starts."""
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTS, group=GROUP)
    conf([], default_config_files=[], default_config_dirs=[])
    engine = open_engine(f"sqlite:///{directory}/outbox.sqlite")
    upgrade(engine)
    outbox = Outbox(engine)
    _fill(AlarmRepository(engine), url)
    worker = Worker(outbox, {"http": HttpTransport(conf)}, conf)
    begun = time.perf_counter()
    worker.start()
    while outbox.counts()[Status.PENDING]:
        if time.perf_counter() - begun > LIMIT_S:
            raise TimeoutError(f"{outbox.counts()} after {LIMIT_S} s")
        time.sleep(0.02)
    seconds = time.perf_counter() - begun
    worker.stop()
    engine.dispose()
    return HOOKS / seconds


def _fill(alarms: AlarmRepository, url: str) -> None:
    """Record transitions with HOOKS actions in all."""
    now_us, each = int(time.time() * 1e6), 100
    for number in range(HOOKS // each):
        alarm = Alarm(
            alarm_id=f"alarm-{number}",
            name="busy",
            description="",
            enabled=True,
            severity=Severity.LOW,
            rule=ThresholdRule(meter_name="cpu_util", threshold=70.0),
            alarm_actions=(url,) * each,
            user_id="user",
            project_id="project",
            state_timestamp_us=now_us,
            timestamp_us=now_us,
        )
        alarms.create(alarm, Author())
        alarms.record(
            Transition(
                alarm_id=alarm.alarm_id,
                revision=alarm.revision,
                previous=alarm.state,
                state=State.ALARM,
                reason="cpu_util is above 70",
                reason_data={"type": "threshold", "most_recent": 90.0},
                timestamp_us=now_us,
            )
        )


def _plain_posts(url: str) -> float:
    pool = urllib3.PoolManager()
    body = json.dumps({"alarm_name": "busy", "current": "alarm", "reason": "x" * 100}).encode()

    def post(_number: int) -> None:
        pool.request("POST", url, body=body)

    return _rate(post, HOOKS // 2)


def _rate(act: Callable[[int], object], times: int) -> float:
    begun = time.perf_counter()
    for number in range(times):
        act(number)
    return times / (time.perf_counter() - begun)


@contextmanager
def _target() -> Iterator[str]:
    """Serve a web hook from a process of its own, which does not share our interpreter."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs,), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/hook"
    finally:
        process.terminate()
        process.join()


def _serve(tell: Connection) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())
