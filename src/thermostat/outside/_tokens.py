# SPDX-License-Identifier: Apache-2.0
"""PromQL as tokens, read by Prometheus' rules and no laxer. Pure: no I/O, no clock."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

MOST_TOKENS = 1_000
"""How many words and signs a query may have: parsers take the square of their number."""
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}
_WRITTEN = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})

_DURATION = r"(?:[0-9]+(?:ms|[smhdwy]))+"
_NUMBER = r"0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_LENGTH = rf"(?:{_DURATION}|[0-9]+)"
_SPACE = r"[ \t\r\n]"
_TOKEN = re.compile(
    rf"""
      (?P<gap>(?:{_SPACE}+|\#[^\r\n]*)+)
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'|`[^`]*`)
    | (?P<range>\[{_SPACE}*{_LENGTH}{_SPACE}*(?::{_SPACE}*{_LENGTH}?{_SPACE}*)?\])
    | (?P<number>(?:{_DURATION}|{_NUMBER})(?![a-zA-Z0-9_:.]))
    | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<sign>=~|!~|==|!=|<=|>=|[-+*/%^<>=@(){{}},])
    """,
    re.VERBOSE,
)
_ESCAPED = re.compile(
    r"\\(?:([abfnrtv\\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))"
)


class PromQLError(ValueError):
    """A query that cannot be understood; the message says why, for who wrote it."""


class Kind(Enum):
    """The kinds of tokens; the names are those of the pattern's groups."""

    STRING = auto()
    RANGE = auto()
    NUMBER = auto()
    WORD = auto()
    SIGN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One token, as it is to be written."""

    kind: Kind
    text: str
    spaced: bool
    """Whether something that means nothing stands before it."""

    @property
    def word(self) -> str:
        """The keyword that it may be, in lower case; empty if it is no word."""
        return self.text.lower() if self.kind is Kind.WORD else ""

    def is_sign(self, *signs: str) -> bool:
        """Tell whether it is one of these signs."""
        return self.kind is Kind.SIGN and self.text in signs


END = Token(Kind.END, "", spaced=False)


def tokens(query: str) -> list[Token]:
    """Give the tokens of a query, strings in one form. Raises PromQLError."""
    found = list(_scan(query))
    if len(found) > MOST_TOKENS:
        raise PromQLError(f"has {len(found)} words and signs, more than {MOST_TOKENS}")
    return found


def _scan(query: str) -> Iterator[Token]:
    position, spaced = 0, False
    while position < len(query):
        found = _TOKEN.match(query, position)
        if found is None or found.lastgroup is None:
            raise PromQLError(f"cannot be read from character {position + 1} on")
        position = found.end()
        if found.lastgroup == "gap":
            spaced = True
            continue
        text = found.group()
        if found.lastgroup == "string":
            text = quoted(_unquoted(text))
        yield Token(Kind[found.lastgroup.upper()], text, spaced)
        spaced = False


def _unquoted(literal: str) -> str:
    """Give what a string literal stands for, by Go's rules, as PromQL has them."""
    quote, text = literal[0], literal[1:-1]
    if quote == "`":
        return text.replace("\r", "")
    plain: list[str] = []
    position = 0
    while (start := text.find("\\", position)) >= 0:
        found = _ESCAPED.match(text, start)
        if found is None or (found[1] in ("'", '"') and found[1] != quote):
            raise PromQLError(f"has an unknown escape, {text[start : start + 2]}")
        plain += [text[position:start], _escaped(found)]
        position = found.end()
    return "".join((*plain, text[position:]))


def _escaped(found: re.Match[str]) -> str:
    letter, byte, short, long, octal = found.groups()
    if letter:
        return _ESCAPES.get(letter, letter)
    if byte or octal:
        code = int(byte, 16) if byte else int(octal, 8)
        if code > 0x7F:
            raise PromQLError(f"has the byte {found[0]} in a string: write \\u and four digits")
        return chr(code)
    code = int(short or long, 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise PromQLError(f"has {found[0]}, which is no character")
    return chr(code)


def quoted(text: str) -> str:
    """Give a string literal in the form that all are written in. Raises PromQLError."""
    written = text.translate(_WRITTEN)
    for character in written:
        if character < " " or "\x7f" <= character < "\xa0" or "\ud800" <= character <= "\udfff":
            raise PromQLError(f"has the control character {character!r} in a string")
    return f'"{written}"'
