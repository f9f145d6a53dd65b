"""What ranked lists may hold, from the models down to the native kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels.arrays import Rows, TopK

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cofactor.kernels.csr import CSR

__all__ = ["NO_FILTERS", "Filters"]


class Filters(NamedTuple):
    """What lists may hold; the native kernels check that rows ascend and are in range.

    Parameters
    ----------
    exclude : CSR (n, n_items), optional
        Items that must not come back, a row for each list; values are not read.
    allowed : (m,) int32, optional
        The only items to choose from, ascending.
    """

    exclude: CSR | None = None
    allowed: Rows | None = None

    def take(self, lists: ArrayLike) -> Filters:
        """The filters of some lists, in the given order."""
        return self if self.exclude is None else Filters(self.exclude.take(lists), self.allowed)

    def excluding(self, more: CSR | None) -> Filters:
        """With more items that must not come back."""
        if more is None:
            return self
        return Filters(more if self.exclude is None else self.exclude.union(more), self.allowed)

    def n_choices(self, n_items: int) -> int:
        """How many items there are to choose from before any is excluded."""
        return n_items if self.allowed is None else len(self.allowed)

    def lists(self, n: int, k: int, n_items: int) -> TopK:
        """Uninitialised lists, k cut to the number of items to choose from."""
        k = max(1, min(k, self.n_choices(n_items)))
        return TopK(np.empty((n, k), np.int32), np.empty((n, k), np.float32))

    def arrays(self, n: int, n_items: int) -> tuple[NDArray[np.int64] | None, Rows | None, Rows | None]:
        """Offsets and items of what is excluded, and the allowed items, as every native kernel takes them.

        Raises
        ------
        ParameterError
            There is not one row of ``exclude`` for each list, or they are of other items.
        """
        if self.exclude is None:
            return None, None, self.allowed
        if self.exclude.shape != (n, n_items):
            raise ParameterError(f"exclude has shape {self.exclude.shape}; it must be {(n, n_items)}")
        return self.exclude.indptr, self.exclude.indices, self.allowed


NO_FILTERS = Filters()
