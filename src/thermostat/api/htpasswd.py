# SPDX-License-Identifier: Apache-2.0
"""Users in an htpasswd file with bcrypt, and a check of passwords whose cost is bounded.

bcrypt is slow on purpose. So what was right is remembered, by a keyed hash, for `REMEMBERED_S`;
what was wrong costs one bcrypt a minute however often it is tried; one bcrypt runs at a time; and
only so many tries may fail in a minute, of one address and in all.
"""

import hashlib
import logging
import os
import re
import secrets
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import bcrypt

LOG = logging.getLogger(__name__)
REMEMBERED_S = 300.0
"""How long a right password is known without bcrypt, from its last use."""
MOST_REMEMBERED = 1_000
FAILURES_S = 60.0
"""How long a failed try counts."""
MOST_FAILURES = 30
"""How many tries may fail in that time, over all addresses."""
MOST_FAILURES_OF_ONE = 5
"""How many tries of one address may fail in that time."""
MOST_PENDING = 4
"""How many different passwords may wait for bcrypt; each holds at least one thread of the API."""
BCRYPT_BYTES = 72
"""bcrypt looks at so many bytes of a password; `htpasswd` cuts off the rest, and so do we."""
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1\d|2\d|3[01])\$[./A-Za-z0-9]{53}")
_NOBODY = "$2b${}$" + "." * 53  # no password is known that has this hash


class PasswordFileError(Exception):
    """The file cannot be read or used; the message names it and the line, never its content."""


class TooManyTries(Exception):  # noqa: N818 - it reads as a state
    """Too many tries have failed or are under way; the password was not looked at."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class PasswordFile:
    """The users of an htpasswd file, which is read again when it has changed."""

    def __init__(self, path: str) -> None:
        """Read the file. Raises PasswordFileError."""
        self._path = path
        self._lock = threading.Lock()
        self._version: tuple[int, ...] = ()
        self._users: Mapping[str, bytes] = {}
        self.read()

    def read(self) -> tuple[Mapping[str, bytes], tuple[int, ...]]:
        """Give bcrypt hashes by user, and what changes whenever the file does.

        Raises PasswordFileError; nobody is let in by a file that is broken.
        """
        with self._lock:
            try:
                found = os.stat(self._path)
                version = (found.st_mtime_ns, found.st_size, found.st_ino)
                if version != self._version:
                    with open(self._path, encoding="utf-8") as lines:
                        self._users = dict(
                            self._entry(number, line.strip())
                            for number, line in enumerate(lines, start=1)
                            if line.strip() and not line.startswith("#")
                        )
                    self._version = version
            except (OSError, UnicodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                raise PasswordFileError(f"{self._path} cannot be read: {reason}") from None
            return self._users, self._version

    def _entry(self, number: int, line: str) -> tuple[str, bytes]:
        name, _, hashed = line.partition(":")
        if not name or not _HASH.fullmatch(hashed):
            raise PasswordFileError(
                f"{self._path}, line {number}: not a user name, a colon and a bcrypt hash"
            )
        return name, hashed.encode()


class _Failure(NamedTuple):
    at_s: float
    address: str
    digest: bytes


class Passwords:
    """Checks names and passwords. Every method may be called from any thread."""

    def __init__(self, file: PasswordFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._version: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self._checking = threading.Lock()
        # What follows is touched only under the lock.
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._failures: deque[_Failure] = deque()
        self._pending: Counter[bytes] = Counter()

    def verify(self, name: str, password: bytes, address: str) -> bool:
        """Tell whether this is the user's password.

        Raises TooManyTries, and PasswordFileError if the file has become unusable.
        """
        users, version = self._file.read()
        digest = self._digest(name, password)
        with self._lock:
            self._renew(version)
            known = self._known(digest, address)
            if known is not None:
                return known
            if digest not in self._pending and len(self._pending) >= MOST_PENDING:
                raise TooManyTries(1.0)
            self._pending[digest] += 1
        try:
            with self._checking:
                return self._check(users, name, password, digest=digest, address=address)
        finally:
            with self._lock:
                self._pending[digest] -= 1
                if not self._pending[digest]:
                    del self._pending[digest]

    def _check(
        self,
        users: Mapping[str, bytes],
        name: str,
        password: bytes,
        *,
        digest: bytes,
        address: str,
    ) -> bool:
        """Ask bcrypt, unless another thread has done so meanwhile."""
        with self._lock:
            known = self._known(digest, address)
        if known is not None:
            return known
        is_right = _matches(users, name, password)
        with self._lock:
            if is_right:
                self._remember(digest)
            else:
                self._failures.append(_Failure(self._clock(), address, digest))
        if not is_right:
            shown = repr(name) if name in users else "a user that is not in the file"
            LOG.warning("Basic authentication of %s from %s failed", shown, address)
        return is_right

    def _digest(self, name: str, password: bytes) -> bytes:
        hashed = hashlib.blake2b(key=self._key, digest_size=32)
        encoded = name.encode()
        hashed.update(len(encoded).to_bytes(8, "big") + encoded + password)
        return hashed.digest()

    def _renew(self, version: tuple[int, ...]) -> None:
        """Forget what was right and wrong by another file."""
        if version != self._version:
            self._version = version
            self._right.clear()
            self._failures.clear()

    def _known(self, digest: bytes, address: str) -> bool | None:
        """Tell what is known without bcrypt, None if nothing. Raises TooManyTries."""
        now_s = self._clock()
        until_s = self._right.get(digest)
        if until_s is not None and now_s < until_s:
            self._remember(digest)
            return True
        while self._failures and self._failures[0].at_s <= now_s - FAILURES_S:
            self._failures.popleft()
        if any(failure.digest == digest for failure in self._failures):
            return False
        of_one = [failure for failure in self._failures if failure.address == address]
        for failures, most in ((of_one, MOST_FAILURES_OF_ONE), (self._failures, MOST_FAILURES)):
            if len(failures) >= most:
                raise TooManyTries(failures[0].at_s + FAILURES_S - now_s)
        return None

    def _remember(self, digest: bytes) -> None:
        self._right[digest] = self._clock() + REMEMBERED_S
        self._right.move_to_end(digest)
        while len(self._right) > MOST_REMEMBERED:
            self._right.popitem(last=False)


def hash_of(password: bytes) -> bytes:
    """Give a bcrypt hash with a new salt."""
    return bcrypt.hashpw(password[:BCRYPT_BYTES], bcrypt.gensalt())


def is_password(password: bytes, hashed: bytes) -> bool:
    """Tell whether this is the hash of the password."""
    return bcrypt.checkpw(password[:BCRYPT_BYTES], hashed)


def _matches(users: Mapping[str, bytes], name: str, password: bytes) -> bool:
    """Tell whether this is the user's password, in the same time whether there is such a user."""
    rounds = max((hashed[4:6].decode() for hashed in users.values()), default="12")
    hashed = users.get(name, _NOBODY.format(rounds).encode())
    try:
        return is_password(password, hashed) and name in users
    except ValueError:  # a NUL in the password
        return False
