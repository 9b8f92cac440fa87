# SPDX-License-Identifier: Apache-2.0
"""The command `python -m tests.lab`."""

import argparse
import sys
from pathlib import Path

from tests.lab import web
from tests.lab.errors import LabError
from tests.lab.extras import EXTRAS
from tests.lab.lab import Lab
from tests.lab.layout import DEFAULT_PORT_BASE, DEFAULT_STATE_DIR, LISTENERS, Choices
from tests.lab.steps import Clock

DESCRIPTION = """\
A real cloud on this machine: Keystone, Heat, Placement, Glance, Nova with libvirt/QEMU guests.
Everything listens on the loopback interface and lives below one state directory.
"""
EPILOG = """\
after `up`, from the repository:
  export OS_CLIENT_CONFIG_FILE=.lab/run/clouds.yaml OS_CLOUD=demo
  .venv/bin/openstack stack list
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state",
        type=Path,
        default=DEFAULT_STATE_DIR,
        metavar="DIR",
        help="state directory (%(default)s)",
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser(
        "up", parents=[common], help="start it, set up first if it does not exist yet"
    )
    up.add_argument("--wipe", action="store_true", help="begin from nothing")
    up.add_argument(
        "--port-base",
        type=int,
        metavar="N",
        help=f"first of {len(LISTENERS)} ports ({DEFAULT_PORT_BASE})",
    )
    up.add_argument("--db", choices=("postgres", "sqlite"), help="database (postgres)")
    up.add_argument(
        "--virt",
        choices=("qemu", "kvm", "fake"),
        help="guests: emulated, on /dev/kvm, or Nova's fake driver (qemu)",
    )
    up.add_argument(
        "--with",
        dest="extras",
        action="append",
        default=[],
        choices=tuple(EXTRAS),
        help="add a service that a lab does not have by itself",
    )
    remove = commands.add_parser("remove", parents=[common], help="stop a service that was added")
    remove.add_argument("service", choices=tuple(EXTRAS))
    down = commands.add_parser("down", parents=[common], help="end all processes and guests")
    down.add_argument("--wipe", action="store_true", help="remove the state directory as well")
    commands.add_parser(
        "status", parents=[common], help="what runs, and its memory; exit status 1 if not all does"
    )
    restart = commands.add_parser("restart", parents=[common], help="restart one service")
    restart.add_argument("service", choices=tuple(web.PROCESSES))
    load = commands.add_parser("load", parents=[common], help="make a server's guest busy or idle")
    load.add_argument("server", metavar="SERVER_ID")
    load.add_argument("switch", choices=("on", "off"))
    return made


def choices(args: argparse.Namespace) -> Choices | None:
    """What was chosen on the command line; None if nothing was."""
    given = {
        name: value
        for name in ("port_base", "db", "virt")
        if (value := getattr(args, name, None)) is not None
    }
    return Choices(**given) if given else None


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 if it succeeded."""
    args = parser().parse_args(argv)
    clock = Clock()
    try:
        return _run(args, clock)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; `up` again goes on from here", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace, clock: Clock) -> int:
    lab = Lab(args.state, choices(args))
    match args.command:
        case "up":
            if args.wipe:
                Lab(args.state).down(clock, wipe=True)
            lab.up(clock)
            for name in args.extras:
                lab.add(name, clock)
            clock(f"the lab is up; clouds: {lab.layout.clouds_file}")
        case "down":
            lab.down(clock, wipe=args.wipe)
        case "remove":
            lab.remove(args.service, clock)
        case "restart":
            lab.restart(args.service, clock)
        case "load":
            share = lab.load(args.server, args.switch == "on")
            clock(f"guest of {args.server} takes {share:.0%} of a core")
        case "status":
            return _print_status(lab)
    return 0


def _print_status(lab: Lab) -> int:
    parts = lab.status()
    if not parts:
        print(f"there is no lab in {lab.state_dir}")
        return 1
    print(f"{'part':<14}{'pid':>8}  {'answers':<9}{'PSS MiB':>8}  address")
    for part in parts:
        print(
            f"{part.name:<14}{part.pid or '-':>8}  {'yes' if part.answers else 'NO':<9}"
            f"{part.memory_mib:>8}  {part.url}"
        )
    print(f"{'all':<14}{'':>8}  {'':<9}{sum(part.memory_mib for part in parts):>8}")
    return 0 if all(part.answers for part in parts) else 1
