"""The nearest rows of sparse matrices, in PyTorch: sparse products of a tile of rows, and the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR, offsets
from cofactor.kernels.filters import NO_FILTERS
from cofactor.kernels.torch.topk import best_of, reached_scores

if TYPE_CHECKING:
    from cofactor.kernels.arguments import Similarity
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.torch.place import Place, Tensor

__all__ = ["neighbours", "product_neighbours"]


def neighbours(
    place: Place,
    a: CSR,
    k: int,
    similarity: Similarity,
    *,
    weights: Float | None = None,
    binary: bool = False,
    threads: int | None = None,
) -> CSR:
    """The k most similar other rows of every row of ``a``, by ``sum_u weights[u] a[i, u] a[j, u]``."""
    if not a.is_ascending() or (weights is not None and len(weights) != a.n_columns):
        raise ValueError("columns must be in range and ascending inside a row, and weights have one value per column")
    if binary:
        a = a.with_values(np.ones(a.nnz, np.float32))
    weighed = a if weights is None else a.with_values(a.values * weights[a.indices])
    itself = np.arange(a.n_rows, dtype=np.int32)
    k = min(k, max(a.n_rows - 1, 1))
    return product_neighbours(place, a, weighed.transposed(), k, similarity, groups=(itself, itself))


def product_neighbours(
    place: Place,
    a: CSR,
    b: CSR,
    k: int,
    similarity: Similarity,
    *,
    groups: tuple[Rows, Rows] | None = None,
    threads: int | None = None,
) -> CSR:
    """The k best columns of every row of ``a @ b``, by similarity; columns ascending, only positive ones."""
    import torch

    if a.n_columns != b.n_rows:
        raise ParameterError(f"a has {a.n_columns} columns, but b has {b.n_rows} rows")
    n, n_columns = a.n_rows, b.n_columns
    row_scale, column_scale, row_add, column_add = _parts(place, similarity, n, n_columns)
    same = None if groups is None else tuple(map(place.tensor, groups))
    dots = reached_scores(place, place.rows(a), place.rows(b))

    def scores(some: slice) -> Tensor:
        dot = dots(some)
        below = row_scale[some, None] * column_scale + (row_add[some, None] + column_add)
        found = dot / (below - similarity.overlap * dot + similarity.shrink)
        outside = ~(found > 0) | ~(dot > -torch.inf)
        if same is not None:
            outside |= same[0][some, None] == same[1]
        return found.masked_fill_(outside, -torch.inf)

    top = best_of(place, scores, (n, n_columns), k, NO_FILTERS)
    row, at = np.nonzero(top.rows >= 0)
    column, value = top.rows[row, at], top.scores[row, at]
    order = np.lexsort((column, row))
    return CSR(offsets((top.rows >= 0).sum(axis=1)), column[order], value[order], n_columns)


def _parts(place: Place, similarity: Similarity, n: int, n_columns: int) -> list[Tensor]:
    parts = similarity.arrays(n, n_columns)[:4]
    for name, size, one, other in (("row", n, *parts[::2]), ("column", n_columns, *parts[1::2])):
        if not len(one) == len(other) == size:
            raise ValueError(f"{name}_scale and {name}_add must have one value per {name}")
    return [place.tensor(part) for part in parts]
