"""Which rows of one table of parameters make the vector of a user, and that of an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float

__all__ = ["Rows", "composed", "unit"]


class Rows(NamedTuple):
    """The table: a row for every user, for every item, for every feature of users and for every feature of items.

    Parameters
    ----------
    n_users, n_items : int
    user_features, item_features : CSR (n_users or n_items, their features), optional
    """

    n_users: int
    n_items: int
    user_features: CSR | None = None
    item_features: CSR | None = None

    @property
    def n_user_features(self) -> int:
        """Features of users."""
        return 0 if self.user_features is None else self.user_features.n_columns

    @property
    def n_item_features(self) -> int:
        """Features of items."""
        return 0 if self.item_features is None else self.item_features.n_columns

    @property
    def n(self) -> int:
        """Rows of the table."""
        return self.n_users + self.n_items + self.n_user_features + self.n_item_features

    def of_users(self) -> CSR | None:
        """The rows and their weights for every user, None where it is one row each."""
        if self.user_features is None:
            return None
        return _joined(
            (_identity(self.n_users), self.n_users),
            (None, self.n_items),
            (self.user_features, self.n_user_features),
            (None, self.n_item_features),
        )

    def of_items(self) -> CSR | None:
        """The same for every item."""
        if self.item_features is None:
            return None
        return _joined(
            (None, self.n_users),
            (_identity(self.n_items), self.n_items),
            (None, self.n_user_features),
            (self.item_features, self.n_item_features),
        )


def composed(table: Float, parts: CSR | None, where: tuple[int, int]) -> Float:
    """Vectors (n, width): of ``where`` = (first, n) the n rows from the first on, or sums of what ``parts`` says."""
    if parts is None:
        return table[where[0] : sum(where)].copy()
    return np.asarray(parts.to_scipy() @ table, np.float32)


def unit(vectors: Float) -> Float:
    """Rows divided by their length; those of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), np.float32)


def _identity(n: int) -> CSR:
    return CSR.one_each(np.arange(n, dtype=np.int32), n)


def _joined(*blocks: tuple[CSR | None, int]) -> CSR:
    """Blocks side by side; the one that is None is empty and has so many columns."""
    n = next(block.n_rows for block, _ in blocks if block is not None)
    matrices = [
        scipy.sparse.csr_array((n, width), dtype=np.float32) if block is None else block.to_scipy()
        for block, width in blocks
    ]
    return CSR.from_scipy(scipy.sparse.hstack(matrices, format="csr"))
