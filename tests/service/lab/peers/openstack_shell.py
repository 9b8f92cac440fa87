# SPDX-License-Identifier: Apache-2.0
"""Run `openstack` commands in one process: importing its plugins takes seconds each time.

Standard input has one JSON list of arguments a line; each is answered with one JSON line that has
the exit status and what was written. The command itself is the package's own, unchanged.
"""

import contextlib
import io
import json
import sys

from openstackclient.shell import OpenStackShell
from osc_lib.clientmanager import ClientCache, ClientManager


def forget_clients() -> None:
    """Let the next command log in anew: it keeps its clients for as long as its process lives."""
    for kind in (ClientManager, *ClientManager.__subclasses__()):
        for client in vars(kind).values():
            if isinstance(client, ClientCache):
                client._handle = None


def run(arguments: list[str]) -> dict[str, object]:
    """Run one command and give its exit status and output."""
    forget_clients()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = OpenStackShell().run(arguments)
        except SystemExit as end:  # argparse refuses an argument
            status = end.code
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


def main() -> None:
    """Answer until standard input ends."""
    answers = sys.stdout
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
