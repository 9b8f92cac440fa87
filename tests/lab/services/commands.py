# SPDX-License-Identifier: Apache-2.0
"""Run several commands of one command-line program, importing it only once.

usage: commands.py MODULE:FUNCTION < a JSON list of argument lists

Importing such a program costs seconds, each command itself much less: so every command runs in
a fork of a process that has imported the program and done nothing else.
"""

import importlib
import json
import os
import sys
import traceback


def run(function: object, arguments: list[str]) -> int:
    """Call `function` in a child, as a console script would; the exit status."""
    pid = os.fork()
    if pid:
        _, status, usage = os.wait4(pid, 0)
        print(f"took {usage.ru_utime + usage.ru_stime:.1f} s of CPU", flush=True)
        return os.waitstatus_to_exitcode(status)
    sys.argv = arguments
    status = 1
    try:
        status = int(function() or 0)  # type: ignore[operator]  # any program's main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> int:
    """Run the commands one after another; stop at the first that fails."""
    module, _, name = sys.argv[1].partition(":")
    commands = json.load(sys.stdin)
    function = getattr(importlib.import_module(module), name)
    for arguments in commands:
        print("+", *arguments, flush=True)
        if status := run(function, arguments):
            print(f"exit status {status}", flush=True)
            return status
    return 0


sys.exit(main())
