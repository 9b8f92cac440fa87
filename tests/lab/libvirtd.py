# SPDX-License-Identifier: Apache-2.0
"""A private libvirtd: own mount namespace, own socket, no systemd; and the end of its guests."""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

from tests.lab.errors import LabError, with_log
from tests.lab.layout import Layout
from tests.lab.processes import Processes, boot_id, stat

NAME = "libvirtd"
START_TIMEOUT_S = 60
# libvirt's directories, each replaced by one below the state directory.
DIRECTORIES = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
"""


def start(layout: Layout, processes: Processes) -> None:
    """Start it and return once it knows what QEMU can do (seconds, the first time)."""
    base = layout.libvirt_socket.parent
    if processes.running(NAME) is None:
        processes.stop([NAME])
        _prepare(base)
        _forget_dead_guests(base)
    mounts = [f'mkdir -p {d} && mount --bind "$0/{name}" {d}' for name, d in DIRECTORIES.items()]
    script = " && ".join([*mounts, 'exec "$@"'])
    processes.start(
        NAME,
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-ec", script, base),
            *("libvirtd", "--config", base / "etc/libvirtd.conf"),
            *("--pid-file", base / "libvirtd.pid"),
        ],
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(layout):
        processes.must_run(NAME)
        if time.monotonic() > deadline:
            raise with_log(f"no answer in {START_TIMEOUT_S} s from libvirtd", processes.log(NAME))
        time.sleep(0.1)


def answers(layout: Layout) -> bool:
    """Whether libvirtd answers on the lab's socket."""
    if not layout.libvirt_socket.exists():
        return False
    return _virsh(layout, "capabilities").returncode == 0


def destroy_guests(state_dir: Path) -> None:
    """End all guests by the pids that libvirtd wrote down; it notices and tidies up."""
    pids = guests(state_dir)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while any(stat(pid) for pid in pids):
        time.sleep(0.02)


def guests(state_dir: Path) -> list[int]:
    """The pids of the guests that run, by the files that libvirtd wrote."""
    paths = _pid_files(state_dir / "libvirt")
    return [pid for path in paths if (pid := _guest_pid(path)) is not None]


def _prepare(base: Path) -> None:
    for name in DIRECTORIES:
        (base / name).mkdir(parents=True, exist_ok=True, mode=0o755)
    (base / "etc/qemu.conf").write_text(QEMU_CONF)
    config = base / "etc/libvirtd.conf"
    if not config.exists():
        config.write_text(
            f'unix_sock_dir = "{base}"\nunix_sock_rw_perms = "0700"\n'
            'auth_unix_rw = "none"\nauth_unix_ro = "none"\n'
            f'host_uuid = "{uuid.uuid4()}"\n'
        )
    # After a reboot everything under /run is gone, and pids in it mean other processes.
    boot_file = base / "boot"
    if boot_file.exists() and json.loads(boot_file.read_text()) != boot_id():
        shutil.rmtree(base / "run")
        (base / "run").mkdir(mode=0o755)
    boot_file.write_text(json.dumps(boot_id()))
    (base / "libvirtd.pid").unlink(missing_ok=True)


def _pid_files(base: Path) -> list[Path]:
    return sorted((base / "run" / "qemu").glob("*.pid"))


def _guest_pid(pid_file: Path) -> int | None:
    """The guest's pid, if the process of that number really is this lab's QEMU."""
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    state_dir = pid_file.parents[3]
    ours = any(os.fsencode(state_dir) in word for word in command)
    return pid if stat(pid) and b"qemu" in command[0] and ours else None


def _forget_dead_guests(base: Path) -> None:
    """Without this libvirtd would end whatever has got the pid of a guest that is gone."""
    for pid_file in _pid_files(base):
        if _guest_pid(pid_file) is None:
            pid_file.with_suffix(".xml").unlink(missing_ok=True)
            pid_file.unlink()


def _virsh(layout: Layout, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["virsh", "--quiet", "--connect", layout.libvirt_uri, *words]
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise LabError("virsh is not installed: run `make lab-venv`") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"libvirtd does not answer: virsh {' '.join(words)}") from error
