"""External ids of users or items as they stand in JSON, and their row numbers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from cofactor.errors import DataError
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cofactor.data.ids import IdMap
    from cofactor.kernels.arrays import Rows

__all__ = ["Id", "JsonIds"]

Id: TypeAlias = int | str


class JsonIds:
    """The ids of a model's users or items: numbers or text, never both, and 12 is not "12".

    Parameters
    ----------
    ids : IdMap
    what : {"user", "item"}
        For messages.

    Attributes
    ----------
    ids : list of int or of str
        By row number.
    kind : type
        ``int`` or ``str``.

    Raises
    ------
    DataError
        The ids are binary, which JSON cannot write.
    """

    __slots__ = ("_row_of", "ids", "kind", "what")

    def __init__(self, ids: IdMap, what: str) -> None:
        if ids.dtype == pl.Binary:
            raise DataError(f"ids of {what}s are binary, which JSON cannot hold; train on ids that are text or numbers")
        self.what = what
        self.kind: type[int] | type[str] = int if ids.dtype.is_integer() else str
        self.ids: list[Id] = ids.ids.to_list()
        # Numbers 0 ... n - 1 are their own rows and need no table.
        counted = self.kind is int and bool(self.ids) and self.ids[0] == 0 and self.ids[-1] == len(self.ids) - 1
        self._row_of: Mapping[Id, int] | range = (
            range(len(self.ids)) if counted else dict(zip(self.ids, range(len(self.ids)), strict=True))
        )

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, given: Id) -> int:
        """Row number of an id, -1 where it is unknown.

        Raises
        ------
        RequestError
            422 ``id_type``: text was given where ids are numbers, or the other way round.
        """
        if type(given) is not self.kind:
            raise self.mismatch(given)
        known = self._row_of
        if isinstance(known, range):
            return given if 0 <= given < len(known) else -1  # type: ignore[operator,return-value]
        return known.get(given, -1)

    def rows(self, given: Iterable[Id]) -> list[int]:
        """Row number of each id; as :meth:`row`."""
        return [self.row(one) for one in given]

    def known_rows(self, given: Iterable[Id]) -> tuple[Rows, list[Id]]:
        """Rows of the known ids, ascending and each once, and the unknown ids."""
        found: set[int] = set()
        unknown: list[Id] = []
        for one in given:
            row = self.row(one)
            if row < 0:
                unknown.append(one)
            else:
                found.add(row)
        return np.array(sorted(found), np.int32), unknown

    def from_text(self, text: str) -> Id:
        """Read an id out of a path or a query string, where everything is text.

        Raises
        ------
        RequestError
            422 ``id_type``: ids are numbers and the text is none.
        """
        if self.kind is str:
            return text
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            raise self.mismatch(text)
        return int(text)

    def beginning_with(self, text: str, most: int) -> list[Id]:
        """The first ids that begin with a text, as they are written; O(n)."""
        return list(islice((one for one in self.ids if str(one).startswith(text)), most))

    def mismatch(self, given: object) -> RequestError:
        """What is said of an id of the wrong type."""
        kinds = ("a number", "text") if self.kind is int else ("text", "a number")
        example = f" such as {self.ids[0]!r}" if self.ids else ""
        return RequestError(
            422,
            "id_type",
            f"{self.what} ids are {kinds[0]}{example}; got {str(given)[:40]!r}, which is "
            f"{kinds[1] if isinstance(given, int | str) and not isinstance(given, bool) else type(given).__name__}",
            self.what,
        )
