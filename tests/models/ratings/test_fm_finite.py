"""Training of factorization machines beyond what floats hold."""

import numpy as np
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR


def small():
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(rng.random((30, 20)) < 0.5)
    return CSR.from_pairs(rows, columns, rng.integers(1, 6, len(rows)), (30, 20))


@pytest.mark.filterwarnings("ignore:(overflow|invalid|divide):RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*training diverged and was stopped")
@pytest.mark.parametrize("init_std", [10.0**n for n in (2, 3, 5, 8, 13, 15, 17, 20, 30, 38, 200)])
@pytest.mark.parametrize(
    "kind", [{"method": "als"}, {}, {"user_noise": False}, {"task": "ordinal"}, {"method": "sgd"}, {"implicit": True}]
)
def test_a_wild_start_ends_in_finite_numbers_or_says_what_to_do(kind, init_std):
    model = cf.FactorizationMachine(4, init_std=init_std, iterations=4, samples=2, **kind)
    try:
        model.fit(small(), progress=False)
    except cf.CofactorError as error:
        assert init_std >= 100
        assert "init_std" in str(error) or "lower learning_rate" in str(error)  # noqa: PT017
    else:
        every = np.repeat(np.arange(30), 20), np.tile(np.arange(20), 30)
        assert all(np.isfinite(found).all() for found in model.rate(*every) if found is not None)


@pytest.mark.parametrize("iterations", [2, 6])
def test_a_penalty_beyond_floats_is_told(iterations):
    """The loss of each pass is that of before its last step: it may be finite where nothing else is."""
    model = cf.FactorizationMachine(4, method="sgd", regularization=1e30, iterations=iterations)
    with pytest.raises(cf.CofactorError, match="numbers that are not finite; lower regularization, learning_rate or"):
        model.fit(small(), progress=False)
