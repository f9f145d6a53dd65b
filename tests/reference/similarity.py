"""Similarities of all pairs of rows, as ``cofactor.models.neighbours.similarity`` writes them."""

from __future__ import annotations

import numpy as np


def dense(matrix):
    return matrix.to_scipy().toarray().astype(np.float64)


def similarities(x, kind, *, shrinkage=0.0, alpha=0.5, k1=1.2, b=0.75):
    """All pairs of rows of x (rows, columns), [i, j] with j scored; the diagonal is zero."""
    n = len(x)
    idf = np.maximum(np.log(n) - np.log1p((x > 0).sum(0)), 0)
    if kind == "tfidf":
        x = np.sqrt(x) * idf
    if kind == "bm25":
        length = 1 - b + b * x.sum(1) / x.sum(1).mean()
        x = idf * x * (k1 + 1) / (k1 * length[:, None] + x)
    if kind == "jaccard":
        x = (x > 0).astype(float)
    dots, squares = x @ x.T, (x**2).sum(1)
    a = alpha if kind == "asymmetric" else 0.5
    below = squares[:, None] ** (1 - a) * squares**a + shrinkage
    if kind == "jaccard":
        below = squares[:, None] + squares - dots + shrinkage
    if kind == "bm25":
        below = np.ones_like(dots)
    s = np.divide(dots, below, out=np.zeros_like(dots), where=dots > 0)
    np.fill_diagonal(s, 0)
    return s


def kept(s, n, *, of):
    """The n best of every column (of="scored") or row, [history, scored]; ties to the lower."""
    s = s.T if of == "scored" else s
    out = np.zeros_like(s)
    for row, values in enumerate(s):
        best = np.lexsort((np.arange(len(values)), -values))[:n]
        out[row, best] = values[best]
    return out.T if of == "scored" else out
