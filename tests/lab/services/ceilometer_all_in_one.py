# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's compute agent and notification agent in one process, joined by fake:// messaging.

usage: ceilometer_all_in_one.py CEILOMETER_CONF
"""

import os
import signal
import sys
import threading
import traceback

from ceilometer import notification, service
from ceilometer.polling import manager


def serve(config_file: str) -> None:
    """Poll, and send what is polled through the pipeline, until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    conf = service.prepare_service(["ceilometer-polling", "--config-file", config_file])
    # First, since fake:// keeps nothing for those who listen later.
    notification.NotificationService(0, conf).run()
    agent = manager.AgentManager(0, conf, ["compute"])
    threading.Thread(target=agent.run, daemon=True).start()
    threading.Event().wait()


try:
    serve(*sys.argv[1:])
except BaseException:
    traceback.print_exc()
    os._exit(1)
