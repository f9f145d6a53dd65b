"""Users, items and one number for some of their pairs: what interactions and ratings have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl

from cofactor.checks import check_type
from cofactor.data.ids import IdMap, IdValues
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR, offsets
from cofactor.system.views import View, Viewed, brief

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UserItems"]


class UserItems(ABC, Viewed):
    """Two id maps and one sparse matrix, whose entries a model is fitted on.

    Parameters
    ----------
    users, items : IdMap, or a list, an array or a Series of ids
        The ids of the rows and of the columns, in their order. Ids that are not ascending are sorted, and the rows and
        columns with them.
    user_items : CSR
        Users in rows, items in columns; (n_users, n_items).

    Raises
    ------
    DataError
        The shape differs from the number of ids, an id is null or occurs twice, the matrix is not what ``CSR`` says, or
        a value is none that the subclass takes.
    """

    value: ClassVar[str]  # what a value is called, and its column

    def __init__(self, users: IdMap | IdValues, items: IdMap | IdValues, user_items: CSR) -> None:
        check_type("user_items", user_items, CSR, "a CSR of cofactor.kernels.csr")
        self.users, user_order = IdMap.in_order(users, "users")
        self.items, item_order = IdMap.in_order(items, "items")
        if user_items.shape != (self.n_users, self.n_items):
            raise DataError(
                f"the users x items matrix has shape {user_items.shape}, but there are {self.n_users} users and "
                f"{self.n_items} items; it must have a row for every user and a column for every item"
            )
        user_items.check()
        self.user_items = user_items.permuted(user_order, item_order)
        self._check_values()

    @abstractmethod
    def _check_values(self) -> None:
        """Raise DataError for values that no model can be fitted on."""

    @property
    def n_users(self) -> int:
        """Number of users, the rows."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items, the columns."""
        return len(self.items)

    @property
    def nnz(self) -> int:
        """Number of (user, item) pairs that have a value."""
        return self.user_items.nnz

    @cached_property
    def item_users(self) -> CSR:
        """The transposed matrix, items in rows; built in O(nnz) when first asked for, then kept."""
        return self.user_items.transposed()

    @property
    def without_log(self) -> Self:
        """What a fitted model keeps."""
        return self

    def facts(self) -> dict[str, Any]:
        """Keyword arguments of the class besides ids and matrix, in JSON's types: what a saved model holds of them."""
        return {}

    def to_frame(self) -> pl.DataFrame:
        """One row per entry, in row order: ``user_id``, ``item_id`` (original types), and the value as Float32.

        The column of values is ``weight`` of Interactions, ``rating`` of Ratings.
        """
        return pl.DataFrame(
            {
                "user_id": self.users.take(self.user_items.row_index()),
                "item_id": self.items.take(self.user_items.indices),
                self.value: self.user_items.values,
            }
        )

    def _view(self) -> View:
        cells = self.n_users * self.n_items
        facts = {"users": _told(self.users), "items": _told(self.items)}
        facts["density"] = f"{self.nnz / cells if cells else 0:.3%}"
        if self.n_users and self.n_items:
            facts["on average"] = f"{self.nnz / self.n_users:,.1f} a user, {self.nnz / self.n_items:,.1f} an item"
        return View(type(self).__name__, f"{self.nnz:,} entries", facts)

    def _among(self, users: IdMap | None, items: IdMap | None) -> tuple[IdMap, IdMap, CSR]:
        """The same entries among more users and items: the ids, and the matrix with empty rows and columns."""
        (users, at), (items, to) = _joined(self.users, users, "users"), _joined(self.items, items, "items")
        matrix = self.user_items
        counts = np.zeros(len(users), np.int64)
        counts[at] = np.diff(matrix.indptr)  # both orders ascend, so that rows and entries stay in theirs
        return users, items, CSR(offsets(counts), to[matrix.indices], matrix.values, len(items))

    def _refuse(self, kinds: dict[str, NDArray[np.bool_]], wanted: str, way_out: str) -> None:
        """Raise DataError if there is any bad value: how many of each kind, (nnz,) bool, and the first of them."""
        values = self.user_items.values
        bad = np.flatnonzero(np.logical_or.reduce(list(kinds.values())))
        if not bad.size:
            return
        counts = ", ".join(f"{n:,} {kind}" for kind, of in kinds.items() if (n := int(of.sum())))
        users = np.searchsorted(self.user_items.indptr, bad[:3], side="right") - 1
        pairs = zip(
            self.users.take(users),
            self.items.take(self.user_items.indices[bad[:3]]),
            values[bad[:3]],
            strict=True,
        )
        first = ", ".join(f"user {u!r} item {i!r}: {w:g}" for u, i, w in pairs)
        raise DataError(
            f"the {self.value} of {bad.size:,} of {len(values):,} (user, item) pairs is not {wanted} "
            f"({counts}); the first: {first}. {way_out}"
        )


def _told(ids: IdMap) -> str:
    """How many ids, of what type, and the first of them."""
    first = ", ".join(brief(one) for one in ids.ids.head(3).to_list())
    return f"{len(ids):,} ({ids.dtype}): {first}{', …' if len(ids) > 3 else ''}" if len(ids) else "none"


def _joined(known: IdMap, added: IdMap | None, what: str) -> tuple[IdMap, NDArray[np.int32]]:
    """Known and added ids, and where the known ones are among them."""
    check_type(what, added, IdMap | None, "an IdMap, or None")
    if added is not None and added.dtype != known.dtype:
        raise DataError(f"{what}: ids of {added.dtype} are added to ids of {known.dtype}; cast them to that type first")
    joined = known if added is None else IdMap.from_values(pl.concat([known.ids, added.ids]))
    return joined, joined.rows(known.ids)
