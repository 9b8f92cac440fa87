# SPDX-License-Identifier: Apache-2.0
"""thermostat-dbsync: bring the alarm database to the version that this release works with."""

import argparse
import sys

from oslo_config import cfg
from sqlalchemy.exc import SQLAlchemyError

from thermostat.db.engine import GROUP, OPTS, open_engine
from thermostat.db.schema import SchemaError, check_schema, current_version, upgrade
from thermostat.version import __version__


def main(arguments: list[str] | None = None) -> int:
    """Upgrade or check the database; 0 if it is up to date afterwards, 1 if not."""
    parser = argparse.ArgumentParser(prog="thermostat-dbsync", description=__doc__)
    parser.add_argument("--config-file", action="append", help="may be given more than once")
    parser.add_argument("--config-dir", action="append", help="may be given more than once")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args(arguments)
    try:
        return _run(_configuration(options), check_only=options.check)
    except cfg.Error as error:
        return _fail(f"configuration: {error}")
    except SchemaError as error:
        return _fail(str(error))
    except SQLAlchemyError as error:
        # Its first line has the driver's reason; the rest is SQL and a link.
        return _fail(f"the database cannot be used: {str(error).splitlines()[0]}")


def _configuration(options: argparse.Namespace) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTS, group=GROUP)
    conf(
        args=[],
        project="thermostat",
        prog="thermostat-server",
        default_config_files=options.config_file,
        default_config_dirs=options.config_dir,
    )
    return conf


def _run(conf: cfg.ConfigOpts, *, check_only: bool) -> int:
    engine = open_engine(conf[GROUP].connection)
    try:
        before = current_version(engine)
        if not check_only:
            upgrade(engine)
        check_schema(engine)
        after = current_version(engine)
    finally:
        engine.dispose()
    if before == after:
        print(f"The alarm database is up to date (version {after}).")
    else:
        print(f"The alarm database was brought from version {before or 'none'} to {after}.")
    return 0


def _fail(reason: str) -> int:
    print(f"thermostat-dbsync: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
