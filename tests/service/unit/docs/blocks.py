# SPDX-License-Identifier: Apache-2.0
"""The examples in README.md and docs/: each fenced block, and where it stands."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[4]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
_FENCED = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```", re.M | re.S)
_INDENTED = re.compile(r"(?<=\n\n) {4}(?! *[-*\d]).*", re.M)


@dataclass(frozen=True)
class Block:
    """One example."""

    page: str
    """The path of the page within the repository."""
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.language}"


def blocks():
    """Give every fenced block of every page."""
    for path in PAGES:
        text = path.read_text()
        for found in _FENCED.finditer(text):
            yield Block(
                page=str(path.relative_to(ROOT)),
                line=text[: found.start()].count("\n") + 1,
                language=found[2],
                text=textwrap.dedent(found[3]),
            )


def unfenced():
    """Give where text is indented as code, outside fences."""
    for path in PAGES:
        text = _FENCED.sub(lambda found: "\n" * found[0].count("\n"), path.read_text())
        for found in _INDENTED.finditer(text):
            yield f"{path.relative_to(ROOT)}:{text[: found.start()].count(chr(10)) + 1}"
