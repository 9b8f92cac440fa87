# SPDX-License-Identifier: Apache-2.0
"""Real QEMU guests under a libvirtd of their own, without a cloud; they idle.

For what would disturb others in the shared lab: stopping a QEMU process, restarting libvirtd.
"""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import libvirt

from tests.lab import libvirtd
from tests.lab.layout import Choices, Layout
from tests.lab.processes import Processes

HALT = bytes.fromhex("f4ebfd")  # hlt; jmp $-1
"""A guest that waits for interrupts for ever."""


class Guests:
    """A private libvirtd and its guests, below one directory."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._layout, self._processes = Layout(state, Choices()), Processes(state)
        self._layout.log.mkdir(parents=True, exist_ok=True)
        self._layout.libvirt_socket.parent.mkdir(parents=True, exist_ok=True)
        self.uri = self._layout.libvirt_uri
        self._made = 0

    def start_libvirtd(self) -> None:
        libvirtd.start(self._layout, self._processes)

    def stop_libvirtd(self) -> None:
        """End libvirtd; its guests run on."""
        self._processes.stop([libvirtd.NAME])

    def libvirtd_pid(self) -> int:
        pid = self._processes.running(libvirtd.NAME)
        assert pid is not None
        return pid

    def boot(self) -> str:
        """Boot one more guest and give its UUID."""
        self._made += 1
        guest = str(uuid.uuid4())
        with self.connected() as connection:
            connection.createXML(self._domain(guest), 0)
        return guest

    def pid(self, guest: str) -> int:
        """The pid of a guest's QEMU."""
        with self.connected() as connection:
            name = connection.lookupByUUIDString(guest).name()
        pid_file = self._layout.libvirt_socket.parent / "run" / "qemu" / f"{name}.pid"
        return int(pid_file.read_text())

    def destroy(self) -> None:
        with self.connected() as connection:
            for domain in connection.listAllDomains():
                domain.destroy()

    @contextlib.contextmanager
    def connected(self) -> Iterator[libvirt.virConnect]:
        connection = libvirt.open(self.uri)
        try:
            yield connection
        finally:
            connection.close()

    def _domain(self, guest: str) -> str:
        disk = self._state / f"{guest}.raw"
        disk.write_bytes((HALT.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
        nova = "http://openstack.org/xmlns/libvirt/nova/1.1"
        return f"""
        <domain type='qemu'>
          <name>instance-{self._made:08x}</name><uuid>{guest}</uuid>
          <metadata><nova:instance xmlns:nova="{nova}">
            <nova:name>web-{self._made}</nova:name>
            <nova:flavor name="tiny"><nova:memory>16</nova:memory><nova:disk>1</nova:disk>
              <nova:swap>0</nova:swap><nova:ephemeral>0</nova:ephemeral><nova:vcpus>1</nova:vcpus>
            </nova:flavor>
            <nova:owner><nova:user uuid="u">u</nova:user><nova:project uuid="p">p</nova:project>
            </nova:owner>
          </nova:instance></metadata>
          <memory unit='MiB'>16</memory><vcpu>1</vcpu>
          <os><type arch='x86_64' machine='pc'>hvm</type></os>
          <features><acpi/><tcg><tb-cache unit='MiB'>4</tb-cache></tcg></features>
          <devices>
            <disk type='file' device='disk'><driver name='qemu' type='raw'/>
              <source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
            <interface type='ethernet'><target dev='th-{guest[:8]}'/><model type='virtio'/>
            </interface>
            <memballoon model='virtio'/>
          </devices>
        </domain>"""


@contextlib.contextmanager
def running(count: int) -> Iterator[Guests]:
    """Give this many running guests; they and their libvirtd end afterwards."""
    state = Path(tempfile.mkdtemp(prefix="thermostat-guests-"))
    guests = Guests(state)
    try:
        guests.start_libvirtd()
        try:
            for _ in range(count):
                guests.boot()
            yield guests
        finally:
            guests.start_libvirtd()
            guests.destroy()
    finally:
        guests.stop_libvirtd()
        shutil.rmtree(state, ignore_errors=True)
