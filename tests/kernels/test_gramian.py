import numpy as np
import pytest

from device import kernels


def vectors(n, factors):
    return np.random.default_rng(n).standard_normal((n, factors), np.float32)


@pytest.mark.parametrize("factors", [1, 3, 16, 17, 64, 100, 300])
@pytest.mark.parametrize("n", [0, 1, 17, 47, 48, 49, 2047, 4099])
def test_gramian_is_the_product(cpu_level, n, factors):
    y = vectors(n, factors)
    g = kernels.gramian(y, threads=1)
    wanted = y.T.astype(np.float64) @ y
    np.testing.assert_allclose(g, wanted, atol=1e-5 * max(n, 1))
    assert np.array_equal(g, g.T)


@pytest.mark.parametrize("n", [1, 5, 10_000])
def test_results_do_not_depend_on_threads(cpu_level, n):
    y = vectors(n, 20)
    one = kernels.gramian(y, threads=1)
    assert all(np.array_equal(one, kernels.gramian(y, threads=threads)) for threads in (2, 16))


def test_any_memory_order_is_read():
    y = vectors(100, 8)
    assert np.array_equal(kernels.gramian(np.asfortranarray(y)), kernels.gramian(y))


def test_no_factors_are_refused():
    with pytest.raises(ValueError, match="at least one factor"):
        kernels.gramian(np.zeros((3, 0), np.float32))
