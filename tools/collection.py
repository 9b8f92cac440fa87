# SPDX-License-Identifier: Apache-2.0
"""Copy the collection to .build/ansible_collections/thermostat/openstack.

usage: python tools/collection.py

Ansible and ansible-test want a collection at a path of that shape, not behind a symbolic link, and
ansible-test wants a git repository. Only what changed is copied.
"""

import fnmatch
import shutil
import subprocess
from pathlib import Path

import yaml
from dist import ROOT, list_files

TARGET = ROOT / ".build/ansible_collections/thermostat/openstack"
BUILT = ("roles/_common/files", "roles/heat_plugins/files")


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


def list_target() -> set[str]:
    """Give the files that the last copy made, without what tests wrote there since."""
    return {
        name
        for file in TARGET.rglob("*")
        if file.is_file()
        and not (name := str(file.relative_to(TARGET))).startswith((".git/", "tests/output/"))
        and "__pycache__" not in file.parts
    }


def is_same(source: Path, target: Path) -> bool:
    """Tell whether a file was copied already and has not changed since."""
    if not target.exists():
        return False
    ours, theirs = source.stat(), target.stat()
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def main() -> None:
    """Make the copy equal to the tree."""
    wanted = list_collection()
    for name in list_target() - wanted:
        (TARGET / name).unlink()
        for parent in (TARGET / name).relative_to(TARGET).parents:
            directory = TARGET / parent
            if directory == TARGET or any(directory.iterdir()):
                break
            directory.rmdir()
    for name in wanted:
        source, target = ROOT / name, TARGET / name
        if not is_same(source, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    if not (TARGET / ".git").exists():
        command = ["git", "init", "--quiet", str(TARGET)]
        subprocess.run(command, check=True)  # noqa: S603
    print(TARGET.relative_to(ROOT))


if __name__ == "__main__":
    main()
