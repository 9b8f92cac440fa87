# SPDX-License-Identifier: Apache-2.0
"""Run `ansible-test sanity` in the copy of the collection that `make collection` made.

usage: python tools/sanity.py [argument of ansible-test sanity ...]

ansible-test makes virtual environments for its tests with a get-pip.py that it downloads from a
place of its own. Unless it has done so already, it gets one here that uses the pip bundled with
Python, so that only the package index is needed.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = ROOT / ".build/ansible_collections/thermostat/openstack"
CACHE = Path("~/.ansible/test/cache").expanduser()
GET_PIP = '''\
"""Install pip and what else is asked for, starting from the pip that is bundled with Python."""
import subprocess
import sys

packages = [name for name in sys.argv[1:] if name not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
subprocess.run([sys.executable, "-m", "pip", "install", "pip=={version}", *packages], check=True)
'''


def provide_get_pip() -> None:
    """Put a get-pip.py where this version of ansible-test looks for its own."""
    spec = find_spec("ansible_test")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("ansible-test is not installed beside this Python")
    package = Path(spec.submodule_search_locations[0])
    source = (package / "_internal/python_requirements.py").read_text()
    for version in re.findall(r"\bpip='([\d.]+)'", source):
        script = CACHE / f"get_pip_{version.replace('.', '_')}.py"
        if not script.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            script.write_text(GET_PIP.replace("{version}", version))


def main() -> None:
    """Run the tests that are asked for, all of them by default."""
    provide_get_pip()
    here = Path(sys.executable).parent
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{here}:{os.environ['PATH']}",
    }
    command = [str(here / "ansible-test"), "sanity", "--python", python, *sys.argv[1:]]
    sys.exit(subprocess.run(command, cwd=COLLECTION, env=environment, check=False).returncode)  # noqa: S603


if __name__ == "__main__":
    main()
