# SPDX-License-Identifier: Apache-2.0
"""Keystone sessions and endpoints from the configuration."""

from keystoneauth1 import adapter, loading, session
from keystoneauth1.exceptions import ClientException
from oslo_config import cfg

from thermostat.agent.errors import ConfigError
from thermostat.agent.opts import AUTH_GROUP


def load_session(conf: cfg.ConfigOpts) -> session.Session:
    """Give a session of the user in [service_auth]; asks for no token yet. Raises ConfigError."""
    try:
        auth = loading.load_auth_from_conf_options(conf, AUTH_GROUP)
        if auth is None:
            raise ConfigError(f"[{AUTH_GROUP}] auth_type: Missing; use password, for example")
        return loading.load_session_from_conf_options(conf, AUTH_GROUP, auth=auth)
    except (ClientException, cfg.Error) as error:
        raise ConfigError(f"[{AUTH_GROUP}]: {error}") from error


def load_adapter(conf: cfg.ConfigOpts, group: str, of: session.Session) -> adapter.Adapter:
    """Give a client of the service that this group's options find; it retries nothing by itself."""
    options = conf[group]
    return adapter.Adapter(
        session=of,
        service_type=options.service_type,
        interface=options.valid_interfaces,
        region_name=options.region_name,
        endpoint_override=options.endpoint_override,
        connect_retries=0,
        status_code_retries=0,
        raise_exc=False,
        user_agent="thermostat-agent",
    )
