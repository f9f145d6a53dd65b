"""The language of filters: what a text such as ``category = dairy and price < 5`` says, or where it is wrong.

.. code-block:: text

    filter      = conjunction ("or" conjunction)*
    conjunction = term ("and" term)*
    term        = "not" term | "(" filter ")" | comparison
    comparison  = column operator value | column ["not"] "in" "(" value ("," value)* ")"
    operator    = "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    column      = word | quoted         a column named as a word of the language is quoted
    value       = word | quoted         null, true and false are words; a quoted value is never one of them
    quoted      = '...' or "..." or `...`, the quote inside of it doubled

Words of the language may be written in capitals. Nothing here knows the columns: `cofactor.serve.catalogue` looks them
up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from cofactor.checks import check_type, shown
from cofactor.errors import ParameterError

__all__ = ["Combined", "Comparison", "Expression", "Negated", "Value", "parse_filter"]

_LONGEST = 4000  # letters of a filter
_MOST_VALUES = 1000
_DEEPEST = 32  # parentheses and negations inside each other

_TOKENS = re.compile(
    r"""\s*(?:
    (?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    |(?P<sign><=|>=|!=|<>|==|[=<>(),])
    |(?P<word>[^\s=<>!(),'"`]+)
    )""",
    re.VERBOSE,
)
_SAME = {"==": "=", "<>": "!="}
_WORDS = frozenset({"and", "or", "not", "in"})
_SIGNS = frozenset({"=", "!=", "<", "<=", ">", ">="})


class Value(NamedTuple):
    """What a column is compared with; ``text`` is None for the word null."""

    text: str | None
    position: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column and what it is compared with; ``operator`` is one of = != < <= > >= in, "not in".

    Positions count the letters of the filter from 1.
    """

    column: str
    position: int
    operator: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """What holds where ``part`` does not."""

    part: Expression


@dataclass(frozen=True, slots=True)
class Combined:
    """``word`` is "and" or "or"; there are two parts or more."""

    word: str
    parts: tuple[Expression, ...]


Expression: TypeAlias = Comparison | Negated | Combined


class _Token(NamedTuple):
    kind: str
    """quoted, sign, word or end; words of the language are of the kind that they are: and, or, not, in"""
    text: str
    position: int


def parse_filter(text: str) -> Expression:
    """Read a filter.

    Raises
    ------
    ParameterError
        It is no text, is empty, too long or too deep, or breaks the grammar; the message has the position.
    """
    check_type("filter", text, str, "a text such as category = dairy and price < 5")
    if len(text) > _LONGEST:
        raise ParameterError(f"filter: {len(text)} letters are more than the {_LONGEST} that are allowed")
    return _Parser(_tokens(text)).whole()


def _tokens(text: str) -> list[_Token]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKENS.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            what = "the quote is not closed" if text[at] in "'\"`" else f"{text[at]!r} means nothing here"
            raise ParameterError(f"filter: position {at + 1}: {what}")
        kind = str(match.lastgroup)
        piece, position = match[kind], match.start(kind) + 1
        if kind == "quoted":
            piece = piece[1:-1].replace(piece[0] * 2, piece[0])
        elif kind == "sign":
            piece = _SAME.get(piece, piece)
        elif piece.lower() in _WORDS:
            kind = piece.lower()
        found.append(_Token(kind, piece, position))
        at = match.end()
    return [*found, _Token("end", "", len(text) + 1)]


class _Parser:
    """Reads tokens from left to right, one function for each rule of the grammar."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._n_values = 0

    def whole(self) -> Expression:
        read = self._disjunction()
        if self._next.kind != "end":
            raise self._expected("and, or, or the end")
        return read

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _taken(self, kind: str, text: str | None = None) -> bool:
        """Step over a token if it is the next."""
        fits = self._next.kind == kind and text in (None, self._next.text)
        self._at += fits
        return fits

    def _disjunction(self) -> Expression:
        parts = [self._conjunction()]
        while self._taken("or"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else Combined("or", tuple(parts))

    def _conjunction(self) -> Expression:
        parts = [self._term()]
        while self._taken("and"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Combined("and", tuple(parts))

    def _term(self) -> Expression:
        position = self._next.position
        if not (self._taken("not") or self._taken("sign", "(")):
            return self._comparison()
        negated = self._tokens[self._at - 1].kind == "not"
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ParameterError(f"filter: position {position}: more than {_DEEPEST} parts inside each other")
        read = self._term() if negated else self._disjunction()
        if not negated and not self._taken("sign", ")"):
            raise self._expected(f"the ) of the ( at position {position}, and, or or")
        self._depth -= 1
        return Negated(read) if negated else read

    def _comparison(self) -> Comparison:
        column = self._next
        if column.kind not in ("word", "quoted"):
            raise self._expected("the name of a column, not or (")
        self._at += 1
        if self._next.kind == "sign" and self._next.text in _SIGNS:
            operator = self._take().text
            return Comparison(column.text, column.position, operator, (self._value(operator),))
        negated = self._taken("not")
        if not self._taken("in"):
            raise self._expected("in" if negated else f"= != < <= > >= in or not in after column {column.text}")
        if not self._taken("sign", "("):
            raise self._expected("( and the values after in")
        values = [self._value("(")]
        while self._taken("sign", ","):
            values.append(self._value(","))
        if not self._taken("sign", ")"):
            raise self._expected(", or ) after a value; one of several words goes into quotes")
        return Comparison(column.text, column.position, "not in" if negated else "in", tuple(values))

    def _value(self, after: str) -> Value:
        token = self._next
        if token.kind not in ("word", "quoted"):
            raise self._expected(f"a value after {after}")
        self._at += 1
        self._n_values += 1
        if self._n_values > _MOST_VALUES:
            raise ParameterError(f"filter: position {token.position}: more than {_MOST_VALUES} values")
        if token.kind == "word" and self._next.kind in ("word", "quoted"):
            raise ParameterError(
                f"filter: position {self._next.position}: and, or, or the end is expected after {token.text}, got "
                f"{shown(self._next.text)}; a value of several words goes into quotes: '{token.text} {self._next.text}'"
            )
        is_null = token.kind == "word" and token.text.lower() == "null"
        return Value(None if is_null else token.text, token.position)

    def _expected(self, what: str) -> ParameterError:
        token = self._next
        got = "the end" if token.kind == "end" else shown(token.text)
        way_out = "; a name or value that is a word of the language goes into quotes" if token.kind in _WORDS else ""
        return ParameterError(f"filter: position {token.position}: {what} is expected, got {got}{way_out}")
