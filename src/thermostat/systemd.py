# SPDX-License-Identifier: Apache-2.0
"""systemd's sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names."""

import os
import socket


def notify(state: str) -> None:
    """Tell systemd a state such as READY=1; nothing happens where it did not start us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.send(state.encode())
    except OSError:
        return  # systemd's own timeout tells of it
