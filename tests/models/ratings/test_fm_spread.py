"""Standard deviations for users and items that a factorization machine does not know."""

import numpy as np
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR


def rmse(found, wanted):
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


@pytest.mark.parametrize("kind", ["regression", "ordinal"])
@pytest.mark.parametrize("unknown", ["users", "items", "both"])
def test_the_spread_of_who_is_not_known_counts(kind, unknown):
    """Users of strong biases, and tastes: half of them and of the items are left out and asked for as unknown."""
    rng = np.random.default_rng(4)
    sides = [(rng.normal(0, bias, n), rng.normal(0, 0.7, (n, 2))) for n, bias in ((300, 1.6), (200, 0.8))]
    (bias, vectors), (item_bias, item_vectors) = sides
    dense = 3.5 + bias[:, None] + item_bias + vectors @ item_vectors.T + rng.normal(0, 0.3, (300, 200))
    if kind == "ordinal":
        dense = 1.0 + np.searchsorted((1.5, 2.5, 3.5, 4.5), dense)
    rows, columns = np.nonzero(rng.random((150, 100)) < 0.4)
    matrix = CSR.from_pairs(rows, columns, dense[rows, columns], (150, 100))
    model = cf.FactorizationMachine(4, iterations=90, samples=30, task=kind).fit(matrix)
    users, items = (np.full(150, -1) if unknown in (side, "both") else np.arange(150) for side in ("users", "items"))
    items = items[:100]
    told = dense[150:] if unknown != "items" else dense[:150]
    told = told[:, 100:] if unknown != "users" else told[:, :100]
    ratings, stds = model.rate(np.repeat(users, 100), np.tile(items, 150))
    assert rmse(stds, 0) == pytest.approx(rmse(told.ravel(), ratings), rel=0.2)
