"""Nearest neighbours against all pairs in float64: whole numbers, so that sums are exact and ties plenty."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.kernels.arguments import Similarity
from cofactor.kernels.csr import CSR
from device import kernels
from reference import neighbours as reference


def matrix(rng, n_rows, n_columns, density):
    rows, columns = np.nonzero(rng.random((n_rows, n_columns)) < density)
    return CSR.from_pairs(rows, columns, rng.integers(1, 4, len(rows)), (n_rows, n_columns))


def skewed(rng, n_rows, n_columns, density):
    """Some rows are full, most nearly empty."""
    chance = density * n_rows / np.arange(1, n_rows + 1)
    rows, columns = np.nonzero(rng.random((n_rows, n_columns)) < rng.permutation(chance)[:, None])
    return CSR.from_pairs(rows, columns, rng.integers(1, 4, len(rows)), (n_rows, n_columns))


def formulas(rng, n, n_columns):
    """Powers of two and whole numbers: quotients of equal operands are equal, wherever they are computed."""
    scales = (2.0 ** rng.integers(0, 3, n), 2.0 ** rng.integers(0, 3, n_columns))
    return [
        Similarity(row_add=np.ones(n)),
        Similarity(*scales, shrink=2.0),
        Similarity(row_add=rng.integers(50, 60, n), column_add=rng.integers(50, 60, n_columns), overlap=1.0),
    ]


def assert_equal(got, wanted):
    assert np.array_equal(got.indptr, wanted.indptr)
    assert np.array_equal(got.indices, wanted.indices)
    np.testing.assert_allclose(got.values, wanted.values, rtol=1e-6)


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, m = draw(st.integers(1, 150)), draw(st.integers(1, 60))
    kind, density = draw(st.sampled_from([matrix, skewed])), draw(st.sampled_from([0.0, 0.02, 0.2, 1.0]))
    return rng, kind(rng, n, m, density), draw(st.integers(1, 160))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), threads=st.sampled_from([1, 2, 40]), binary=st.booleans(), weighted=st.booleans())
def test_rows_of_a_matrix(cpu_level, case, threads, binary, weighted):
    rng, a, k = case
    options = {"binary": binary, "weights": rng.integers(0, 3, a.n_columns).astype(np.float32) if weighted else None}
    for similarity in formulas(rng, a.n_rows, a.n_rows):
        got = kernels.neighbours(a, k, similarity, threads=threads, **options)
        assert_equal(got, reference.neighbours(a, k, similarity, **options))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), threads=st.sampled_from([1, 2, 40]), grouped=st.booleans())
def test_columns_of_a_product(cpu_level, case, threads, grouped):
    rng, a, k = case
    b = matrix(rng, a.n_columns, int(rng.integers(1, 200)), 0.1)
    groups = None
    if grouped:
        groups = rng.integers(0, 5, a.n_rows).astype(np.int32), rng.integers(0, 5, b.n_columns).astype(np.int32)
    for similarity in formulas(rng, a.n_rows, b.n_columns):
        got = kernels.product_neighbours(a, b, k, similarity, groups=groups, threads=threads)
        assert_equal(got, reference.product_neighbours(a, b, k, similarity, groups=groups))


@pytest.mark.parametrize("density", [0.001, 0.02])
def test_many_rows_in_several_batches(cpu_level, density):
    """More rows than are multiplied together, few of them reaching each other, or all."""
    rng = np.random.default_rng(0)
    a = skewed(rng, 1000, 300, density)
    similarity = formulas(rng, 1000, 1000)[1]
    one = kernels.neighbours(a, 15, similarity, threads=1)
    assert_equal(one, reference.neighbours(a, 15, similarity))
    assert_equal(kernels.neighbours(a, 15, similarity, threads=3), one)
    product = kernels.product_neighbours(
        a, a.transposed(), 15, similarity, groups=(np.arange(1000, dtype=np.int32),) * 2, threads=3
    )
    assert_equal(product, one)


def test_more_rows_than_16_bits_tell(cpu_level):
    """70,000 rows in pairs that share a column."""
    n = 70_000
    a = CSR(np.arange(n + 1), (np.arange(n, dtype=np.int32) * 7919 % n) // 2, np.ones(n, np.float32), n // 2)
    got = kernels.neighbours(a, 3, Similarity(row_add=np.ones(n)))
    partner = np.empty(n, np.int64)
    order = np.argsort(a.indices, kind="stable").reshape(-1, 2)
    partner[order] = order[:, ::-1]
    assert np.array_equal(got.indptr, np.arange(n + 1))
    assert np.array_equal(got.indices, partner)


def test_fractions_are_equal_for_any_number_of_threads(cpu_level):
    rng = np.random.default_rng(0)
    a = skewed(rng, 400, 200, 0.05)
    a = CSR(a.indptr, a.indices, rng.random(a.nnz, np.float32), 200)
    scale = rng.random(400, np.float32) + 1
    one, two = (kernels.neighbours(a, 20, Similarity(scale, scale), threads=t) for t in (1, 5))
    assert np.array_equal(one.indices, two.indices)
    assert np.array_equal(one.values, two.values)


def test_nothing_similar():
    """Negative products, and a denominator of zero without a product, are no similarity."""
    a = CSR.from_pairs([0, 1, 2], [0, 0, 1], [1.0, -1.0, 1.0], (4, 2))
    assert kernels.neighbours(a, 3, Similarity()).nnz == 0
    assert kernels.neighbours(a, 3, Similarity(row_add=np.ones(4))).nnz == 0
    assert (
        kernels.product_neighbours(a, a.transposed(), 3, Similarity(), groups=(np.arange(4, dtype=np.int32),) * 2).nnz
        == 0
    )
    assert kernels.neighbours(CSR.from_pairs([], [], [], (0, 5)), 3, Similarity()).shape == (0, 0)


def test_bad_shapes():
    a = CSR.from_pairs([0], [0], [1.0], (2, 3))
    with pytest.raises(cf.ParameterError, match="a has 3 columns, but b has 2 rows"):
        kernels.product_neighbours(a, a, 2, Similarity())
    with pytest.raises(ValueError, match="row_scale and row_add must have one value per row"):
        kernels.neighbours(a, 2, Similarity(row_scale=np.ones(3)))
    with pytest.raises(ValueError, match="ascending inside a row"):
        kernels.neighbours(a, 2, Similarity(), weights=np.zeros(0, np.float32))
