"""TOML files whose errors name the line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cofactor.errors import DataError

__all__ = ["TomlFile", "read_toml"]

Key = str | int
"""The name of a key, or the place in an array, from 0."""


@dataclass(frozen=True)
class TomlFile:
    """What a TOML file says, and where.

    Parameters
    ----------
    path : Path
    text : str
    data : dict
        As ``tomllib`` reads it.
    """

    path: Path
    text: str
    data: dict[str, Any]

    def line(self, *keys: Key) -> int:
        r"""The line, from 1, on which a key is given, or the table it is in begins; 1 for the whole file.

        Examples
        --------
        >>> text = "a = 1\n[b]\n# told\nc = [\n  {d = 2},\n]\n"
        >>> file = TomlFile(Path("x.toml"), text, tomllib.loads(text))
        >>> file.line("b"), file.line("b", "c"), file.line("b", "c", 0, "d")
        (2, 4, 5)
        """
        while keys:
            for first, last, data in self._statements:
                if _holds(data, keys):
                    return self._within(first, last, data, keys)
            keys = keys[:-1]
        return 1

    @cached_property
    def _statements(self) -> list[tuple[int, int, dict[str, Any]]]:
        """First and last line of every statement, and all that the file says up to there.

        tomllib tells no lines, but it does tell whether a text is complete: so is the file up to the end of every
        statement, and nowhere within one. Quadratic in the lines; asked for only where there is an error to place.
        """
        lines = self.text.splitlines()
        found, first = [], 1
        for last in range(1, len(lines) + 1):
            try:
                data = tomllib.loads("\n".join(lines[:last]) + "\n")
            except tomllib.TOMLDecodeError:
                continue
            found.append((first, last, data))
            first = last + 1
        return found

    def _within(self, first: int, last: int, data: Any, keys: tuple[Key, ...]) -> int:  # noqa: ANN401
        """The line of a key in a statement of several lines, its first line where it is not there.

        In an array of tables the key stands once for each table before, if that has it.
        """
        *above, key = keys
        before = 0
        if above and isinstance(above[-1], int):
            for one in above[:-1]:
                data = data[one]
            before = sum(key in table for table in data[: above[-1]])
        name = rf"(?<![\w-])[\"']?{re.escape(str(key))}[\"']?\s*="
        lines = self.text.splitlines()[first - 1 : last]
        found = [n for n, line in enumerate(lines) for _ in re.findall(name, line)]
        return first + (found[before] if before < len(found) else 0)


def _holds(data: Any, keys: tuple[Key, ...]) -> bool:  # noqa: ANN401
    for key in keys:
        if isinstance(key, int):
            if not (isinstance(data, list) and key < len(data)):
                return False
        elif not (isinstance(data, dict) and key in data):
            return False
        data = data[key]
    return True


def read_toml(path: str | Path) -> TomlFile:
    """Read a TOML file.

    Raises
    ------
    DataError
        The file cannot be read, is no UTF-8, or no TOML; the message has the line and the column.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8, as TOML is: byte {error.start} is no part of it") from error
    try:
        return TomlFile(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not TOML: {error}") from error
