"""A slow twin of ``native/neighbours/``: all pairs in float64, sorted."""

from __future__ import annotations

import numpy as np

from cofactor.kernels.csr import CSR


def similarities(dots, similarity):
    def part(values, shape):
        return 0.0 if values is None else np.asarray(values, np.float64).reshape(shape)

    rows, columns = (-1, 1), (1, -1)
    scale = part(similarity.row_scale, rows) * part(similarity.column_scale, columns)
    add = part(similarity.row_add, rows) + part(similarity.column_add, columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        return dots / (scale + add - similarity.overlap * dots + similarity.shrink)


def best(table, k, skipped):
    """The k best positive entries of every row, ties to the lower column, as a CSR."""
    table = np.where(np.isnan(table) | skipped, 0, table)
    rows, columns = [], []
    for row, values in enumerate(table):
        order = np.lexsort((np.arange(len(values)), -values))[:k]
        order = order[values[order] > 0]
        rows.append(np.full(len(order), row))
        columns.append(order)
    rows, columns = np.concatenate([[], *rows]).astype(int), np.concatenate([[], *columns]).astype(int)
    return CSR.from_pairs(rows, columns, table[rows, columns], table.shape)


def neighbours(a, k, similarity, *, weights=None, binary=False):
    x = a.to_scipy().toarray().astype(np.float64)
    if binary:
        x[a.row_index(), a.indices] = 1
    dots = (x if weights is None else x * weights) @ x.T
    return best(similarities(dots, similarity), k, np.eye(len(x), dtype=bool))


def product_neighbours(a, b, k, similarity, *, groups=None):
    dots = a.to_scipy().toarray().astype(np.float64) @ b.to_scipy().toarray()
    skipped = np.zeros(dots.shape, bool) if groups is None else groups[0][:, None] == groups[1]
    return best(similarities(dots, similarity), k, skipped)
