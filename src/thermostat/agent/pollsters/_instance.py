# SPDX-License-Identifier: Apache-2.0
"""An instance's resource metadata, in the form that Ceilometer sends it. Pure.

It holds nothing that changes from one poll to the next, so that the server sees one series with one
description. Its parts come from the `nova:instance` element of the domain's XML and, for the
`metering.*` keys, from Nova.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

USER_METADATA_PREFIX = "metering."
MAX_USER_METADATA_LENGTH = 256

_STATES = {
    1: "running",
    2: "running",
    3: "paused",
    4: "running",
    5: "stopped",
    6: "crashed",
    7: "suspended",
}
"""Nova's vm_state for libvirt's domain states."""


@dataclass(frozen=True, slots=True)
class DomainDescription:
    """What a domain's XML tells of its instance."""

    name: str
    """libvirt's name, such as instance-0000002a."""
    display_name: str
    project_id: str | None = None
    user_id: str | None = None
    flavor: Mapping[str, Any] = field(default_factory=dict)
    image_id: str | None = None
    of_nova: bool = False
    """Whether Nova made it."""


@dataclass(frozen=True, slots=True)
class Server:
    """What Nova tells of an instance."""

    display_name: str
    host_id: str | None = None
    availability_zone: str | None = None
    user_metadata: Mapping[str, str] = field(default_factory=dict)


class Instance:
    """One instance as samples bear it."""

    def __init__(
        self, uuid: str, project_id: str | None, user_id: str | None, metadata: dict[str, Any]
    ) -> None:
        self.uuid = uuid
        self.project_id = project_id
        self.user_id = user_id
        self.metadata = metadata
        """Resource metadata of the instance's own meters."""
        self._devices: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}

    def disk(self, device: str) -> tuple[str, dict[str, Any]]:
        """Give the resource id and the metadata of a disk, such as vda."""
        return self._device("disk_name", device, f"{self.uuid}-{device}")

    def interface(self, device: str) -> tuple[str, dict[str, Any]]:
        """Give the resource id and the metadata of a network interface by its host side's name."""
        return self._device("vnic_name", device, f"{self.metadata['name']}-{self.uuid}-{device}")

    def _device(self, key: str, device: str, resource_id: str) -> tuple[str, dict[str, Any]]:
        found = self._devices.get((key, device))
        if found is None:
            found = self._devices[key, device] = (resource_id, {**self.metadata, key: device})
        return found


def parse_domain(xml: str) -> DomainDescription:
    """Give what a domain's XML tells. Raises xml.etree.ElementTree.ParseError."""
    domain = ElementTree.fromstring(xml)  # noqa: S314 - libvirt's own XML
    name = domain.findtext("name", "")
    nova = domain.find("metadata/{*}instance")
    if nova is None:
        return DomainDescription(name=name, display_name=name)
    owner, image = nova.find("{*}owner"), nova.find("{*}root[@type='image']")
    return DomainDescription(
        name=name,
        display_name=nova.findtext("{*}name") or name,
        project_id=_attribute(owner, "{*}project", "uuid"),
        user_id=_attribute(owner, "{*}user", "uuid"),
        flavor=_flavor(nova.find("{*}flavor")),
        image_id=image.get("uuid") if image is not None else None,
        of_nova=True,
    )


def parse_server(server: Mapping[str, Any]) -> Server:
    """Give what Nova's API tells of a server."""
    return Server(
        display_name=server["name"],
        host_id=server.get("hostId") or None,
        availability_zone=server.get("OS-EXT-AZ:availability_zone") or None,
        user_metadata=user_metadata(server.get("metadata") or {}),
    )


def user_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Give the `metering.*` keys without it, dots as underscores, values cut at 256."""
    return {
        key.removeprefix(USER_METADATA_PREFIX).replace(".", "_"): str(value)[
            :MAX_USER_METADATA_LENGTH
        ]
        for key, value in metadata.items()
        if key.startswith(USER_METADATA_PREFIX)
    }


def describe(
    uuid: str,
    domain: DomainDescription,
    server: Server | None,
    statistics: Mapping[str, Any],
    host: str,
) -> Instance:
    """Join what libvirt and Nova tell of an instance."""
    vcpus = domain.flavor.get("vcpus") or statistics.get("vcpu.current")
    memory_mib = domain.flavor.get("ram") or statistics.get("balloon.maximum", 0) // 1024
    state = _STATES.get(statistics.get("state.state", 0), "unknown")
    metadata: dict[str, Any] = {
        "display_name": server.display_name if server else domain.display_name,
        "name": domain.name,
        "instance_id": uuid,
        "instance_host": host,
        "status": "active" if state == "running" else state,
        "state": state,
        "vcpus": vcpus,
        "memory_mb": memory_mib,
        "cpu_number": statistics.get("vcpu.current", vcpus),
    }
    if domain.flavor:
        disk_gb, ephemeral_gb = domain.flavor["disk"], domain.flavor["ephemeral"]
        metadata |= {
            "flavor": dict(domain.flavor),
            "instance_type": domain.flavor["name"],
            "disk_gb": disk_gb,
            "root_gb": disk_gb - ephemeral_gb if disk_gb >= ephemeral_gb else disk_gb,
            "ephemeral_gb": ephemeral_gb,
        }
    if domain.image_id:
        metadata |= {"image": {"id": domain.image_id}, "image_ref": domain.image_id}
    if server is not None:
        metadata["user_metadata"] = dict(server.user_metadata)
        if server.host_id:
            metadata["host"] = server.host_id
        if server.availability_zone:
            metadata["OS-EXT-AZ:availability_zone"] = server.availability_zone
    return Instance(uuid, domain.project_id, domain.user_id, metadata)


def _flavor(element: ElementTree.Element | None) -> dict[str, Any]:
    if element is None:
        return {}

    def number(tag: str) -> int:
        text = element.findtext(f"{{*}}{tag}", "0").strip()
        return int(text) if text.isdecimal() else 0

    flavor: dict[str, Any] = {
        "name": element.get("name", ""),
        "ram": number("memory"),
        "disk": number("disk"),
        "swap": number("swap"),
        "ephemeral": number("ephemeral"),
        "vcpus": number("vcpus"),
    }
    if element.get("id"):
        flavor["id"] = element.get("id")
    return flavor


def _attribute(parent: ElementTree.Element | None, path: str, name: str) -> str | None:
    element = parent.find(path) if parent is not None else None
    return element.get(name) if element is not None else None
