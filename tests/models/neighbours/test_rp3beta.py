"""RP3beta against its equation written out."""

import numpy as np
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR
from reference.similarity import dense


def walk(x, alpha, beta):
    """W[h, i] of users x items x, the diagonal zero."""
    to_item, to_user = x / x.sum(1, keepdims=True), x.T / x.sum(0)[:, None]
    w = (to_user**alpha * (x.T > 0)) @ (to_item**alpha * (x > 0)) / (x > 0).sum(0) ** beta
    np.fill_diagonal(w, 0)
    return w


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.7, 0.4), (0.0, 1.0), (1.6, 0.2)])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_equation(interactions, alpha, beta, weighted):
    m = interactions.user_items
    values = m.values if weighted else np.ones(m.nnz, np.float32)
    x = cf.Interactions.from_csr(CSR(m.indptr, m.indices, values, m.n_columns))
    wanted = walk(dense(x.user_items), alpha, beta)
    for of in ("scored", "history"):
        got = dense(cf.RP3beta(alpha, beta, neighbours_of=of).fit(x).item_weights_)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-9)
        few = dense(cf.RP3beta(alpha, beta, 6, neighbours_of=of).fit(x).item_weights_)
        np.testing.assert_allclose(few[few > 0], wanted[few > 0], rtol=1e-4)
        axis = 0 if of == "scored" else 1
        np.testing.assert_allclose(few.sum(axis), np.sort(wanted, axis).take(range(-6, 0), axis).sum(axis), rtol=1e-4)


def test_probabilities_add_up(interactions):
    """Without powers a walk ends somewhere: what is missing from 1 is the way back."""
    model = cf.RP3beta(1.0, 0.0).fit(interactions)
    x = dense(interactions.user_items)
    back = ((x / x.sum(0)) * (x / x.sum(1, keepdims=True))).sum(0)
    np.testing.assert_allclose(dense(model.item_weights_).sum(1) + back, 1, rtol=1e-5)


def test_normalized_weights_of_a_history_item_add_up_to_one(interactions):
    for of in ("scored", "history"):
        plain, even = (dense(cf.RP3beta(0.7, 0.4, 6, neighbours_of=of, normalize=n).fit(interactions).item_weights_)
                       for n in (False, True))  # fmt: skip
        sums = plain.sum(1, keepdims=True)
        np.testing.assert_allclose(even * sums, plain, rtol=1e-5)
        np.testing.assert_allclose(even.sum(1)[sums[:, 0] > 0], 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": -0.1}, "alpha must be a finite number of at least 0"),
        ({"beta": float("inf")}, "beta must be a finite number"),
        ({"neighbours": 0}, "neighbours must be a whole number of at least 1"),
        ({"normalize": "l1"}, "normalize must be True or False, got 'l1'"),
    ],
)
def test_bad_parameters(interactions, params, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.RP3beta(**params).fit(interactions)
