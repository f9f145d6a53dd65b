"""A slow, dense, float64 twin of ``native/slim/``, written from the equations."""

from __future__ import annotations

import numpy as np


def loss(x, w, *, l1, l2):
    """Loss of every column, each score written out."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    return 0.5 * ((x - x @ w) ** 2).sum(axis=0) + 0.5 * l2 * (w**2).sum(axis=0) + l1 * np.abs(w).sum(axis=0)


def solve(x, *, l1, l2, non_negative=True, allowed=None, sweeps=20_000):
    """All weights (items, items) by plain coordinate descent; ``allowed``: which may differ from 0."""
    x = np.asarray(x, np.float64)
    gram, n = x.T @ x, x.shape[1]
    allowed = np.ones((n, n), bool) if allowed is None else allowed
    w = np.zeros((n, n))
    for j in range(n):
        others = [i for i in range(n) if i != j and gram[i, i] > 0 and allowed[i, j]]
        for _ in range(sweeps):
            before = w[:, j].copy()
            for i in others:
                rho = gram[i, j] - gram[i] @ w[:, j] + gram[i, i] * w[i, j]
                step = max(rho - l1, 0.0) if non_negative else np.sign(rho) * max(abs(rho) - l1, 0.0)
                w[i, j] = step / (gram[i, i] + l2)
            if np.abs(w[:, j] - before).max(initial=0) < 1e-9:
                break
    return w


def violations(x, w, *, l1, l2, non_negative=True):
    """How far each weight is from its optimum, others held: the root of twice what its best step takes off the loss.

    In units of the column's norm, (items, items); 0 on the diagonal, in empty columns and for empty items.
    """
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    squares = (x**2).sum(axis=0)
    d = x.T @ (x - x @ w) - l2 * w
    at_zero = np.maximum(0, (d if non_negative else np.abs(d)) - l1)
    off = np.where(w > 0, np.abs(d - l1), np.where(w < 0, np.abs(d + l1), at_zero))
    np.fill_diagonal(off, 0)
    off[squares == 0] = 0
    off[:, squares == 0] = 0
    norm = np.sqrt(np.maximum(squares, 1e-30))
    return off / np.sqrt(np.maximum(squares + l2, 1e-30))[:, None] / norm[None, :]


def neighbours(x, n):
    """Which items (rows) are among the n of largest cosine to each item (columns), ties by row; 0 is no neighbour."""
    x = np.asarray(x, np.float64)
    gram = x.T @ x
    squares = np.maximum(np.diag(gram), 1e-30)
    cosine = gram / np.sqrt(squares)[:, None]
    np.fill_diagonal(cosine, 0)
    among = np.zeros(gram.shape, bool)
    for j in range(len(gram)):
        best = np.lexsort((np.arange(len(gram)), -cosine[:, j]))[:n]
        among[best[cosine[best, j] > 0], j] = True
    return among
