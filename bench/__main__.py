# SPDX-License-Identifier: Apache-2.0
"""Run the benchmarks and print one JSON line per figure.

usage: python -m bench [NAME ...]

A figure has `name`, `value`, `unit`, and, where a peer ran beside it, `peer` (who) and `ratio`
(ours to theirs: above 1 we do more of the same in the same time). A benchmark that cannot run here
says why on standard error; the exit status is then 1.
"""

import argparse
import importlib
import json
import pkgutil
import sys
import time

import bench

FIELDS = ("name", "value", "unit", "peer", "ratio")


def main() -> int:
    """Run the named benchmarks, or all of them; give the exit status."""
    names = [module.name for module in pkgutil.iter_modules(bench.__path__)]
    names = sorted(name for name in names if not name.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(names)}")
    chosen = parser.parse_args().names or names
    if unknown := set(chosen) - set(names):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    failed = 0
    for name in chosen:
        began = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            for figure in importlib.import_module(f"bench.{name}").run():
                print(json.dumps({key: figure.get(key) for key in FIELDS}), flush=True)
        except Exception as error:  # the other benchmarks still run
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            failed = 1
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
