"""Products of sparse and dense matrices, all dense and in float64."""

import numpy as np


def dense(a):
    """A CSR as an array."""
    return np.asarray(a.to_scipy().toarray(), np.float64)


def sparse_product(a, b):
    return dense(a) @ dense(b)


def dense_product(d, b):
    return d.astype(np.float64) @ dense(b).T


def quadratic_forms(k, b):
    """``k`` by its lower triangle."""
    k = np.tril(k).astype(np.float64)
    k += np.tril(k, -1).T
    return np.array([row @ k @ row for row in dense(b)])


def mirror_scaled(p, scale, diagonal):
    p = np.tril(p, -1).astype(np.float64)
    out = (p + p.T) * scale
    np.fill_diagonal(out, diagonal)
    return out
