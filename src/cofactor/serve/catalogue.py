"""What is known of items besides their ids: names, attributes, and which of them a filter allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from cofactor.checks import check_type, nearest
from cofactor.data.ids import IdMap
from cofactor.data.sources import READ_ERRORS, open_source
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import DataError, ParameterError
from cofactor.serve.attributes import ORDERED, Attribute, attribute, plain
from cofactor.serve.filter_language import Combined, Comparison, Expression, Negated, parse_filter
from cofactor.serve.name_search import NameSearch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cofactor.kernels.arrays import Rows

__all__ = ["Allowed", "Catalogue"]

_NAMES = ("name", "title", "item_name", "product_name", "product", "label")
_IMAGES = ("image", "image_url", "picture", "picture_url", "poster", "thumbnail")
_KEPT_BYTES = 64 << 20  # of the bitmaps of filters
_KEPT_FILTERS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """The items that a filter allows; both arrays are read-only.

    Parameters
    ----------
    mask : (n_items,) bool
    rows : (m,) int32
        The same items by their row numbers, ascending, as kernels take them.
    """

    mask: NDArray[np.bool_]
    rows: Rows


class Catalogue:
    """A table of items, its rows in the order of their ids or of a model's items; made by `Catalogue.read`.

    Safe for threads. A filter is evaluated once and kept as a bitmap; 64 MiB of them are kept, those used last.

    Parameters
    ----------
    frame : polars.DataFrame
        A row for each item of ``items``, in their order.
    items : IdMap
    name, image : str, optional
        The columns of names and of addresses of pictures.
    notes : tuple of str
        What was left out or not found, for people.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        items: IdMap,
        *,
        name: str | None = None,
        image: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.items = items
        self.name_column = name
        self.image_column = image
        self.notes = notes
        self._frame = frame
        self._attributes: dict[str, Attribute] = {}
        self._kept: OrderedDict[str, Allowed] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def read(
        cls,
        table: TableLike | str | Path,
        items: IdMap | None = None,
        *,
        item: str = "item_id",
        name: str | None = None,
        image: str | None = None,
    ) -> Self:
        """Take over a table of items.

        Parameters
        ----------
        table : path of Parquet, CSV, JSON lines or Arrow, or a table
        items : IdMap, optional
            The items of a model, whose order the rows then have; without it, the items of the table.
        item : str
            The column of item ids.
        name, image : str, optional
            The columns of names and of addresses of pictures; columns that are called as such are found.

        Raises
        ------
        DataError
            The table cannot be read, a column is missing, or an item has two rows.
        ParameterError
            ``item``, ``name`` or ``image`` is no column.
        """
        frame = _opened(table, item, is_text=items is not None and not items.dtype.is_integer())
        for what, column in (("item", item), ("name", name), ("image", image)):
            if column is not None and column not in frame.columns:
                raise ParameterError(
                    f"{what}={column!r}: the table of items has no such column; its columns are "
                    f"{', '.join(frame.columns)}{nearest(column, frame.columns)}"
                )
        ids = read_table(frame, [item], "items")[item]
        items = IdMap.from_values(ids) if items is None else items
        place, n_known = _places(ids, items)
        others = [c for c in frame.columns if c != item]
        unusable = [c for c in others if frame.schema[c] in (pl.Binary, pl.Object)]
        others = [c for c in others if c not in unusable]
        # A missing row is a row of nulls: polars gathers null where the place is null.
        taken = frame.select(others)[pl.Series(place).replace(-1, None).cast(pl.UInt32)] if others else pl.DataFrame()
        notes = [f"{column}: left out, as it holds {frame.schema[column]}" for column in unusable]
        if n_missing := int((place < 0).sum()):
            notes.append(f"{n_missing:,} of {len(items):,} items of the model are not in the table")
        if n_more := len(ids) - n_known:
            notes.append(f"{n_more:,} of {len(ids):,} items of the table are not in the model")
        name = name or next((c for c in _NAMES if taken.schema.get(c) == pl.String), None)
        image = image or next((c for c in _IMAGES if taken.schema.get(c) == pl.String), None)
        return cls(taken, items, name=name, image=image, notes=tuple(notes))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def ids(self) -> list[Any]:
        """The ids of the items by row."""
        return self.items.ids.to_list()

    @property
    def columns(self) -> list[str]:
        """All columns besides the id."""
        return self._frame.columns

    def describe(self) -> list[dict[str, Any]]:
        """The columns for people and programs.

        Each has ``name``, ``type`` and ``operators``; ``values`` if they are few, and ``range`` and ``quantiles`` if it
        is of numbers.
        """
        return self._described

    @cached_property
    def _described(self) -> list[dict[str, Any]]:
        told = []
        for column in self.columns:
            if column in (self.name_column, self.image_column):  # nobody chooses from these
                told.append({"name": column, "type": "text", "operators": list(ORDERED)})
                continue
            found = self._attribute(column)
            if found is None:
                told.append({"name": column, "type": "other", "operators": []})
                continue
            one: dict[str, Any] = {"name": column, "type": found.type, "operators": list(found.operators)}
            if (values := found.values) is not None:
                one["values"] = values
            if (ends := found.range) is not None:
                one["range"] = list(ends)
            if (steps := found.quantiles) is not None:
                one["quantiles"] = steps
            told.append(one)
        return told

    def attributes(self, row: int) -> dict[str, Any]:
        """The attributes of an item by its row, as JSON has them; None where the table says nothing."""
        cells = self._frame.row(int(row)) if self.columns else ()
        return {column: plain(value) for column, value in zip(self.columns, cells, strict=True)}

    def name(self, row: int) -> str | None:
        """The name of an item by its row, where there is one."""
        return None if self.name_column is None else plain(self._frame[self.name_column][int(row)])

    def allowed(self, filter: str) -> Allowed:
        """The items that a filter allows.

        Takes some nanoseconds per item and comparison the first time, and nothing from then on.

        Parameters
        ----------
        filter : str
            Such as ``category = dairy and price < 5``; see `cofactor.serve.filter_language`.

        Raises
        ------
        ParameterError
            The filter is wrong, with the position, or it names a column that is not there.
        """
        check_type("filter", filter, str, "a text such as category = dairy and price < 5")
        with self._lock:
            if (kept := self._kept.get(filter)) is not None:
                self._kept.move_to_end(filter)
                return kept
        mask = self._where(parse_filter(filter))
        made = Allowed(mask, np.flatnonzero(mask).astype(np.int32))
        mask.flags.writeable = made.rows.flags.writeable = False
        with self._lock:
            self._kept[filter] = made
            held = sum(one.mask.nbytes + one.rows.nbytes for one in self._kept.values())
            while held > _KEPT_BYTES or len(self._kept) > _KEPT_FILTERS:
                _, gone = self._kept.popitem(last=False)
                held -= gone.mask.nbytes + gone.rows.nbytes
        return made

    def mask(self, filter: str) -> NDArray[np.bool_]:
        """Which items a filter allows, (n_items,) bool, read-only; as `allowed`."""
        return self.allowed(filter).mask

    def search(
        self,
        text: str,
        k: int = 10,
        *,
        among: NDArray[np.bool_] | None = None,
        popularity: ArrayLike | None = None,
    ) -> Rows:
        """Find items by their name, or by their id; (at most k,) int32 rows, best first.

        ``among``, (n_items,) bool, holds those that may be found; ``popularity``, (n_items,) number, orders those whose
        names match equally well, in place of the lengths of their names.

        Every word of the text must begin a word of the name; where nothing is found, one letter may be wrong, and two
        in words of eight letters or more.
        """
        return self._search.find(text, k, among=among, popularity=popularity)

    def warm(self) -> None:
        """Make what descriptions need before anybody waits for it, and begin with what searches need beside."""
        self.describe()
        threading.Thread(target=self.search, args=("", 1), name="cofactor-names", daemon=True).start()

    @cached_property
    def _search(self) -> NameSearch:
        names = None if self.name_column is None else self._frame[self.name_column]
        return NameSearch(names, self.items)

    def _attribute(self, column: str) -> Attribute | None:
        if column not in self._attributes and (made := attribute(self._frame[column])) is not None:
            self._attributes[column] = made
        return self._attributes.get(column)

    def _where(self, expression: Expression) -> NDArray[np.bool_]:
        match expression:
            case Negated(part):
                return ~self._where(part)
            case Combined(word, parts):
                return reduce(np.logical_and if word == "and" else np.logical_or, map(self._where, parts))
        return self._compared(expression)

    def _compared(self, comparison: Comparison) -> NDArray[np.bool_]:
        column = comparison.column
        if column not in self.columns:
            raise ParameterError(
                f"filter: position {comparison.position}: no column {column!r}; the columns are "
                f"{', '.join(self.columns) or 'none'}{nearest(column, self.columns)}"
            )
        found = self._attribute(column)
        if found is None:
            raise ParameterError(
                f"filter: position {comparison.position}: column {column} holds {self._frame.schema[column]}, which "
                "has no comparison"
            )
        return found.where(comparison)


def _places(ids: pl.Series, items: IdMap) -> tuple[NDArray[np.int64], int]:
    """Where each item stands in a table, -1 where it does not, and how many rows of the table are of these items."""
    rows = items.rows(ids, "items")
    known = np.flatnonzero(rows >= 0)
    counts = np.bincount(rows[known], minlength=len(items))
    if (twice := np.flatnonzero(counts > 1)).size:
        first = items.take(twice[:1])[0]
        raise DataError(f"items: {twice.size} item(s) have more than one row, the first is {first!r}")
    place = np.full(len(items), -1, np.int64)
    place[rows[known]] = known
    return place, len(known)


def _opened(table: TableLike | str | Path, item: str, *, is_text: bool) -> pl.DataFrame:
    if not isinstance(table, str | Path):
        return read_table(table, [], "items")
    source = open_source(table, texts=[item] if is_text else [])  # "007" stays as it is written
    try:
        return source.frame.collect()
    except READ_ERRORS as error:
        raise source.explain(error, source.frame.collect_schema().names()) from error
