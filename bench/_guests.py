# SPDX-License-Identifier: Apache-2.0
"""Real QEMU guests under a private libvirtd: they halt, and have a disk and a NIC each."""

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


@contextlib.contextmanager
def running(count: int) -> Iterator[str]:
    """Give the URI of a libvirt with this many running guests; both end afterwards."""
    state = Path(tempfile.mkdtemp(prefix="thermostat-bench-"))
    layout, processes = Layout(state, Choices()), Processes(state)
    layout.log.mkdir(parents=True, exist_ok=True)
    layout.libvirt_socket.parent.mkdir(parents=True, exist_ok=True)
    try:
        libvirtd.start(layout, processes)
        connection = libvirt.open(layout.libvirt_uri)
        try:
            for number in range(count):
                connection.createXML(_domain(number, state), 0)
            yield layout.libvirt_uri
        finally:
            for domain in connection.listAllDomains():
                domain.destroy()
            connection.close()
    finally:
        processes.stop([libvirtd.NAME])
        shutil.rmtree(state, ignore_errors=True)


def _domain(number: int, state: Path) -> str:
    disk = state / f"{number}.raw"
    disk.write_bytes((HALT.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    nova = "http://openstack.org/xmlns/libvirt/nova/1.1"
    return f"""
    <domain type='qemu'>
      <name>instance-{number:08x}</name><uuid>{uuid.uuid4()}</uuid>
      <metadata><nova:instance xmlns:nova="{nova}">
        <nova:name>web-{number}</nova:name>
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
        <interface type='ethernet'><target dev='thb{number}'/><model type='virtio'/></interface>
        <memballoon model='virtio'/>
      </devices>
    </domain>"""
