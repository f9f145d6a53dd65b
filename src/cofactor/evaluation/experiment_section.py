"""Tables of an experiment file: keys that are known, values of the right type, errors that name the line."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from cofactor.checks import nearest, shown
from cofactor.errors import CofactorError, DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cofactor.system.toml import Key, TomlFile

__all__ = ["KINDS", "Kind", "Section"]

Kind = Literal["text", "texts", "whole", "wholes", "number", "numbers", "share", "flag", "table", "tables", "any"]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all(value: object, fits: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(map(fits, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


KINDS: Mapping[Kind, tuple[str, Callable[[object], bool]]] = {
    "text": ('text in quotes, as "28d"', _is_text),
    "texts": ('text in quotes, or a list of texts, as ["a", "b"]', lambda v: _is_text(v) or _all(v, _is_text)),
    "whole": ("a whole number", _is_whole),
    "wholes": ("a whole number, or a list of them", lambda v: _is_whole(v) or _all(v, _is_whole)),
    "number": ("a number", _is_number),
    "numbers": ("a number, or a list of them", lambda v: _is_number(v) or _all(v, _is_number)),
    "share": ('a time, as "28d", or a share, as 0.1', lambda v: _is_text(v) or _is_number(v)),
    "flag": ("true or false", lambda v: isinstance(v, bool)),
    "table": ("a table, as {a = 1} or under a [heading]", _is_table),
    "tables": ("tables under [[headings]]", lambda v: _all(v, _is_table)),
    "any": ("a value", lambda v: True),
}
"""What a value may be, in words, and how to tell."""


@dataclass(frozen=True)
class Section:
    """One table of a file.

    Parameters
    ----------
    file : TomlFile
    keys : tuple
        Where the table is: names of tables, and places in arrays of them; empty for the whole file.
    table : dict
    """

    file: TomlFile
    keys: tuple[Key, ...]
    table: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The heading of the table, as ``[data]``."""
        return "[" + ".".join(_written(key) for key in self.keys if isinstance(key, str)) + "]" if self.keys else ""

    def section(self, key: str) -> Section:
        """The table under a key, an empty one if there is none."""
        return Section(self.file, (*self.keys, key), self.table.get(key, {}))

    def sections(self, key: str) -> list[Section]:
        """The tables of an array of them."""
        return [Section(self.file, (*self.keys, key, n), one) for n, one in enumerate(self.table.get(key, []))]

    def check(self, known: Mapping[str, Kind], required: Iterable[str] = ()) -> Mapping[str, Any]:
        """Give the table, after a look at all of its keys and the types of their values.

        Raises
        ------
        ParameterError
            A key is not known (the nearest is suggested), a value is of another type, or a required key is missing.
        """
        for key, value in self.table.items():
            if key not in known:
                self.refuse_key(key, known)
            words, fits = KINDS[known[key]]
            if not fits(value):
                self.fail(f"{key} must be {words}, got {shown(value)}", key)
        for key in required:
            if key not in self.table:
                self.fail(f"{key} is missing; it must be {KINDS[known[key]][0]}")
        return self.table

    def refuse_key(self, key: str, known: Iterable[str]) -> NoReturn:
        """Raise ParameterError for a key that there is not."""
        known = list(known)
        self.fail(f"there is no key {key!r}{nearest(key, known) or '.'} The keys are {', '.join(known)}", key)

    def choose(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        """A text that must be one of several."""
        value, allowed = self.table.get(key, default), list(allowed)
        if value not in allowed:
            hint = nearest(value, allowed) or "."
            self.fail(f"{key} is {shown(value)}{hint} It must be one of {', '.join(allowed)}", key)
        return str(value)

    def fail(self, why: str, key: Key | None = None) -> NoReturn:
        """Raise ParameterError that names the file, the line of a key (or of the table), and the table."""
        raise ParameterError(f"{self.place(key)}: {why}")

    def place(self, key: Key | None = None) -> str:
        """The file, the line and the heading, as errors begin."""
        line = self.file.line(*self.keys, *([] if key is None else [key]))
        return f"{self.file.path}, line {line}{f', {self.name}' if self.keys else ''}"

    @contextmanager
    def placing(self, *keys: str) -> Iterator[None]:
        """Put the place before the library's errors about values of this table; the key is the one that they name."""
        try:
            yield
        except CofactorError as error:
            if str(error).startswith(f"{self.file.path}, line "):
                raise
            found = re.match(r"\W*(\w+)", str(error))
            named = [key for key in (found[1] if found else "", *keys) if key in self.table]
            kind = DataError if isinstance(error, DataError) else ParameterError
            raise kind(f"{self.place(named[0] if named else None)}: {error}") from error


def _written(key: str) -> str:
    """A key as TOML writes it."""
    return key if re.fullmatch(r"[\w-]+", key) else f'"{key}"'
