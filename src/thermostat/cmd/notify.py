# SPDX-License-Identifier: Apache-2.0
"""thermostat-notify: list notifications that are stuck and why, send them again, or give them up.

It works on the alarm database, beside a running server or without one.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from oslo_config import cfg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from thermostat.db.deliveries import NEWEST_FIRST, STUCK, Chosen, Deliveries, Delivery
from thermostat.db.engine import GROUP, OPTS, open_engine
from thermostat.db.mapping import iso
from thermostat.db.outbox import REPLAYABLE, Status
from thermostat.db.paging import Page
from thermostat.db.schema import SchemaError, check_schema
from thermostat.redaction import short
from thermostat.version import __version__

COLUMNS = ("id", "alarm", "project", "status", "attempts", "decided", "target", "reason")
EPILOG = (
    "Exit status: 0 if something was found or changed, 1 if nothing was or the database cannot be "
    "used, 2 for wrong arguments or configuration."
)


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say; 0, or 1 if nothing was found or it failed, or 2 for mistakes."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command != "list" and not _is_restricted(options):
        parser.error(f"{options.command}: name notifications, restrict them, or say --all")
    try:
        engine = open_engine(_configuration(options)[GROUP].connection)
    except cfg.Error as error:
        return _fail(f"configuration: {error}", 2)
    except SQLAlchemyError as error:
        return _fail(f"database: {str(error).splitlines()[0]}", 2)
    try:
        return _run(engine, options)
    except SchemaError as error:
        return _fail(str(error), 1)
    except SQLAlchemyError as error:
        # Its first line has the driver's reason; the rest is SQL and a link.
        return _fail(f"the database cannot be used: {str(error).splitlines()[0]}", 1)
    finally:
        engine.dispose()


def _run(engine: Engine, options: argparse.Namespace) -> int:
    check_schema(engine)
    deliveries = Deliveries(engine)
    if options.command == "list":
        chosen = _chosen(options, STUCK)
        found = deliveries.list(chosen, Page(NEWEST_FIRST, limit=options.limit))
        _show(found, options.format)
        if len(found) == options.limit and (known := deliveries.count(chosen)) > len(found):
            _hint(f"the newest {len(found)} of {known}; --limit {known} shows all")
        return 0 if found else 1
    now_us = int(time.time() * 1_000_000)
    if options.command == "retry":
        count = deliveries.retry(_chosen(options, REPLAYABLE), now_us)
        print(f"{count} to be sent again")
    else:
        count = deliveries.drop(_chosen(options, STUCK), now_us)
        print(f"{count} dropped")
    return 0 if count else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thermostat-notify", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--config-file", action="append", help="may be given more than once")
    common.add_argument("--config-dir", action="append", help="may be given more than once")
    common.add_argument(
        "--status",
        action="append",
        type=Status,
        metavar="STATUS",
        help=f"one of {', '.join(Status)}; may be given more than once",
    )
    common.add_argument("--alarm", metavar="ID", help="those of this alarm")
    common.add_argument("--project", metavar="ID", help="those of this project")
    common.add_argument("--target", metavar="HOST[:PORT]", help="those that go there")
    common.add_argument("--scheme", help="those whose URL has this scheme")
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|retry|drop")
    of_list = _command(commands, common, "list", "show notifications, by default pending and dead")
    of_list.add_argument(
        "--limit", type=_count, default=100, help="how many at most, the newest ones (%(default)s)"
    )
    of_list.add_argument("--format", choices=("table", "json"), default="table")
    for name, what in (
        ("retry", "send notifications again, with a new deadline: pending, dead or dropped ones"),
        ("drop", "give notifications up: pending or dead ones"),
    ):
        changing = _command(commands, common, name, what)
        changing.add_argument("ids", nargs="*", metavar="NOTIFICATION", help="its id")
        changing.add_argument("--all", action="store_true", help="every one that can be")
    return parser


def _command(
    commands: Any, common: argparse.ArgumentParser, name: str, what: str
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, parents=[common], help=what, description=what, epilog=EPILOG, allow_abbrev=False
    )
    return made


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


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


def _is_restricted(options: argparse.Namespace) -> bool:
    return bool(options.all or options.ids or options.status or _where(options))


def _where(options: argparse.Namespace) -> dict[str, str]:
    given = {
        "alarm_id": options.alarm,
        "project_id": options.project,
        "target": options.target,
        "scheme": options.scheme,
    }
    return {name: value for name, value in given.items() if value is not None}


def _chosen(options: argparse.Namespace, usual: Sequence[Status]) -> Chosen:
    return Chosen(_where(options), options.status or usual, getattr(options, "ids", ()))


def _show(found: Sequence[Delivery], form: str) -> None:
    rows = [_row(one) for one in found]
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    texts = [COLUMNS, *(tuple(str(row[name]) for name in COLUMNS) for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(COLUMNS))]
    for row in texts:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _row(one: Delivery) -> dict[str, Any]:
    """Give what may be shown of it: of the URL only scheme and host, as in the log."""
    return {
        "id": one.notification_id,
        "alarm": one.alarm_id,
        "project": one.project_id,
        "status": one.status,
        "attempts": one.attempts,
        "decided": iso(one.created_us),
        "target": short(one.action),
        "reason": one.last_error or "",
        "request_id": one.request_id,
        "next_attempt": None if one.due_us is None else iso(one.due_us),
    }


def _fail(reason: str, status: int) -> int:
    _hint(reason)
    return status


def _hint(text: str) -> None:
    print(f"thermostat-notify: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
