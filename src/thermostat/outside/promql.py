# SPDX-License-Identifier: Apache-2.0
"""PromQL that sees one project only. Pure: no I/O, no clock.

Every vector selector of a query gets the matcher `project="…"`. Prometheus joins matchers by "and",
so one that the query has already can narrow what is seen, never widen it.

The query is read token by token and written anew: without comments, all strings in one form. So a
store has nothing left to read differently. An independent parser then reads the result, and each
selector that it finds must have the matcher. What either does not understand is refused.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import promql_parser
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatchOp,
    MatrixSelector,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    ValueType,
    VectorSelector,
)

from thermostat.outside._tokens import END, Kind, PromQLError, Token, quoted, tokens

__all__ = ["DEEPEST", "LABEL_NAME", "PromQLError", "scoped"]

DEEPEST = 50
"""How deep its parentheses may be nested."""
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# `info` joins labels of series that no selector of the query names.
_REFUSED_FUNCTIONS = ("info",)
_NUMBER_WORDS = ("inf", "nan")
_SET_OPERATORS = ("and", "or", "unless", "atan2")
_ON = ("on", "ignoring")
_GROUP = ("group_left", "group_right")
_BY = ("by", "without")
_MATCHES = ("=", "!=", "=~", "!~")
_SIGNS = ("+", "-")
_BINARY = ("+", "-", "*", "/", "%", "^", "==", "!=", "<=", "<", ">=", ">")


@lru_cache(maxsize=10_000)
def scoped(query: str, label: str | None, project_id: str) -> str:
    """Give the query with the matcher `label="project_id"` in each selector.

    Without a label it is checked and written anew only. Raises PromQLError unless it is a query for
    numbers at one instant: an instant vector or a scalar.
    """
    if label is not None and not project_id:
        raise PromQLError("cannot be kept to a project, for the alarm has none")
    matcher = None if label is None else f"{label}={quoted(project_id)}"
    writer = _Writer(tokens(query), matcher)
    text = writer.written()
    _verify(text, writer.selectors, label, project_id)
    return text


# -- writing ----------------------------------------------------------------------------------


class _Writer:
    """Writes the tokens anew, with the matcher in each selector.

    PromQL's keywords may be names too. Which they are follows from whether an operand or an
    operator is to come next, and from what follows.
    """

    def __init__(self, tokens: Sequence[Token], matcher: str | None) -> None:
        self._tokens = tokens
        self._matcher = matcher
        self._next = 0
        self._text: list[str] = []
        self._depth = 0
        self.selectors = 0
        """How many were written."""

    def written(self) -> str:
        """Give the new text."""
        step: Callable[[], bool] = self._operand
        while self._peek() is not END:
            step = self._operator if step() else self._operand
        return "".join(self._text).strip()

    def _operand(self) -> bool:
        """Write what may stand where an operand is to come; tell whether it has come."""
        token = self._peek()
        if token.is_sign("(", ")"):
            return self._parenthesis()
        if token.is_sign(*_SIGNS):
            self._write()
            return False
        if token.is_sign("{"):
            self._selector()
            return True
        if token.kind in (Kind.STRING, Kind.NUMBER) or token.word in _NUMBER_WORDS:
            self._write()
            return True
        if token.kind is not Kind.WORD:
            raise self._unexpected()
        return self._name()

    def _name(self) -> bool:
        """Write a function's name, an aggregation with its labels, or a metric with its braces."""
        following = self._peek(1)
        if following.is_sign("("):
            self._call()
            return False
        self._write()
        if following.word in _BY and self._peek(1).is_sign("("):
            self._write()
            self._labels()
            return False
        self._selector()
        return True

    def _operator(self) -> bool:
        """Write what may stand after an operand; tell whether an operator is still to come."""
        token = self._peek()
        if token.is_sign(")"):
            return self._parenthesis()
        if token.is_sign(","):
            self._write()
            return False
        if token.is_sign(*_BINARY) or token.word in _SET_OPERATORS:
            self._write()
            self._matching()
            return False
        self._suffix()
        return True

    def _suffix(self) -> None:
        """Write a range, a moment, or the labels of an aggregation."""
        token = self._peek()
        if token.kind is Kind.RANGE:
            self._write()
        elif token.is_sign("@"):
            self._write()
            self._moment()
        elif token.word == "offset":
            self._write()
            self._signed_number()
        elif token.word in _BY:
            self._write()
            self._labels()
        else:
            raise self._unexpected()

    def _call(self) -> None:
        if self._peek().word in _REFUSED_FUNCTIONS:
            raise PromQLError(f"uses {self._peek().text}, which looks at other series too")
        self._write()

    def _parenthesis(self) -> bool:
        """Write one; tell whether an operand has come with it."""
        closes = self._peek().is_sign(")")
        self._depth += -1 if closes else 1
        if self._depth > DEEPEST:
            raise PromQLError(f"is nested more than {DEEPEST} deep")
        if self._depth < 0:
            raise self._unexpected()
        self._write()
        return closes

    def _matching(self) -> None:
        """Write what may follow a binary operator: `bool`, `on (…)`, `group_left (…)`."""
        if self._peek().word == "bool":
            self._write()
        if self._peek().word in _ON and self._peek(1).is_sign("("):
            self._write()
            self._labels()
            if self._peek().word in _GROUP:
                self._write()
                if self._peek().is_sign("("):
                    self._labels()

    def _moment(self) -> None:
        """Write what may follow `@`."""
        if self._peek().word in ("start", "end"):
            self._write()
            self._expect("(")
            self._expect(")")
        else:
            self._signed_number()

    def _signed_number(self) -> None:
        if self._peek().is_sign(*_SIGNS):
            self._write()
        if self._peek().kind is not Kind.NUMBER:
            raise self._unexpected()
        self._write()

    def _labels(self) -> None:
        """Write a list of labels in parentheses."""
        self._expect("(")
        while not self._peek().is_sign(")"):
            if self._peek().kind not in (Kind.WORD, Kind.STRING):
                raise self._unexpected()
            self._write()
            if not self._peek().is_sign(")"):
                self._expect(",")
        self._expect(")")

    def _selector(self) -> None:
        """Write the braces of a selector, there or not, with the matcher."""
        self.selectors += 1
        if not self._peek().is_sign("{"):
            self._text.append("" if self._matcher is None else f"{{{self._matcher}}}")
            return
        self._expect("{")
        if self._matcher is not None:
            self._text.append(self._matcher)
            if not self._peek().is_sign("}"):
                self._text.append(",")
        while not self._peek().is_sign("}"):
            self._match()
            if not self._peek().is_sign("}"):
                self._expect(",")
        self._expect("}")

    def _match(self) -> None:
        """Write one matcher, or a metric's name in quotes."""
        token = self._peek()
        if token.kind is not Kind.STRING and not LABEL_NAME.fullmatch(token.text):
            raise self._unexpected()
        self._write()
        if token.kind is Kind.STRING and self._peek().is_sign(",", "}"):
            return
        if not self._peek().is_sign(*_MATCHES):
            raise self._unexpected()
        self._write()
        if self._peek().kind is not Kind.STRING:
            raise self._unexpected()
        self._write()

    def _peek(self, ahead: int = 0) -> Token:
        position = self._next + ahead
        return self._tokens[position] if position < len(self._tokens) else END

    def _write(self) -> None:
        token = self._peek()
        self._text.append(f" {token.text}" if token.spaced else token.text)
        self._next += 1

    def _expect(self, sign: str) -> None:
        if not self._peek().is_sign(sign):
            raise self._unexpected()
        self._write()

    def _unexpected(self) -> PromQLError:
        token = self._peek()
        if token is END:
            return PromQLError("ends too early")
        return PromQLError(f"has {token.text:.50} where it cannot stand")


