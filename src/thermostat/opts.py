# SPDX-License-Identifier: Apache-2.0
"""Every option of the server, collected from the modules that own them."""

from collections.abc import Iterable

from keystoneauth1 import loading
from keystonemiddleware import opts as middleware
from oslo_config import cfg

from thermostat import ingest, trusts
from thermostat.api import actions, auth, publishers, quotas, results, serve, silences
from thermostat.balancers import octavia
from thermostat.db import engine
from thermostat.evaluate import loop
from thermostat.events import opts as events
from thermostat.notify import opts as notifier
from thermostat.notify.transports import heat, zaqar
from thermostat.outside import opts as outside
from thermostat.outside.drivers import gnocchi, prometheus
from thermostat.store import embedded
from thermostat.store import loading as stores

_OWN = (
    ("DEFAULT", results.OPTS),
    (serve.GROUP, [*serve.OPTS, *auth.OPTS, *quotas.OPTS, *actions.OPTS, *silences.OPTS]),
    (engine.GROUP, engine.OPTS),
    (embedded.GROUP, [*stores.OPTS, *embedded.OPTS]),
    (ingest.GROUP, [*ingest.OPTS, *publishers.OPTS]),
    (loop.GROUP, loop.OPTS),
    (notifier.GROUP, notifier.OPTS),
    (heat.GROUP, heat.OPTS),
    (zaqar.GROUP, zaqar.OPTS),
    (octavia.GROUP, octavia.OPTS),
    (outside.GROUP, outside.OPTS),
    (events.GROUP, events.OPTS),
    (prometheus.GROUP, prometheus.OPTS),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register the server's options with this configuration."""
    for group, opts in _OWN:
        # By name: configurations would share the options of a group's object, overrides included.
        name = group.name if isinstance(group, cfg.OptGroup) else group
        conf.register_opts(opts, group=None if name == "DEFAULT" else name)
    trusts.register_options(conf)
    gnocchi.register_options(conf)


def list_opts() -> Iterable[tuple[str | cfg.OptGroup, list[cfg.Opt]]]:
    """Give the server's options by group, for oslo-config-generator."""
    own_user = [
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_auth_plugin_conf_options("password"),
    ]
    return [
        *_OWN,
        *middleware.list_auth_token_opts(),
        (trusts.GROUP, own_user),
        (gnocchi.GROUP, gnocchi.list_options()),
    ]
