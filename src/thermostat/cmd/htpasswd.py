# SPDX-License-Identifier: Apache-2.0
"""thermostat-htpasswd: passwords for senders of samples that have no token.

Writes a file for the server's option [ingest] basic_auth_user_file. Passwords are read from the
terminal or from standard input, never from the command line, where others could see them.
"""

import argparse
import getpass
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from thermostat.api.htpasswd import PasswordFile, PasswordFileError, hash_of, is_password
from thermostat.version import __version__

MODE = 0o640


def main(arguments: list[str] | None = None) -> int:
    """Write the file; 0 if it is as wanted afterwards, 1 if not."""
    parser = argparse.ArgumentParser(prog="thermostat-htpasswd", description=__doc__)
    parser.add_argument("file", type=Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("user", nargs="?", help="ask for this user's password and set it")
    what.add_argument("--delete", metavar="USER", help="remove this user")
    what.add_argument(
        "--only-from-stdin",
        action="store_true",
        help="read lines NAME:PASSWORD; the file then has these users and no others",
    )
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args(arguments)
    try:
        known = dict(PasswordFile(str(options.file)).read()[0]) if options.file.exists() else {}
        wanted = _wanted(options, known)
    except (PasswordFileError, ValueError) as error:
        print(f"thermostat-htpasswd: {error}", file=sys.stderr)
        return 1
    if options.file.exists() and wanted == known:
        print(f"{options.file} is as wanted.")
        return 0
    try:
        _write(options.file, wanted)
    except OSError as error:
        print(f"thermostat-htpasswd: {options.file}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{options.file} was changed.")
    return 0


def _wanted(options: argparse.Namespace, known: Mapping[str, bytes]) -> dict[str, bytes]:
    """Give the hashes that the file is to have; those of passwords that stay are kept."""
    if options.delete is not None:
        return {name: hashed for name, hashed in known.items() if name != options.delete}
    if options.only_from_stdin:
        pairs = [line.rstrip("\r\n").partition(":") for line in sys.stdin if line.strip()]
        return {name: _hash(name, password, known) for name, _, password in pairs}
    return {**known, options.user: _hash(options.user, _asked(), known)}


def _asked() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("New password: ")
    if getpass.getpass("Again: ") != password:
        raise ValueError("the two passwords differ")
    return password


def _hash(name: str, password: str, known: Mapping[str, bytes]) -> bytes:
    if not name or name.startswith("#") or not name.isprintable() or ":" in name:
        raise ValueError("a user name must be printable, without a colon and not begin with #")
    if not password or "\0" in password:
        raise ValueError(f"the password of {name} is empty or has a NUL")
    encoded = password.encode()
    hashed = known.get(name)
    return hashed if hashed and is_password(encoded, hashed) else hash_of(encoded)


def _write(path: Path, users: Mapping[str, bytes]) -> None:
    """Put a new file in the old one's place at once, with its mode and, if we may, its owner."""
    text = b"".join(name.encode() + b":" + hashed + b"\n" for name, hashed in users.items())
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(text)
        if path.exists():
            old = path.stat()
            os.chown(temporary, old.st_uid if os.geteuid() == 0 else -1, old.st_gid)
            os.chmod(temporary, old.st_mode & 0o777)
        else:
            os.chmod(temporary, MODE)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
