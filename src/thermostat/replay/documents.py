# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON files whose errors name the file, the line and the field."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from thermostat.replay.errors import DocumentError

MOST_BYTES = 10_000_000
_STEP = re.compile(r"\[(?P<index>\d+)\]|(?P<key>[^.\[]+)")
_AT = re.compile(r"(?P<reason>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.S)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`", re.S)
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`", re.S)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """A value that stands in a file, or in a part of one."""

    file: str
    value: Any
    node: yaml.Node
    path: str = ""
    """Where it stands, as `tests[0].series`; empty for the whole file."""

    def part(self, *steps: str | int) -> "Document":
        """Give what stands under these keys and positions, which must be there."""
        value, path = self.value, self.path
        for step in steps:
            value = value[step]
            path += f"[{step}]" if isinstance(step, int) else f"{'.' if path else ''}{step}"
        node, _ = self._place(path[len(self.path) :])
        return Document(self.file, value, node, path)

    def error(self, path: str, reason: str) -> DocumentError:
        """Give the error for what stands at this path below here."""
        _, line = self._place(path)
        joint = "." if self.path and path and not path.startswith("[") else ""
        where = f"{self.path}{joint}{path}"
        return DocumentError(f"{self.file}:{line}: {where}{': ' if where else ''}{reason}")

    def plain(self) -> Any:
        """Give the value with its dates, which YAML knows and JSON does not, as text."""
        try:
            return msgspec.to_builtins(self.value, str_keys=True)
        except RecursionError:
            raise self.error("", "is nested too deeply") from None
        except TypeError as error:
            raise self.error("", f"has a value of an unknown kind: {error}") from error

    def convert(self, kind: type[T]) -> T:
        """Give the value as this type. Raises DocumentError for what does not fit."""
        try:
            return msgspec.convert(self.plain(), kind)
        except msgspec.ValidationError as error:
            raise self.error(*_field_and_reason(str(error))) from error

    def _place(self, path: str) -> tuple[yaml.Node, int]:
        """Give the node at this path and its line, or those of the last one on the way to it."""
        node, line = self.node, self.node.start_mark.line + 1
        for step in _STEP.finditer(path):
            inner = _inner(node, step["key"], step["index"])
            if inner is None:
                break
            node, line = inner
        return node, line


def load_all(path: Path) -> Iterator[Document]:
    """Give the documents of a YAML or JSON file. Raises DocumentError, or OSError."""
    content = path.read_bytes()
    if len(content) > MOST_BYTES:
        raise DocumentError(f"{path}: longer than {MOST_BYTES // 1_000_000} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: not UTF-8: {error}") from error
    # YAML allows no tabs where JSON is often indented with them.
    if text.lstrip()[:1] in ("{", "["):
        text = text.replace("\t", " ")
    loader = yaml.CSafeLoader(text) if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                _check_keys(str(path), node)
                yield Document(str(path), loader.construct_document(node), node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DocumentError(f"{path}{line}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}: not YAML: {error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(f"{path}: {error}") from error
    finally:
        loader.dispose()


def _check_keys(file: str, node: yaml.Node) -> None:
    """Raise DocumentError for a key that stands twice in one mapping: YAML takes the last."""
    waiting, seen = [node], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, yaml.SequenceNode):
            waiting += one.value
        elif isinstance(one, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in one.value:
                where = f"{file}:{key.start_mark.line + 1}: "
                if not isinstance(key, yaml.ScalarNode):
                    raise DocumentError(f"{where}a key is a list or a mapping")
                if key.value in keys:
                    raise DocumentError(f"{where}{key.value}: is given twice")
                keys.add(key.value)
                waiting.append(value)


def _inner(node: yaml.Node, key: str | None, index: str | None) -> tuple[yaml.Node, int] | None:
    """Give what stands under a key or at a position, and the line on which it begins."""
    if isinstance(node, yaml.SequenceNode) and index is not None and int(index) < len(node.value):
        item = node.value[int(index)]
        return item, item.start_mark.line + 1
    if isinstance(node, yaml.MappingNode) and key is not None:
        for name, value in node.value:
            if name.value == key:
                return value, name.start_mark.line + 1
    return None


def _field_and_reason(text: str) -> tuple[str, str]:
    """Take msgspec's message apart: the path of the field, and what is wrong with it."""
    found = _AT.fullmatch(text)
    path, reason = (found["path"] or "", found["reason"]) if found else ("", text)
    for pattern, words in ((_UNKNOWN, "is not known here"), (_MISSING, "is missing")):
        field = pattern.fullmatch(reason)
        if field:
            return f"{path}{'.' if path else ''}{field['field']}", words
    return path, reason
