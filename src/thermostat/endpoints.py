# SPDX-License-Identifier: Apache-2.0
"""Clients of other services of the cloud, found in Keystone's catalogue."""

from keystoneauth1 import loading
from keystoneauth1.adapter import Adapter
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from oslo_config import cfg

TIMEOUT_S = 30.0
"""How long a service is waited for where nothing else is configured."""
_NAMES = ("service-type", "valid-interfaces", "region-name", "endpoint-override")


def endpoint_options(service_type: str) -> list[cfg.Opt]:
    """Give the options with which an operator chooses the endpoint of a service."""
    options = [
        option
        for option in loading.get_adapter_conf_options(include_deprecated=False)
        if option.name in _NAMES
    ]
    cfg.set_defaults(options, service_type=service_type, valid_interfaces=["internal", "public"])
    return options


def own_session(conf: cfg.ConfigOpts, group: str) -> Session:
    """Give the session that this group's options describe; it waits for no answer for ever."""
    session: Session = loading.load_session_from_conf_options(conf, group)
    if session.timeout is None:
        session.timeout = TIMEOUT_S
    return session


def client(conf: cfg.ConfigOpts, group: str, session: Session, auth: BaseAuthPlugin) -> Adapter:
    """Give a client of the service that this group's options find, in the name of `auth`.

    It retries nothing and raises for no status.
    """
    options = conf[group]
    return Adapter(
        session=session,
        auth=auth,
        service_type=options.service_type,
        interface=options.valid_interfaces,
        region_name=options.region_name,
        endpoint_override=options.endpoint_override,
        connect_retries=0,
        status_code_retries=0,
        raise_exc=False,
        user_agent="thermostat-server",
    )
