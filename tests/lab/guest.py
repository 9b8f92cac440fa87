# SPDX-License-Identifier: Apache-2.0
"""The lab's guest: a boot sector that idles or spins as its serial port tells it."""

import os
import struct
import termios
import time
import tty
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tests.lab.errors import LabError

if TYPE_CHECKING:
    import libvirt

# 36 bytes: it halts between timer ticks until it reads "b", then spins until any other byte.
PROGRAM = bytes.fromhex(
    "31c0 8ed8 fb b300"  # xor ax,ax; mov ds,ax; sti; mov bl,0
    "bafd03 ec a801 7406"  # poll: in al,(3fd); test al,1; jz none
    "baf803 ec 88c3"  # in al,(3f8); mov bl,al
    "80fb62 7403"  # none: cmp bl,'b'; je busy
    "f4 ebea"  # hlt; jmp poll
    "b9ffff e2fe ebe3"  # busy: mov cx,ffff; loop $; jmp poll
)
IMAGE_BYTES = 1 << 20

BUSY_BYTE, IDLE_BYTE = b"b", b"i"
# The guest idles at 1 % of a core; ten that spin on one core still get 10 % each.
BUSY_SHARE = 0.05
WINDOW_S = 0.4
WINDOWS_THAT_AGREE = 2
LOAD_TIMEOUT_S = 20.0


def image() -> bytes:
    """A raw disk of 1 MiB; without a partition entry Glance would refuse it."""
    partition = struct.pack("<8B2I", 0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, IMAGE_BYTES // 512 - 1)
    sector = PROGRAM.ljust(446, b"\0") + partition.ljust(64, b"\0") + b"\x55\xaa"
    return sector.ljust(IMAGE_BYTES, b"\0")


def set_load(domain: "libvirt.virDomain", *, on: bool) -> float:
    """Tell the guest to spin or to idle, and return its share of a core once it does (0-1).

    The byte is repeated until the CPU time shows that it was read: a guest that still boots
    loses what it is sent, and QEMU notices only once a second that someone opened the port.
    """
    serial = _open_serial(domain)
    try:
        agreeing, share = 0, 0.0
        deadline = time.monotonic() + LOAD_TIMEOUT_S
        while agreeing < WINDOWS_THAT_AGREE:
            if time.monotonic() > deadline:
                state = "idle" if on else "busy"
                raise LabError(f"guest {domain.UUIDString()} stays {state}: {share:.0%} of a core")
            _send(serial, BUSY_BYTE if on else IDLE_BYTE)
            share = cpu_share(domain, WINDOW_S)
            agreeing = agreeing + 1 if (share > BUSY_SHARE) == on else 0
        return share
    finally:
        os.close(serial)


def cpu_share(domain: "libvirt.virDomain", seconds: float) -> float:
    """The guest's CPU time over the next `seconds`, as a share of one core (0-1 per vCPU)."""
    before, start = domain.info()[4], time.monotonic()
    time.sleep(seconds)
    used_ns: int = domain.info()[4] - before
    return used_ns / 1e9 / (time.monotonic() - start)


def _open_serial(domain: "libvirt.virDomain") -> int:
    source = ElementTree.fromstring(domain.XMLDesc()).find("devices/serial[@type='pty']/source")
    if source is None or not (path := source.get("path")):
        raise LabError(f"guest {domain.UUIDString()} has no serial port: does it run?")
    serial = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(serial, termios.TCSANOW)  # or the terminal would echo the guest's own output to it
    return serial


def _send(serial: int, byte: bytes) -> None:
    try:
        os.write(serial, byte)
    except BlockingIOError:
        termios.tcflush(serial, termios.TCOFLUSH)  # nobody reads: the next round tries again
