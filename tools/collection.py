# SPDX-License-Identifier: Apache-2.0
"""Copy the collection to <directory>/ansible_collections/thermostat/openstack.

usage: python tools/collection.py [directory]        (.build by default)

Ansible and ansible-test want a collection at a path of that shape, not behind a symbolic link, and
ansible-test wants a git repository. Only what changed is copied.
"""

import fnmatch
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import yaml

from dist import ROOT, list_files

BUILT = ("roles/_common/files", "roles/heat_plugins/files")
# What ansible-test and those who run it write into the copy.
FOREIGN = (".git/", "tests/output/", "tests/integration/integration_config.yml")


def list_collection() -> set[str]:
    """Give the files that belong to the collection, what `make dist` built included."""
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text())["build_ignore"]
    names = {
        name
        for name in list_files(".")
        if not any(name.startswith(f"{rule}/") or fnmatch.fnmatch(name, rule) for rule in ignored)
    }
    for place in BUILT:
        names |= {
            str(file.relative_to(ROOT))
            for file in (ROOT / place).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }
    return names | {".gitignore"}


def list_copied(target: Path) -> set[str]:
    """Give the files that the last copy made, without what tests wrote there since."""
    return {
        name
        for file in target.rglob("*")
        if file.is_file()
        and not (name := str(file.relative_to(target))).startswith(FOREIGN)
        and "__pycache__" not in file.parts
    }


def is_same(source: Path, target: Path) -> bool:
    """Tell whether a file was copied already and has not changed since."""
    if not target.exists():
        return False
    ours, theirs = source.stat(), target.stat()
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def remove(target: Path, name: str) -> None:
    """Remove a file of the copy, and the directories that it leaves empty."""
    (target / name).unlink()
    for parent in list(Path(name).parents)[:-1]:
        if any((target / parent).iterdir()):
            break
        (target / parent).rmdir()


def copy_dependency(collections: Path) -> None:
    """Put openstack.cloud, from the Python package `ansible`, beside it: test tools look there.

    They copy what git lists, so it needs a repository of its own, as the collection does.
    """
    spec = find_spec("ansible_collections")
    places = spec.submodule_search_locations if spec else None
    copy = collections / "openstack/cloud"
    if copy.parent.is_symlink():  # as an earlier release of this tool left it
        copy.parent.unlink()
    if places and not (copy / ".git").exists():
        shutil.copytree(Path(places[0]) / "openstack/cloud", copy, dirs_exist_ok=True)
        init_repository(copy)


def init_repository(directory: Path) -> None:
    """Make an empty git repository of a directory, if it is none."""
    if not (directory / ".git").exists():
        subprocess.run(["git", "init", "--quiet", str(directory)], check=True)  # noqa: S603, S607


def main() -> None:
    """Make the copy equal to the tree."""
    base = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".build").absolute()
    copy = base / "ansible_collections/thermostat/openstack"
    wanted = list_collection()
    for name in list_copied(copy) - wanted:
        remove(copy, name)
    for name in wanted:
        source, target = ROOT / name, copy / name
        if not is_same(source, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    init_repository(copy)
    copy_dependency(base / "ansible_collections")
    print(copy)


if __name__ == "__main__":
    main()
