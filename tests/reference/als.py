"""A slow, dense, float64 twin of ``native/als/``, written from the equations."""

from __future__ import annotations

import numpy as np


def row_penalty(n, n_fixed, *, unobserved_weight, regularization, regularization_exponent):
    return regularization * (np.asarray(n, np.float64) + unobserved_weight * n_fixed) ** regularization_exponent


def system(indices, weights, fixed, *, alpha, unobserved_weight, regularization, regularization_exponent):
    """The matrix and right-hand side whose solution is one row's vector."""
    fixed = np.asarray(fixed, np.float64)
    y, w = fixed[indices], alpha * np.asarray(weights, np.float64)
    penalty = row_penalty(
        len(indices),
        len(fixed),
        unobserved_weight=unobserved_weight,
        regularization=regularization,
        regularization_exponent=regularization_exponent,
    )
    a = unobserved_weight * fixed.T @ fixed + (y * w[:, None]).T @ y + penalty * np.eye(fixed.shape[1])
    return a, y.T @ w


def solve(csr, fixed, **options):
    """Exact half-sweep: every row of the solved side."""
    out = np.zeros((csr.n_rows, fixed.shape[1]))
    for i in range(csr.n_rows):
        indices, weights = csr.row(i)
        if len(indices):
            out[i] = np.linalg.solve(*system(indices, weights, fixed, **options))
    return out


def loss(csr, users, items, *, alpha, unobserved_weight, regularization, regularization_exponent):
    """The whole loss, with every score written out."""
    users, items = np.asarray(users, np.float64), np.asarray(items, np.float64)
    w = alpha * csr.to_scipy().toarray().astype(np.float64)
    scores = users @ items.T
    n_u, n_i = (w > 0).sum(1), (w > 0).sum(0)
    options = {
        "unobserved_weight": unobserved_weight,
        "regularization": regularization,
        "regularization_exponent": regularization_exponent,
    }
    return (
        (w * (1 - scores) ** 2).sum()
        + unobserved_weight * (scores**2).sum()
        + (row_penalty(n_u, len(items), **options) * (users**2).sum(1)).sum()
        + (row_penalty(n_i, len(users), **options) * (items**2).sum(1)).sum()
    )
