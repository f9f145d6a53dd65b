"""Priors of a chain, and the whole of it against what it should have for its law."""

import numpy as np
import pytest
from scipy.stats import kstest, norm

from cofactor.kernels import on
from cofactor.kernels.csr import CSR
from cofactor.models.ratings.fm_chain import Chain, FieldPriors, draw_field_priors
from cofactor.models.ratings.fm_entries import Entries
from cofactor.models.ratings.fm_sides import SideFeatures, rated


def matrix(n_users=6, n_items=5, share=0.7, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((n_users, n_items)) < share)
    return CSR.from_pairs(rows, columns, rng.normal(size=len(rows)), (n_users, n_items))


def side(n=6, n_fields=2):
    x = matrix(n, 4)
    return SideFeatures.of(n, [(x, np.zeros(4, np.int32)) for _ in range(n_fields)])


def test_fields_are_counted_over_all_parts():
    x = matrix(6, 4)
    both = SideFeatures.of(6, [(x, np.array([0, 0, 1, 2], np.int32)), (matrix(6, 3), np.zeros(3, np.int32))])
    assert both.fields.tolist() == [1, 1, 2, 3, 4, 4, 4]
    assert both.n_fields == 5
    assert both.features.shape == (6, 7)
    assert SideFeatures.of(6, []).n_fields == 1


def test_sets_have_a_length_of_one():
    sets = rated(matrix())
    np.testing.assert_allclose(sets.row_sums(sets.values**2), 1, rtol=1e-6)
    empty = rated(CSR(np.zeros(3, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 4))
    assert empty.nnz == 0


def test_priors_are_drawn_from_their_conditionals():
    """Each as the equations have it: a Gamma distribution of precisions, then a normal one of means."""
    own = side().parameters(4, 1.0, np.random.default_rng(1))
    before = FieldPriors(np.full((3, 4), 0.3), np.ones((3, 4)))
    draws = [draw_field_priors(own, before, np.random.default_rng(seed)) for seed in range(4000)]
    precisions, means = (np.array([getattr(d, name) for d in draws]) for name in ("precisions", "means"))
    for field, rows in enumerate((own.ids, own.parts[:4], own.parts[4:])):
        theta = rows[:, :4].astype(float)
        n = len(theta)
        shape, rate = (n + 2) / 2, (1 + ((theta - 0.3) ** 2).sum(axis=0) + 0.3**2) / 2
        np.testing.assert_allclose(precisions[:, field].mean(axis=0), shape / rate, rtol=0.05)
        np.testing.assert_allclose(precisions[:, field].var(axis=0), shape / rate**2, rtol=0.15)
        z = (means[:, field] - theta.sum(axis=0) / (n + 1)) * np.sqrt((n + 1) * precisions[:, field])
        for c in range(4):
            assert kstest(z[:, c], norm.cdf).pvalue > 1e-4


def test_noise_and_offset_are_drawn_from_their_conditionals():
    x = matrix(40, 30)
    chain = Chain(on("cpu"), Entries(x), (side(40, 0), side(30, 0)), 3)
    chain.residual_sum, chain.squares, n = 12.0, 500.0, x.nnz
    noises, offsets = [], []
    for seed in range(4000):
        chain.offset = 0.4
        chain._draw_noise_and_offset(np.random.default_rng(seed))
        noises.append(chain.noise_precision)
        offsets.append(
            (chain.offset - noises[-1] * (12 + n * 0.4) / (noises[-1] * n + 1)) * np.sqrt(noises[-1] * n + 1)
        )
    assert np.mean(noises) == pytest.approx((n + 1) / 501, rel=0.01)
    assert np.var(noises) == pytest.approx(2 * (n + 1) / 501**2, rel=0.15)
    assert kstest(offsets, norm.cdf).pvalue > 1e-4


def test_how_precise_users_are_is_drawn_from_its_conditional():
    x = matrix(40, 30)
    chain = Chain(on("cpu"), Entries(x), (side(40, 0), side(30, 0)), 3, noise_freedom=6.0)
    chain.noise_precision, squares = 1.5, np.linspace(1, 60, 40)
    drawn = []
    for seed in range(3000):
        chain._draw_weights(squares, 6.0, np.random.default_rng(seed))
        drawn.append(chain.weights)
    n = np.diff(x.indptr)
    np.testing.assert_allclose(np.mean(drawn, axis=0), (6 + n) / (6 + 1.5 * squares), rtol=0.05)
    np.testing.assert_allclose(np.var(drawn, axis=0), 2 * (6 + n) / (6 + 1.5 * squares) ** 2, rtol=0.2)


def test_offset_and_noise_know_the_weights_of_users():
    x = matrix(40, 30)
    chain = Chain(on("cpu"), Entries(x), (side(40, 0), side(30, 0)), 3, noise_freedom=6.0)
    chain.weights = np.linspace(0.5, 2, 40).astype(np.float32)
    chain.residual_sum, chain.squares, all_weights = 12.0, 500.0, np.diff(x.indptr) @ chain.weights
    noises, offsets = [], []
    for seed in range(3000):
        chain.offset = 0.4
        chain._draw_noise_and_offset(np.random.default_rng(seed))
        noises.append(chain.noise_precision)
        precision = noises[-1] * all_weights + 1
        offsets.append((chain.offset - noises[-1] * (12 + all_weights * 0.4) / precision) * np.sqrt(precision))
    assert np.mean(noises) == pytest.approx((x.nnz + 1) / 501, rel=0.01)
    assert kstest(offsets, norm.cdf).pvalue > 1e-4


def test_what_is_predicted_goes_with_the_residuals():
    x = matrix(40, 30)
    classes = x.with_values(np.searchsorted([-0.5, 0.5], x.values).astype(np.float32))
    sides = tuple(SideFeatures.of(m.n_rows, [(rated(m), np.zeros(m.n_columns, np.int32))]) for m in (x, x.transposed()))
    chain = Chain(on("cpu"), Entries(classes), sides, 4, n_levels=3, seed=5)
    for _ in range(5):
        chain.sweep()
    left = chain._entries.values - chain.predicted()
    assert left.sum() == pytest.approx(chain.residual_sum, abs=1e-3)
    assert (left**2).sum() == pytest.approx(chain.squares, rel=1e-4)
    ends = np.concatenate([[-np.inf], chain.cutpoints.values, [np.inf]])
    k = classes.values.astype(int)
    assert ((chain._entries.values >= ends[k] - 1e-5) & (chain._entries.values <= ends[k + 1] + 1e-5)).all()