# -- verifying --------------------------------------------------------------------------------


def _verify(text: str, selectors: int, label: str | None, project_id: str) -> None:
    """Raise PromQLError unless an independent parser finds what was meant."""
    root = _parsed(text)
    found = 0
    for node in _nodes(root):
        if isinstance(node, VectorSelector):
            found += 1
            if not _is_scoped(node, label, project_id):
                raise PromQLError("has a selector that cannot be kept to the project")
        elif isinstance(node, Call) and node.func.name in _REFUSED_FUNCTIONS:
            raise PromQLError(f"uses {node.func.name}, which looks at other series too")
    if found != selectors:
        raise PromQLError("has selectors that cannot be told apart")
    kind = _type_of(root)
    if kind is not None:
        raise PromQLError(f"gives {kind}, not an instant vector or a scalar")


def _parsed(text: str) -> Expr:
    try:
        root: Expr = promql_parser.parse(text)
    except ValueError as error:
        raise PromQLError(f"is no PromQL: {error}") from None
    except BaseException as error:
        # The parser's panics are no Exceptions: one ended the thread that serves the request.
        if type(error).__name__ != "PanicException":
            raise
        raise PromQLError(f"cannot be parsed: {error}") from None
    return root


def _is_scoped(selector: VectorSelector, label: str | None, project_id: str) -> bool:
    if selector.matchers.or_matchers:
        return False
    return label is None or any(
        one.op == MatchOp.Equal and one.name == label and one.value == project_id
        for one in selector.matchers.matchers
    )


def _nodes(root: Expr) -> Iterator[Expr]:
    todo: list[Expr] = [root]
    while todo:
        node = todo.pop()
        yield node
        match node:
            case BinaryExpr():
                todo += [node.lhs, node.rhs]
            case Call():
                todo += node.args
            case MatrixSelector():
                todo.append(node.vector_selector)
            case AggregateExpr():
                todo.append(node.expr)
                if node.param is not None:
                    todo.append(node.param)
            case ParenExpr() | UnaryExpr() | SubqueryExpr():
                todo.append(node.expr)


def _type_of(node: Expr) -> str | None:
    """Give what the query gives if that is not numbers at one instant."""
    while isinstance(node, ParenExpr):
        node = node.expr
    if isinstance(node, MatrixSelector | SubqueryExpr):
        return "a range vector"
    if isinstance(node, StringLiteral):
        return "a string"
    if isinstance(node, Call) and node.func.return_type == ValueType.String:
        return "a string"
    return None


def _teach(*names: str) -> None:
    """Let the parser know functions of Prometheus 2 that Prometheus 3 has renamed."""
    arguments = [ValueType.Matrix, ValueType.Scalar, ValueType.Scalar]
    promql_parser.register_extra_functions(
        [promql_parser.Function(name, arguments, ValueType.Vector) for name in names]
    )


_teach("holt_winters")
