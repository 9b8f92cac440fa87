# SPDX-License-Identifier: Apache-2.0
"""Put what the roles install into the collection: the services' wheel and the Heat plugins.

usage: python tools/dist.py

The wheel goes to roles/_common/files/, the plugins to roles/heat_plugins/files/heat_plugins/; git
ignores both places. Unless the tree is exactly the tag v<version>, the wheel's version gets a local
part made from its sources, so that pip replaces an older build of the same version. The same
sources give the same bytes. Nothing else in the tree changes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ROOT / "roles/_common/files"
PLUGINS = ROOT / "roles/heat_plugins/files/heat_plugins"
VERSION_FILE = "src/thermostat/version.py"
SOURCES = ("src", "pyproject.toml", "README.md", "LICENSES/Apache-2.0.txt")
PLUGIN_SOURCES = ("heat_plugins",)


def git(*arguments: str) -> str:
    """Give what git prints, or nothing where this is no repository."""
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else ""


def list_files(*paths: str) -> list[str]:
    """Give the files below these paths that are, or could be, in the repository."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    if not listed:
        found = (file for path in paths for file in [ROOT / path, *(ROOT / path).rglob("*")])
        listed = "\0".join(
            str(file.relative_to(ROOT))
            for file in found
            if file.is_file() and "__pycache__" not in file.parts
        )
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def digest(files: list[str]) -> str:
    """Give a short checksum of the names and contents of these files."""
    total = hashlib.sha256()
    for name in files:
        content = hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()[:8]


def read_version() -> str:
    """Give the services' version as the tree states it."""
    scope: dict[str, str] = {}
    exec((ROOT / VERSION_FILE).read_text(), scope)  # noqa: S102 - our own one-line file
    return scope["__version__"]


def build_version(files: list[str]) -> str:
    """Give the version of a build of these sources."""
    version = read_version()
    dirty = bool(git("status", "--porcelain", "--", *SOURCES))
    if not dirty and f"v{version}" in git("tag", "--points-at", "HEAD").split():
        return version
    commit = git("log", "-1", "--abbrev=9", "--format=g%h", "--", *SOURCES)
    local = ".".join(filter(None, [commit, f"d{digest(files)}" if dirty or not commit else ""]))
    return f"{version}+{local}"


def build_wheel(files: list[str], version: str) -> Path:
    """Build the wheel of these sources from a copy, and give its path in the collection."""
    epoch = git("log", "-1", "--format=%ct", "--", *SOURCES) or "315532800"
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "source")
        for name in files:
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod(0o644)
        text = (ROOT / VERSION_FILE).read_text()
        (copy / VERSION_FILE).write_text(text.replace(read_version(), version))
        code = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"
        done = subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", code, temporary],
            cwd=copy,
            env={**os.environ, "SOURCE_DATE_EPOCH": epoch},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"The wheel cannot be built:\n{done.stdout}{done.stderr}")
        name = done.stdout.splitlines()[-1]
        WHEELS.mkdir(exist_ok=True)
        for old in WHEELS.glob("thermostat-*.whl"):
            old.unlink()
        return Path(shutil.move(Path(temporary, name), WHEELS / name))


def mirror_plugins() -> None:
    """Make the role's copy of the Heat plugins equal to their folder."""
    wanted = {
        Path(name).relative_to("heat_plugins"): (ROOT / name).read_bytes()
        for name in list_files(*PLUGIN_SOURCES)
        if name.endswith(".py")
    }
    PLUGINS.mkdir(parents=True, exist_ok=True)
    for file in [path for path in PLUGINS.rglob("*") if path.is_file()]:
        if file.relative_to(PLUGINS) not in wanted:
            file.unlink()
    for name, content in wanted.items():
        target = PLUGINS / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def main() -> None:
    """Build what is out of date."""
    mirror_plugins()
    files = list_files(*SOURCES)
    version = build_version(files)
    wheel = WHEELS / f"thermostat-{version}-py3-none-any.whl"
    if not wheel.exists():
        wheel = build_wheel(files, version)
    print(wheel.relative_to(ROOT))


if __name__ == "__main__":
    main()
