"""Products of sparse and dense matrices against NumPy, on every CPU level."""

import numpy as np
import pytest
import scipy.sparse as sp

from cofactor.kernels.csr import CSR
from device import kernels
from reference import products as reference


def sparse(n, m, density=0.2, seed=0):
    """Rows without entries among them."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, m)) * (rng.random((n, m)) < density)
    a[:: max(3, n // 4)] = 0
    return CSR.from_scipy(sp.csr_matrix(a))


SHAPES = [(0, 5, 4), (5, 0, 4), (5, 4, 0), (1, 1, 1), (33, 17, 16), (70, 130, 95)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 50])
def test_sparse_times_sparse(cpu_level, shape, threads):
    n, m, p = shape
    a, b = sparse(n, m, seed=1), sparse(m, p, seed=2)
    np.testing.assert_allclose(kernels.sparse_product(a, b, threads=threads), reference.sparse_product(a, b), atol=1e-5)


@pytest.mark.parametrize("n", [1, 16, 77])
def test_the_lower_half_of_a_gram_matrix(cpu_level, n):
    a = sparse(90, n)
    out = np.full((n, n), np.nan, np.float32)
    assert kernels.sparse_product(a.transposed(), a, lower=True, out=out) is out
    np.testing.assert_allclose(np.tril(out), np.tril(reference.sparse_product(a.transposed(), a)), atol=1e-5)
    assert np.isnan(out[np.triu_indices(n, 1)]).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 50])
def test_dense_times_sparse(cpu_level, shape, threads):
    n, m, p = shape
    d, b = np.random.default_rng(0).standard_normal((n, m), np.float32), sparse(p, m)
    np.testing.assert_allclose(kernels.dense_product(d, b, threads=threads), reference.dense_product(d, b), atol=1e-4)


def test_results_do_not_depend_on_threads_nor_on_the_rows_beside(cpu_level):
    d, b = np.random.default_rng(0).standard_normal((100, 60), np.float32), sparse(45, 60)
    whole = kernels.dense_product(d, b, threads=1)
    assert np.array_equal(whole, kernels.dense_product(d, b, threads=3))
    assert np.array_equal(whole[37:40], kernels.dense_product(d[37:40], b))


@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 0), (40, 33)])
def test_quadratic_forms(cpu_level, m, n):
    k, b = np.random.default_rng(0).standard_normal((m, m), np.float32), sparse(n, m)
    for threads in (1, 50):
        np.testing.assert_allclose(
            kernels.quadratic_forms(k, b, threads=threads), reference.quadratic_forms(k, b), atol=1e-5
        )


@pytest.mark.parametrize("n", [0, 1, 64, 65, 150])
def test_mirror_scaled(cpu_level, n):
    rng = np.random.default_rng(0)
    p, scale = rng.standard_normal((n, n), np.float32), rng.standard_normal(n).astype(np.float32)
    wanted = reference.mirror_scaled(p, scale, 7.0)
    kernels.mirror_scaled(p, scale, 7.0)
    np.testing.assert_allclose(p, wanted, rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 70])
def test_diagonals(n):
    a = np.random.default_rng(0).standard_normal((n, n), np.float32)
    wanted, values = a.copy(), np.arange(n) / 7
    assert np.array_equal(kernels.diagonal(a), a.diagonal())
    np.fill_diagonal(wanted, values)
    kernels.set_diagonal(a, values)
    assert np.array_equal(a, wanted)
    with pytest.raises(ValueError, match="one number per row"):
        kernels.set_diagonal(a, np.zeros(n + 1))


def test_shapes_and_columns_are_checked():
    a, d = sparse(5, 4, density=1.0), np.zeros((3, 7), np.float32)
    with pytest.raises(ValueError, match="a has 4 columns and b 5 rows"):
        kernels.sparse_product(a, a)
    with pytest.raises(ValueError, match="square"):
        kernels.sparse_product(a, sparse(4, 3), lower=True)
    with pytest.raises(ValueError, match="out must have"):
        kernels.dense_product(d, a, out=np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="in range"):
        kernels.dense_product(d[:, :2].copy(), a)
    with pytest.raises(ValueError, match="square"):
        kernels.quadratic_forms(d, a)
    with pytest.raises(ValueError, match="in range"):
        kernels.quadratic_forms(np.zeros((2, 2), np.float32), a)
    with pytest.raises(ValueError, match="one value per column"):
        kernels.mirror_scaled(np.zeros((2, 2), np.float32), np.zeros(3, np.float32), 0)
