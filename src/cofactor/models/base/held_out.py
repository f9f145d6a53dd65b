"""A part of the training pairs that a model is not trained on, to choose by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.checks import warn
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR, offsets
from cofactor.models.base.fitting import as_interactions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import TopK

__all__ = ["entries", "mean_ndcg", "new_pairs", "some_entries", "wanted_pairs"]


def some_entries(matrix: CSR, share: float, n_users: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """About a ``share`` of the entries of at most ``n_users`` rows, (nnz,) bool; every row keeps one at least."""
    lengths = np.diff(matrix.indptr)
    filled = np.flatnonzero(lengths)
    out = rng.random(matrix.nnz) < share
    if len(filled) > n_users:
        chosen = np.zeros(matrix.n_rows, np.bool_)
        chosen[rng.choice(filled, n_users, replace=False)] = True
        out &= np.repeat(chosen, lengths)
    out[(matrix.indptr[:-1] + rng.random(matrix.n_rows) * lengths).astype(np.int64)[filled]] = False
    return out


def entries(matrix: CSR, which: NDArray[np.bool_]) -> CSR:
    """Only these entries, (nnz,) bool, of a matrix."""
    counts = np.bincount(matrix.row_index()[which], minlength=matrix.n_rows)
    return CSR(offsets(counts), matrix.indices[which], matrix.values[which], matrix.n_columns)


def mean_ndcg(top: TopK, wanted: CSR) -> float:
    """NDCG of lists, one for each row of ``wanted``, none of which is empty; the mean over rows."""
    places = top.rows.shape[1]
    discounts = 1 / np.log2(np.arange(2, places + 2))
    rows = np.repeat(np.arange(len(top.rows)), places)
    hits = wanted.lookup(rows, top.rows.ravel()).reshape(top.rows.shape) > 0
    ideal = np.cumsum(discounts)[np.minimum(np.diff(wanted.indptr), places) - 1]
    return float(((hits @ discounts) / ideal).mean())


def wanted_pairs(x: Interactions, held_out: TableLike | Interactions) -> CSR:
    """Held-out pairs of known users and items that are not trained on; the others are counted in a warning."""
    pairs, told = new_pairs(x, held_out, "held_out")
    if not pairs.nnz:
        n = len(as_interactions(held_out, "held_out").to_frame())
        raise DataError(
            f"held_out: none of its {n:,} pairs is of a user and an item of the interactions and new; "
            "training cannot be stopped by it. Give pairs that were held out of these interactions"
        )
    if told:
        warn(told)
    return pairs


def new_pairs(x: Interactions, given: TableLike | Interactions, name: str) -> tuple[CSR, str]:
    """Pairs of known users and items that are no interactions (n_users, n_items), and what to tell of the others."""
    pairs = as_interactions(given, name).to_frame()
    users = x.users.rows(pairs["user_id"], f"{name}: user_id")
    items = x.items.rows(pairs["item_id"], f"{name}: item_id")
    known = (users >= 0) & (items >= 0)
    new = known.copy()
    new[known] = x.user_items.lookup(users[known], items[known]) == 0
    counts = {
        "have a user or an item that is not in the interactions": ~known,
        "are among the interactions, too": known & ~new,
    }
    parts = [f"{int(of.sum()):,} of {len(pairs):,} pairs {what}" for what, of in counts.items() if of.any()]
    told = f"{name}: {' and '.join(parts)}; they are left out" if parts else ""
    return CSR.from_pairs(users[new], items[new], np.ones(int(new.sum())), x.user_items.shape), told
