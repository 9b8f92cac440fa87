# SPDX-License-Identifier: Apache-2.0
"""nova-api, conductor, scheduler and compute in one process, joined by the fake:// driver.

usage: OS_NOVA_CONFIG_DIR=DIR nova_all_in_one.py HOST:PORT

Unlike a nova-compute of its own, this one reads the cell database itself, not by the conductor.
"""

import os
import shlex
import signal
import sys
import threading
import traceback

(listen,) = sys.argv[1:]
sys.argv = ["nova"]

from nova import monkey_patch  # noqa: E402  # the backend must be chosen before Nova is imported

monkey_patch.patch(backend="threading")

import nova.conf  # noqa: E402
import os_brick  # noqa: E402
import os_vif  # noqa: E402
import waitress  # noqa: E402
from nova import context, objects, service, utils  # noqa: E402
from nova.compute import rpcapi as compute_rpc  # noqa: E402
from nova.conductor import rpcapi as conductor_rpc  # noqa: E402
from nova.objects import host_mapping  # noqa: E402
from nova.scheduler import rpcapi as scheduler_rpc  # noqa: E402
from nova.wsgi import osapi_compute  # noqa: E402  # reads the configuration
from oslo_privsep import priv_context  # noqa: E402


def serve() -> None:
    """Start the services, then answer until SIGTERM."""
    objects.register_all()
    objects.Service.enable_min_version_cache()
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    os_brick.setup(nova.conf.CONF)
    os_vif.initialize()
    for binary, topic, more in (
        ("nova-conductor", conductor_rpc.RPC_TOPIC, {}),
        ("nova-scheduler", scheduler_rpc.RPC_TOPIC, {}),
        ("nova-compute", compute_rpc.RPC_TOPIC, {"topic_alt": compute_rpc.RPC_TOPIC_ALT}),
    ):
        started = service.Service.create(binary=binary, topic=topic, **more)
        started.start()
        # Its first report would be 5 s late: until then what was down for a minute still is.
        started.service_ref.report_count += 1
        started.service_ref.save()
    admin = context.get_admin_context()
    host_mapping.discover_hosts(admin)
    objects.ComputeNodeList.get_all_by_host(admin, nova.conf.CONF.host)  # raises if there is none

    # The port opens last: who gets an answer finds a compute host that takes servers.
    application = osapi_compute.application
    server = waitress.create_server(application, listen=listen, threads=8, ident=None)
    threading.Thread(target=server.run, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Event().wait()


try:
    serve()
except BaseException:
    traceback.print_exc()
    os._exit(1)  # the services' threads would keep the process alive
