# SPDX-License-Identifier: Apache-2.0
"""Services that a lab has only where somebody asks for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from tests.lab import octavia, zaqar
from tests.lab.layout import Layout
from tests.lab.processes import Processes

if TYPE_CHECKING:
    from openstack.connection import Connection


class Extra(Protocol):
    """What each of their modules has."""

    NAME: str
    """One of web.EXTRA_PROCESSES: the process that answers for it."""
    PROCESSES: Sequence[str]
    """All of its processes."""

    def set_up(self, layout: Layout, processes: Processes) -> None:
        """Make its files and tables; begins from nothing if it was interrupted."""

    def start(self, layout: Layout, processes: Processes) -> None:
        """Start what does not run of it and return once it answers."""

    def register(self, layout: Layout, admin: "Connection") -> None:
        """Put it into Keystone, if it is not there."""

    def unregister(self, admin: "Connection") -> None:
        """Take it out of the catalogue."""


EXTRAS: dict[str, Extra] = {extra.NAME: extra for extra in (octavia, zaqar)}


def added(layout: Layout) -> Sequence[str]:
    """The names of those that were added to this lab, whether they run or not."""
    return [name for name in EXTRAS if (layout.extras / name).exists()]
