# SPDX-License-Identifier: Apache-2.0
"""thermostat-agent: measure this host's instances and send the samples to thermostat-server."""

import logging
import signal
import sys
from types import FrameType

from oslo_config import cfg
from oslo_log import log

from thermostat.agent import opts, service
from thermostat.agent.errors import ConfigError
from thermostat.redaction import scrub_logs
from thermostat.version import __version__

LOG = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Run the agent until SIGTERM or SIGINT; exit status 0, or 2 where the configuration is bad."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    log.set_defaults(
        default_log_levels=[*log.get_default_log_levels(), "keystoneauth=WARN", "urllib3=WARN"]
    )
    opts.register(conf)
    try:
        conf(
            sys.argv[1:] if argv is None else argv,
            project="thermostat",
            prog="thermostat-agent",
            version=__version__,
            description="Measure this host's instances and send the samples to thermostat-server.",
        )
        log.setup(conf, "thermostat-agent")
        scrub_logs()
        agent = service.build(conf)
    except (cfg.Error, ConfigError) as error:
        print(f"thermostat-agent: {error}", file=sys.stderr)
        return 2

    def stop(signum: int, _frame: FrameType | None) -> None:
        LOG.info("%s: finishing this cycle", signal.Signals(signum).name)
        agent.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    LOG.info("thermostat-agent %s polls every %d s", __version__, conf.agent.interval)
    agent.run()
    LOG.info("thermostat-agent has stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
