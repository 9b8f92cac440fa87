# SPDX-License-Identifier: Apache-2.0
"""thermostat-replay: judge recorded samples as the server would have; test alarms."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from thermostat.replay.errors import DocumentError, RunError
from thermostat.replay.junit import junit
from thermostat.replay.progress import Progress
from thermostat.replay.running import run
from thermostat.replay.testing import Outcome, run_file
from thermostat.version import __version__

_DESCRIPTION = """\
Judge recorded samples with the server's own engine, on the samples' own clock.
Nothing is stored and no action is called.
"""
_RUN = """\
Print the transitions that alarms would have made over recorded samples, and their reasons.

Samples come from files, in whatever order they were written, or from a server's store:
  --samples FILE   JSON lines in either of Ceilometer's forms, or a file of Ceilometer's publisher
                   file://, with or without its option json; - is standard input
  --store DIR      the directory [store] path of a server that is stopped, or a copy of it

Each alarm begins in insufficient data. Times are UTC.
"""
_RUN_END = """\
examples:
  thermostat-replay run --alarm busy.yaml --samples /var/log/ceilometer/meters*
  thermostat-replay run --alarm busy.yaml --store /backup/samples --project 5f1c… --start -12h
  thermostat-replay run --alarm-id 8a3f… --config-file /etc/thermostat/thermostat-server.conf \\
      --samples recorded.jsonl --format json

exit status: 0, or 2 if something cannot be read
"""
_TEST = """\
Run the tests of alarms in YAML files: series in a compact notation, and the states expected.
docs/replay.md describes the format.
"""
_TEST_END = "exit status: 0 if all pass, 1 if one fails, 2 if a file cannot be used"
_RELATIVE = re.compile(r"-\d.*")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit status: 0, 1 if tests fail, 2 for what cannot be used."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(_joined(arguments))
    progress = Progress()
    try:
        status = _test(options) if options.command == "test" else run(options, progress)
        sys.stdout.flush()
    except (RunError, DocumentError) as error:
        progress.clear()
        print(f"thermostat-replay: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        progress.clear()
        return 130
    return status


def _joined(arguments: Sequence[str]) -> list[str]:
    """Let `--start -6h` mean `--start=-6h`: argparse takes -6h for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--start", "--end") and _RELATIVE.fullmatch(argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="thermostat-replay", description=_DESCRIPTION, formatter_class=raw
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(
        commands.add_parser(
            "run",
            help="print the transitions of alarms over recorded samples",
            description=_RUN,
            epilog=_RUN_END,
            formatter_class=raw,
        )
    )
    test = commands.add_parser(
        "test",
        help="run the tests of alarms in YAML files",
        description=_TEST,
        epilog=_TEST_END,
        formatter_class=raw,
    )
    test.add_argument("files", nargs="+", type=Path, metavar="FILE")
    test.add_argument(
        "--junit", type=Path, metavar="FILE", help="also write the outcomes in JUnit's XML form"
    )
    return parser


def _add_run(run_parser: argparse.ArgumentParser) -> None:
    alarms = run_parser.add_argument_group("alarms, at least one")
    alarms.add_argument(
        "--alarm",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="definitions in YAML or JSON, as they are POSTed to /v2/alarms or were read from"
        " there; may be repeated",
    )
    alarms.add_argument(
        "--alarm-id",
        action="append",
        default=[],
        metavar="ID",
        help="an alarm of the alarm database, with the alarms that it names; may be repeated",
    )
    alarms.add_argument(
        "--config-file",
        action="append",
        metavar="FILE",
        help="the server's configuration, for --alarm-id; may be repeated",
    )
    alarms.add_argument(
        "--project",
        metavar="ID",
        help="the project of alarms that name none; by default the only one that has samples",
    )
    samples = run_parser.add_argument_group("samples").add_mutually_exclusive_group(required=True)
    samples.add_argument("--samples", nargs="+", metavar="FILE", help="files, or - for stdin")
    samples.add_argument("--store", type=Path, metavar="DIR", help="the embedded store")
    how = run_parser.add_argument_group("how")
    how.add_argument(
        "--start",
        metavar="TIME",
        help="ISO 8601, UTC unless it has an offset, or as -6h before the end;"
        " by default the first sample's time, with --store 6 hours before the end",
    )
    how.add_argument(
        "--end",
        metavar="TIME",
        help="ISO 8601, or as -1h before the newest sample; by default the newest sample's time",
    )
    how.add_argument(
        "--allowed-lag",
        type=float,
        default=15.0,
        metavar="S",
        help="seconds that a silent member of a group is waited for, [evaluator] allowed_lag (15)",
    )
    how.add_argument(
        "--resolution",
        type=int,
        default=1,
        metavar="S",
        help="seconds in which the clock goes (1): more is faster, and rounds the times up",
    )
    how.add_argument(
        "--skip-bad-lines", action="store_true", help="count lines that cannot be read, and go on"
    )
    how.add_argument(
        "--repeats", action="store_true", help="also print when actions are called again"
    )
    how.add_argument("--format", choices=("text", "json"), default="text")


def _test(options: argparse.Namespace) -> int:
    outcomes: list[Outcome] = []
    unusable = 0
    for path in options.files:
        try:
            for outcome in run_file(path):
                outcomes.append(outcome)
                _print_outcome(outcome)
        except (DocumentError, OSError) as error:
            unusable += 1
            reason = f"{path}: {error.strerror}" if isinstance(error, OSError) else error
            print(f"thermostat-replay: {reason}", file=sys.stderr)
    if options.junit is not None:
        options.junit.write_bytes(junit(outcomes))
    failed = sum(bool(outcome.failures) for outcome in outcomes)
    broken = f", {unusable} files could not be used" if unusable else ""
    print(f"{len(outcomes) - failed} passed, {failed} failed{broken}")
    return 2 if unusable else int(failed > 0)


def _print_outcome(outcome: Outcome) -> None:
    case = outcome.case
    if not outcome.failures:
        print(f"PASS {case.name}")
        return
    print(f"FAIL {case.name}  ({case.file}:{case.line})")
    for failure in outcome.failures:
        print("\n".join(f"  {line}" for line in failure.splitlines()))


def entry() -> NoReturn:
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
    entry()
