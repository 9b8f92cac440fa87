# SPDX-License-Identifier: Apache-2.0
"""The command from outside, polling libvirt's own test driver (which tells power.state alone)."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.receiver import Answer


@pytest.fixture
def config(tmp_path, receiver):
    path = tmp_path / "agent.conf"
    path.write_text(
        f"[agent]\ninterval = 1\nlibvirt_uri = test:///default\nnova_metadata = false\n"
        f"host = compute-1\nspool_dir = {tmp_path}/spool\n"
        f"[service_auth]\nauth_type = none\n"
        f"[metering]\nendpoint_override = {receiver.url}\nread_timeout = 2\n"
    )
    return path


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen]:
    with subprocess.Popen(
        [sys.executable, "-m", "thermostat.cmd.agent", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "thermostat.cmd.agent", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def spooled_files(config) -> list[Path]:
    return list(config.parent.glob("spool/thermostat/*.batch"))


def cycle_times(receiver) -> list[int]:
    return [batch[0].timestamp_us for batch in receiver.batches]


def test_samples_arrive_stamped_with_the_cycles_nominal_time(config, receiver):
    def nominal() -> list[int]:
        return [when for when in cycle_times(receiver) if when % 1_000_000 == 0]

    with running("--config-file", str(config)) as agent:
        deadline = time.monotonic() + 60
        while len(nominal()) < 3:  # on a busy machine some cycles begin late and say so
            assert time.monotonic() < deadline, cycle_times(receiver)
            time.sleep(0.1)
        agent.terminate()
        output, _ = agent.communicate(timeout=30)
    assert agent.returncode == 0, output
    (sample,) = receiver.batches[0]
    assert (sample.name, sample.metadata["display_name"]) == ("power.state", "test")
    assert cycle_times(receiver) == sorted(cycle_times(receiver))
    assert "has stopped" in output


def test_nothing_is_lost_over_an_outage_of_the_server_and_kill_9_of_the_agent(config, receiver):
    receiver.stop()
    with running("--config-file", str(config)) as agent:
        deadline = time.monotonic() + 60
        while len(spooled_files(config)) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        agent.kill()
        agent.communicate()
    spooled = len(spooled_files(config))
    receiver.start()
    with running("--config-file", str(config)) as agent:
        receiver.wait_for(spooled + 2, timeout_s=60)
        agent.terminate()
        agent.communicate(timeout=30)
    times = cycle_times(receiver)
    assert times == sorted(times)
    assert len(set(times)) == len(times)
    caught_up_s = receiver.arrivals_s[spooled - 1] - receiver.arrivals_s[0]
    assert caught_up_s < spooled / 2, "catching up takes several batches a second"


def test_a_refused_batch_is_set_aside_and_the_next_ones_go_on(config, receiver):
    receiver.answers = [Answer(400, "sample 0: volume: no good")]
    with running("--config-file", str(config)) as agent:
        receiver.wait_for(2, timeout_s=60)
        agent.terminate()
        output, _ = agent.communicate(timeout=30)
    assert "sample 0: volume: no good" in output
    assert len(list(config.parent.glob("spool/thermostat/refused/*.batch"))) == 1


def test_systemd_is_told(config, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(path)
        notifications.settimeout(60)
        with running("--config-file", str(config), NOTIFY_SOCKET=path) as agent:
            assert notifications.recv(100) == b"READY=1"
            assert notifications.recv(100) == b"WATCHDOG=1"
            agent.terminate()
            told = b""
            while told != b"STOPPING=1":
                told = notifications.recv(100)
            agent.communicate(timeout=30)


def test_help_tells_what_it_is():
    result = run("--help")
    assert result.returncode == 0
    assert "--config-file" in result.stdout
    assert "Measure this host's instances" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent]\ninterval = often\n", "interval"),
        ("[agent]\ninterval = 0\n", "interval"),
        ("[agent]\npollsters = nothing\n", "[agent] pollsters: There is no 'nothing'"),
        ("[agent]\nnova_metadata = false\n", "[service_auth] auth_type: Missing"),
    ],
)
def test_a_bad_configuration_ends_it_with_the_options_name(tmp_path, text, message):
    path = tmp_path / "agent.conf"
    path.write_text(text)
    result = run("--config-file", str(path))
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_configuration_file_that_is_not_there():
    result = run("--config-file", "/nonexistent.conf")
    assert result.returncode == 2
    assert "/nonexistent.conf" in result.stderr
