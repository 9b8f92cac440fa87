# SPDX-License-Identifier: Apache-2.0
"""Which targets an alarm may call: ports and networks.

A URL is judged twice: as it is written when an alarm is made, and by the address that its host has
at each attempt, so that no DNS answer and no redirect leads where it must not.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oslo_config import cfg

from thermostat.notify.opts import GROUP, OPTS

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ALWAYS_DENIED = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",  # this host, whatever it is
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "::/128",
            "ff00::/8",
            # Link-local, where most clouds serve instance metadata.
            "169.254.0.0/16",
            "fe80::/10",
            # Where the others do, or besides, by their documentation or cloud-init's data sources.
            "100.100.100.200/32",  # Alibaba Cloud
            "fd00:100::100:200/128",  # Alibaba Cloud
            "168.63.129.16/32",  # Azure's WireServer
            "192.0.0.192/32",  # Oracle Cloud Classic
            "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud
            "fd00:ec2::/32",  # AWS: ::254 metadata, ::23 credentials of pods, resolver and clock
            "fd20:ce::254/128",  # Google Cloud
            "fd00:42::42/128",  # Scaleway
            "fd00:a9fe:a9fe::1/128",  # Akamai (Linode)
            # Within these is an IPv4 address that cannot be told from the address alone.
            "64:ff9b:1::/48",  # local NAT64 (RFC 8215): its place depends on the gateway's prefix
            "2001::/32",  # Teredo (RFC 4380): a tunnel to a client behind the address of its NAT
        ),
    )
)
"""Denied unless `allowed_networks` has them."""
_IPV4_AT_THE_END = tuple(
    map(
        ipaddress.ip_network,
        (
            "::ffff:0:0/96",  # mapped (RFC 4291)
            "::/96",  # compatible (RFC 4291); :: and ::1 are none
            "::ffff:0:0:0/96",  # translated (RFC 2765)
            "64:ff9b::/96",  # NAT64 (RFC 6052)
        ),
    )
)
PORTS = {"http": 80, "https": 443}


class TargetRefused(Exception):  # noqa: N818 - it names what happened to the target
    """A target that no alarm may call; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Egress:
    """The operator's rules for targets."""

    ports: Sequence[range] = ()
    """The ports that may be called; none of them: all."""
    denied: Sequence[Network] = ()
    """Networks that may not be called, beside those that never are."""
    allowed: Sequence[Network] = ()
    """Networks that may be called although they are denied."""

    @classmethod
    def of(cls, conf: cfg.ConfigOpts) -> "Egress":
        """Give the rules that the configuration has. Raises cfg.Error."""
        conf.register_opts(OPTS, group=GROUP)
        options = conf[GROUP]
        return cls(
            ports=[_ports(text) for text in options.allowed_ports],
            denied=list(_networks("denied_networks", options.denied_networks)),
            allowed=list(_networks("allowed_networks", options.allowed_networks)),
        )

    def check_url(self, scheme: str, host: str, port: int | None) -> None:
        """Raise TargetRefused if the URL itself shows that it may not be called.

        An address may be written as one number, or in octal or hexadecimal.
        """
        self.check_port(PORTS.get(scheme, 0) if port is None else port)
        address = _literal(host)
        if address is not None:
            self.check_address(str(address))

    def check_port(self, port: int) -> None:
        """Raise TargetRefused unless this port may be called."""
        if self.ports and not any(port in allowed for allowed in self.ports):
            raise TargetRefused(f"port {port} is refused")

    def check_address(self, text: str) -> None:
        """Raise TargetRefused unless this address may be called."""
        address = _inner(ipaddress.ip_address(text.partition("%")[0]))
        if _is_in(address, self.allowed):
            return
        if address.is_link_local or _is_in(address, ALWAYS_DENIED):
            what = "link-local " if address.is_link_local else ""
            raise TargetRefused(f"{what}address {address} is refused")
        if _is_in(address, self.denied):
            raise TargetRefused(f"address {address} is refused")


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _inner(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if int(address) > 1 and _is_in(address, _IPV4_AT_THE_END):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour or address


def _literal(host: str) -> Address | None:
    """Give the address that a host is, or None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        # As a name it would be encoded so, which makes common digits of all others.
        host = host.encode("idna").decode()
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, UnicodeError):
        return None


def _networks(name: str, texts: Iterable[str]) -> Iterable[Network]:
    for text in texts:
        try:
            yield ipaddress.ip_network(text)
        except ValueError as error:
            raise cfg.ConfigFileValueError(f"[{GROUP}] {name}: {error}") from None


def _ports(text: str) -> range:
    first, dash, last = text.partition("-")
    numbers = (first, last if dash else first)
    if not all(number.isdecimal() and 0 < int(number) < 65536 for number in numbers):
        raise cfg.ConfigFileValueError(f"[{GROUP}] allowed_ports: {text!r} is no port or range")
    return range(int(numbers[0]), int(numbers[1]) + 1)
