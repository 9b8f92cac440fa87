# SPDX-License-Identifier: Apache-2.0
"""Which step needs which other: the lab's first start, and every later one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.lab import catalogue, guest, libvirtd, postgres, schema, web
from tests.lab.layout import Layout
from tests.lab.processes import Processes
from tests.lab.steps import Step

if TYPE_CHECKING:
    from openstack.connection import Connection


def process_names(layout: Layout) -> list[str]:
    """The processes of this lab."""
    names = list(web.PROCESSES)
    if layout.choices.virt != "fake":
        names.insert(0, libvirtd.NAME)
    if layout.choices.db == "postgres":
        names.insert(0, postgres.NAME)
    return names


def set_up(layout: Layout, processes: Processes, admin: Callable[[], "Connection"]) -> list[Step]:
    """The steps from an empty state directory to a cloud that takes stacks."""

    def tables(name: str, make: Callable[[Layout, Processes], None]) -> Step:
        return _step(
            f"{name} tables", f"{name}'s tables made", lambda: make(layout, processes), "databases"
        )

    # In the order in which they should be begun: what others wait for comes first.
    return [
        _libvirtd(layout, processes),
        _databases(layout, processes, fresh=True),
        tables("keystone", schema.keystone),
        _web(layout, processes, "keystone", "keystone tables"),
        _step(
            "catalogue",
            "users, projects, roles and the service catalogue made",
            lambda: catalogue.fill(layout, admin()),
            "keystone",
        ),
        tables("nova", schema.nova),
        tables("glance", schema.glance),
        tables("heat", schema.heat),
        _web(layout, processes, "neutron"),
        _web(layout, processes, "placement", "databases"),
        _web(layout, processes, "glance", "glance tables"),
        _web(
            layout,
            processes,
            "nova",
            *("nova tables", "catalogue", "placement", "libvirtd", "neutron"),
        ),
        _web(layout, processes, "heat", "heat tables"),
        _step(
            "image",
            "image and flavor made",
            lambda: _make_image_and_flavor(admin()),
            *("catalogue", "glance", "nova"),
        ),
    ]


def start(layout: Layout, processes: Processes) -> list[Step]:
    """The steps that start what does not run of a lab that was set up."""
    return [
        _databases(layout, processes, fresh=False),
        _libvirtd(layout, processes),
        _web(layout, processes, "keystone", "databases"),
        _web(layout, processes, "neutron"),
        _web(layout, processes, "placement", "databases"),
        _web(layout, processes, "nova", "keystone", "placement", "libvirtd", "neutron"),
        _web(layout, processes, "heat", "databases"),
        _web(layout, processes, "glance", "databases"),
    ]


def _step(name: str, sentence: str, action: Callable[[], None], *after: str) -> Step:
    def act() -> str:
        action()
        return sentence

    return Step(name, act, after)


def _web(layout: Layout, processes: Processes, name: str, *after: str) -> Step:
    sentence = f"{name} answers at {layout.url(name)}"
    return _step(name, sentence, lambda: web.start(layout, processes, name), *after)


def _databases(layout: Layout, processes: Processes, *, fresh: bool) -> Step:
    if layout.choices.db == "sqlite":
        return Step("databases", lambda: None)

    def act() -> None:
        postgres.start(layout, processes)
        if fresh:
            postgres.create_databases(layout)

    return _step("databases", "postgres answers", act)


def _libvirtd(layout: Layout, processes: Processes) -> Step:
    if layout.choices.virt == "fake":
        return Step("libvirtd", lambda: None)
    return _step("libvirtd", "libvirtd answers", lambda: libvirtd.start(layout, processes))


def _make_image_and_flavor(admin: "Connection") -> None:
    admin.compute.create_flavor(name="tiny", ram=64, vcpus=1, disk=1)
    admin.image.create_image(
        name="tiny",
        data=guest.image(),
        disk_format="raw",
        container_format="bare",
        visibility="public",
    )
