"""Vectors to rank by, among them those that are hard on bounds of their products, and sparse patterns."""

import numpy as np

from cofactor.kernels.csr import CSR


def whole(rng, *shape):
    """Small whole numbers: float32 scores are exact and full of ties."""
    return rng.integers(-2, 3, shape).astype(np.float32)


def normal(rng, *shape):
    return rng.standard_normal(shape, np.float32)


def pattern(rng, n_rows, n_columns, density):
    rows, columns = np.nonzero(rng.random((n_rows, n_columns)) < density)
    return CSR.from_pairs(rows, columns, np.ones(len(rows)), (n_rows, n_columns))


def near(rng, n, factors):
    """Vectors that differ by a few units in the last place of some elements."""
    one = rng.standard_normal(factors).astype(np.float32)
    return (one * (1 + rng.integers(-3, 4, (n, factors)) * 2.0**-24)).astype(np.float32)


def alike(rng, n, factors):
    """Vectors that differ by less than bytes can tell."""
    return (1 + 0.004 * rng.random((n, factors))).astype(np.float32)


def spiky(rng, n, factors):
    """One element that bytes can tell, the others too small for that."""
    out = normal(rng, n, factors)
    out[np.arange(n), rng.integers(0, factors, n)] *= 300
    return out


def wide(rng, n, factors):
    return (normal(rng, n, factors) * 10.0 ** rng.uniform(-15, 15, (n, factors))).astype(np.float32)


def of_one_norm(rng, n, factors):
    out = normal(rng, n, factors)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def times(factor, vectors):
    return lambda rng, n, factors: (vectors(rng, n, factors) * factor).astype(np.float32)


VECTORS = [
    normal, whole, near, alike, spiky, wide, of_one_norm,
    times(1e-42, normal), times(1e-22, normal), times(1e18, normal), times(1e30, normal),
]  # fmt: skip
