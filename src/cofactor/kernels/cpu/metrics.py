"""Hits in ranked lists: which places hold an item that is relevant to the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Rows

__all__ = ["list_hits"]


def list_hits(
    indptr: NDArray[np.int64],
    items: Rows,
    of: Rows,
    *,
    relevant: tuple[NDArray[np.int64], Rows],
    n_items: int,
    threads: int | None = None,
) -> tuple[Rows, NDArray[np.int64], int]:
    """Look the relevant items of users up in their lists.

    Parameters
    ----------
    indptr : (n_lists + 1,) int64
        Where each list starts in ``items``.
    items : (n_places,) int32
        The lists, best first; -1 for a place that is not filled.
    of : (n_lists,) int32
        The row of the relevant items that each list is for; -1 for none.
    relevant : (n + 1,) int64, (nnz,) int32
        Where each row of relevant items starts, and the items: in any order, each there once; -1 for one that no list
        holds.
    n_items : int
        Items are below it.

    Returns
    -------
    nth : (n_places,) int32
        Which of its row's relevant items each place holds, counted from 0; -1 for none.
    count : (n_lists,) int64
        How many places of each list hold one.
    repeated : int
        The first place whose item is in its list before; -1 if there is none.

    Notes
    -----
    O(n_places + the relevant items of the lists); memory beside the arrays: 4 bytes for each item and thread.
    """
    nth, count = np.empty(len(items), np.int32), np.empty(len(of), np.int64)
    given = (indptr, items, of, *relevant, n_items, nth, count, resolve_threads(threads))
    return nth, count, native.lib.list_hits(*given)
