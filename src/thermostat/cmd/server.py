# SPDX-License-Identifier: Apache-2.0
"""thermostat-server: store samples, judge alarms, call their actions."""

import logging
import os
import signal
import sys
import threading
from typing import NoReturn

from oslo_config import cfg
from oslo_log import log
from sqlalchemy.exc import SQLAlchemyError

from thermostat import opts
from thermostat.db.schema import SchemaError
from thermostat.redaction import scrub_logs
from thermostat.server import Server
from thermostat.store.base import StoreError
from thermostat.systemd import notify
from thermostat.version import __version__

LOG = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; exit status 0, 2 for bad configuration, 1 if it cannot start."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    log.set_defaults(
        default_log_levels=[*log.get_default_log_levels(), "alembic=WARN", "waitress=WARN"]
    )
    opts.register(conf)
    stopped = threading.Event()
    try:
        conf(
            sys.argv[1:] if argv is None else argv,
            project="thermostat",
            prog="thermostat-server",
            version=__version__,
            description="Store samples, judge alarms, call their actions.",
        )
        log.setup(conf, "thermostat-server")
        scrub_logs()
        server = Server(conf)
    except cfg.Error as error:
        print(f"thermostat-server: {error}", file=sys.stderr)
        return 2
    except SQLAlchemyError as error:
        print(f"thermostat-server: database: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    except (SchemaError, StoreError, OSError) as error:
        print(f"thermostat-server: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server.start()
    LOG.info("thermostat-server %s listens on %s", __version__, server.address)
    notify("READY=1")
    stopped.wait()
    LOG.info("Stopping")
    notify("STOPPING=1")
    server.stop()
    return 0


def run() -> NoReturn:
    """Run the command and end the process without tearing the interpreter down.

    DuckDB's binding prints pages about leaked references when the interpreter frees its modules;
    everything of ours has been closed by then.
    """
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
