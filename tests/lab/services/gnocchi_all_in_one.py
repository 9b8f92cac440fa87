# SPDX-License-Identifier: Apache-2.0
"""Make Gnocchi's tables and serve its API, in one process of the lab's environment.

usage: gnocchi_all_in_one.py CONFIGURATION PORT

Nothing is processed in the background: who sends measures asks with `refresh=true` for them. If the
pipeline of the configuration verifies no tokens, a request that says nothing of its user is taken
for one of the service project's admin.
"""

import sys

import waitress
from gnocchi import archive_policy, incoming, indexer, opts, service, storage
from gnocchi.rest import app

SERVICE = {
    "HTTP_X_USER_ID": "ceilometer",
    "HTTP_X_PROJECT_ID": "service",
    "HTTP_X_ROLES": "admin",
}


def upgrade(conf):
    """Make the tables and the default archive policies."""
    index = indexer.get_driver(conf)
    index.upgrade()
    storage.get_driver(conf).upgrade()
    incoming.get_driver(conf).upgrade(1)
    for policy in archive_policy.DEFAULT_ARCHIVE_POLICIES.values():
        index.create_archive_policy(policy)


def with_identity(application):
    """Let requests without a user be the service's."""

    def act(environ, start_response):
        for name, value in SERVICE.items():
            environ.setdefault(name, value)
        return application(environ, start_response)

    return act


configuration, port = sys.argv[1:]
opts.set_defaults()
conf = service.prepare_service(args=[], default_config_files=[configuration])
upgrade(conf)
application = app.load_app(conf)
if conf.api.auth_mode == "keystone" and "keystone" not in str(conf.api.paste_config):
    application = with_identity(application)
waitress.serve(application, listen=f"127.0.0.1:{port}", threads=4, ident=None)
