# SPDX-License-Identifier: Apache-2.0
"""thermostat-server without its token check, with a clock that stands still until it is ready.

usage: python -m bench._serve CONFIGURATION BEGIN_S

The clock goes on from BEGIN_S, seconds since the epoch. Prints how far it is from the wall clock.
"""

import signal
import sys
import threading
import time

from oslo_config import cfg

from tests.service.identity import identified
from thermostat import opts
from thermostat.server import Server


def main() -> None:
    """Serve until SIGTERM."""
    configuration, begin = sys.argv[1:]
    begin_s = float(begin)
    offset_s = 0.0
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], project="thermostat", default_config_files=[configuration])
    server = Server(
        conf,
        application=identified,
        clock=lambda: time.time() + offset_s if offset_s else begin_s,
    )
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    server.start()
    offset_s = begin_s - time.time()
    print(offset_s, flush=True)
    stopped.wait()


if __name__ == "__main__":
    main()
