# SPDX-License-Identifier: Apache-2.0
"""The agent's configuration options."""

import socket
from collections.abc import Iterable

from keystoneauth1 import loading
from oslo_config import cfg

AGENT_GROUP = "agent"
AUTH_GROUP = "service_auth"
METERING_GROUP = "metering"
NOVA_GROUP = "nova"

AGENT_OPTS = [
    cfg.IntOpt(
        "interval",
        default=10,
        min=1,
        max=86400,
        help="Seconds between two polls. Polls happen at multiples of it since the epoch, so all "
        "agents of a cloud poll at the same instants.",
    ),
    cfg.ListOpt(
        "pollsters",
        default=["libvirt"],
        help="What to poll: names of the entry points thermostat.pollsters.",
    ),
    cfg.ListOpt(
        "publishers",
        default=["thermostat"],
        help="Where to send samples: names of the entry points thermostat.publishers. Each has a "
        "spool of its own.",
    ),
    cfg.StrOpt(
        "spool_dir",
        default="/var/lib/thermostat/agent/spool",
        help="The directory that keeps samples until the server has acknowledged them.",
    ),
    cfg.IntOpt(
        "spool_size",
        default=64 * 1024 * 1024,
        min=64 * 1024,
        help="Bytes that each publisher's spool may hold. When it is full the oldest samples are "
        "dropped first.",
    ),
    cfg.StrOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<this machine's host name>",
        help="The name of this host in Nova ([DEFAULT] host of its nova-compute).",
    ),
    cfg.StrOpt(
        "libvirt_uri",
        default="qemu:///system",
        help="The libvirt to poll.",
    ),
    cfg.FloatOpt(
        "libvirt_timeout",
        default=3.0,
        min=0.1,
        help="Seconds that the bulk read of all domains may take before the agent looks for the "
        "domain that blocks it; at most half of the interval is used.",
    ),
    cfg.BoolOpt(
        "nova_metadata",
        default=True,
        help="Ask Nova for the servers' metadata: its metering.* keys become user_metadata.",
    ),
    cfg.IntOpt(
        "nova_refresh",
        default=300,
        min=10,
        help="Seconds between two reads of the metadata of all this host's servers. A new server "
        "is looked up at once.",
    ),
    cfg.FloatOpt(
        "nova_wait",
        default=3.0,
        min=0.0,
        help="Seconds that a poll waits for Nova when it has met a new server; at most a third "
        "of the interval is used. After that its samples go without user_metadata until Nova "
        "answers.",
    ),
]

METERING_OPTS = [
    cfg.FloatOpt("connect_timeout", default=5.0, min=0.1, help="Seconds to wait for a connection."),
    cfg.FloatOpt("read_timeout", default=30.0, min=0.1, help="Seconds to wait for an answer."),
]


def _endpoint_opts(service_type: str) -> list[cfg.Opt]:
    """Give the options that find a service's endpoint in Keystone's catalogue."""
    names = ("service-type", "valid-interfaces", "region-name", "endpoint-override")
    opts = [
        opt
        for opt in loading.get_adapter_conf_options(include_deprecated=False)
        if opt.name in names
    ]
    cfg.set_defaults(opts, service_type=service_type, valid_interfaces=["internal", "public"])
    return opts


def _auth_opts() -> list[cfg.Opt]:
    """Give the options of the usual way to authenticate, by password, for the sample file."""
    return [
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_auth_plugin_conf_options("password"),
    ]


METERING_ENDPOINT_OPTS = _endpoint_opts("metering")
NOVA_ENDPOINT_OPTS = _endpoint_opts("compute")


def register(conf: cfg.ConfigOpts) -> None:
    """Register the agent's options with this configuration."""
    conf.register_opts(AGENT_OPTS, group=AGENT_GROUP)
    conf.register_opts([*METERING_ENDPOINT_OPTS, *METERING_OPTS], group=METERING_GROUP)
    conf.register_opts(NOVA_ENDPOINT_OPTS, group=NOVA_GROUP)
    loading.register_auth_conf_options(conf, AUTH_GROUP)
    loading.register_session_conf_options(conf, AUTH_GROUP)


def list_opts() -> Iterable[tuple[str, list[cfg.Opt]]]:
    """Give the agent's options by group, for oslo-config-generator."""
    return [
        (AGENT_GROUP, AGENT_OPTS),
        (METERING_GROUP, [*METERING_ENDPOINT_OPTS, *METERING_OPTS]),
        (NOVA_GROUP, NOVA_ENDPOINT_OPTS),
        (AUTH_GROUP, _auth_opts()),
    ]
