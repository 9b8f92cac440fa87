# SPDX-License-Identifier: Apache-2.0
"""Polls libvirt: all meters of all instances of this host with one call."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import ParseError

from oslo_config import cfg

from thermostat.agent import auth
from thermostat.agent.errors import PollError
from thermostat.agent.opts import NOVA_GROUP
from thermostat.agent.pollsters import _meters
from thermostat.agent.pollsters._domains import DomainReader, Reading
from thermostat.agent.pollsters._instance import (
    DomainDescription,
    Instance,
    Server,
    describe,
    parse_domain,
)
from thermostat.agent.pollsters._nova import ServerDirectory
from thermostat.samples.model import Sample

LOG = logging.getLogger(__name__)

_XML_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class _Known:
    """An instance with what it was made from, to tell when it must be made anew."""

    domain_id: int
    """libvirt's id: another one each time the domain starts."""
    domain: DomainDescription
    server: Server | None
    facts: tuple[Any, ...]
    instance: Instance


class LibvirtPollster:
    """Reads the instances of this host."""

    def __init__(self, conf: cfg.ConfigOpts, reader: DomainReader | None = None) -> None:
        options = conf.agent
        self._host = options.host
        self._nova_wait_s = min(options.nova_wait, options.interval / 3)
        self._reader = reader or DomainReader(
            options.libvirt_uri,
            timeout_s=min(options.libvirt_timeout, options.interval / 2),
            search_s=options.interval / 5,
        )
        self._xml_s = options.interval / 4
        self._known: dict[str, _Known] = {}
        self._unread: set[str] = set()
        self.left_out = 0
        """How often a domain was left out of a poll because its XML could not be read."""
        self._servers: ServerDirectory | None = None
        if options.nova_metadata:
            nova = auth.load_adapter(conf, NOVA_GROUP, auth.load_session(conf))
            self._servers = ServerDirectory(nova, self._host, options.nova_refresh)

    def poll(self, timestamp_us: int) -> Sequence[Sample]:
        """Read every meter of every active domain once. Raises PollError."""
        readings = self._reader.read()
        domains = self._describe(readings)
        readings = [reading for reading in readings if reading.uuid in domains]
        servers = self._find_servers(domains)
        known = {
            reading.uuid: self._know(reading, domains[reading.uuid], servers.get(reading.uuid))
            for reading in readings
        }
        # a domain in quarantine keeps its description
        self._known = {
            uuid: entry for uuid, entry in self._known.items() if uuid in self._reader.quarantined
        } | known
        return [
            sample
            for reading in readings
            for sample in _meters.samples(
                known[reading.uuid].instance, reading.statistics, timestamp_us, reading.monotonic_s
            )
        ]

    def close(self) -> None:
        """Close the connections to libvirt and Nova."""
        self._reader.close()
        if self._servers is not None:
            self._servers.close()

    def _describe(self, readings: Sequence[Reading]) -> dict[str, DomainDescription]:
        """Give what the domains' XML tells, by UUID, without those whose XML cannot be read now.

        Without it a domain's project and metadata are unknown, and samples that lack them would
        be another series, outside every group.
        """
        domains: dict[str, DomainDescription] = {}
        deadline = time.monotonic() + self._xml_s
        # those that failed at the last poll come last, or they could use up the others' time
        for reading in sorted(readings, key=lambda reading: reading.uuid in self._unread):
            domain = self._domain(reading, deadline)
            if domain is not None:
                domains[reading.uuid] = domain
        self._unread = {reading.uuid for reading in readings} - domains.keys()
        if self._unread:
            self.left_out += len(self._unread)
            LOG.warning(
                "Leaving %d domains out of this poll, as their XML is not read yet (%d times so "
                "far)",
                len(self._unread),
                self.left_out,
            )
        return domains

    def _domain(self, reading: Reading, deadline: float) -> DomainDescription | None:
        """Give what the domain's XML tells; it is read again when the domain has been restarted."""
        known = self._known.get(reading.uuid)
        if known is not None and known.domain_id == reading.domain.ID():
            return known.domain
        if time.monotonic() > deadline:
            return None
        timeout_s = min(_XML_TIMEOUT_S, self._xml_s)
        try:
            return parse_domain(self._reader.call(reading.uuid, reading.domain.XMLDesc, timeout_s))
        except (PollError, ParseError) as error:
            LOG.warning("The XML of domain %s cannot be read: %s", reading.uuid, error)
            return None

    def _find_servers(self, domains: dict[str, DomainDescription]) -> dict[str, Server]:
        if self._servers is None:
            return {}
        of_nova = [uuid for uuid, domain in domains.items() if domain.of_nova]
        return dict(self._servers.find(of_nova, self._nova_wait_s))

    def _know(self, reading: Reading, domain: DomainDescription, server: Server | None) -> _Known:
        """Give the instance as it was known, so that its metadata is one object, or made anew."""
        facts = tuple(reading.statistics.get(key) for key in ("state.state", "vcpu.current"))
        known = self._known.get(reading.uuid)
        if known is not None and (known.domain, known.server, known.facts) == (
            domain,
            server,
            facts,
        ):
            return known
        instance = describe(reading.uuid, domain, server, reading.statistics, self._host)
        return _Known(reading.domain.ID(), domain, server, facts, instance)
