"""What models of biases and factors share: training that leaves finite numbers, and files that fit the parameters."""

import numpy as np
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR

MODELS = {
    "als": lambda **given: cf.BiasedMF(3, **given),
    "sgd": lambda **given: cf.BiasedMF(3, method="sgd", **given),
    "SVDpp": lambda **given: cf.SVDpp(3, **given),
}


def small():
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(rng.random((30, 20)) < 0.5)
    return CSR.from_pairs(rows, columns, rng.integers(1, 6, len(rows)), (30, 20))


@pytest.mark.parametrize("epochs", [1, 4])
@pytest.mark.parametrize("kind", ["sgd", "SVDpp"])
def test_a_penalty_beyond_floats_is_told(kind, epochs):
    """With one rating each, the loss of the first epoch is that of before any step: finite where nothing else is."""
    n = np.arange(40)
    matrix = CSR.from_pairs(n, n, 1.0 + n % 5, (40, 40))
    with pytest.raises(cf.CofactorError, match="training left numbers that are not finite; lower regularization"):
        MODELS[kind](epochs=epochs, regularization=1e30).fit(matrix, progress=False)


def test_a_penalty_beyond_floats_leaves_the_mean_where_equations_are_solved():
    model = MODELS["als"](regularization=1e30, bias_regularization=1e30).fit(small())
    np.testing.assert_allclose(model.rate([1, 2], [3, 4])[0], model.mean_, rtol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("std", [0.0, -1.0])
def test_a_spread_that_is_none_is_refused(tmp_path, kind, std):
    model = MODELS[kind](epochs=2).fit(small())
    model.std_ = std
    model.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match=f"std_ must be above 0, got {std}"):
        cf.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("kind", "names"),
    [(kind, ("user_factors_", "item_factors_", "implicit_factors_")) for kind in MODELS]
    + [("SVDpp", ("implicit_factors_",))],
)
def test_factors_of_another_length_than_the_parameter_are_refused(tmp_path, kind, names):
    model = MODELS[kind](epochs=2).fit(small())
    for name in names:
        if hasattr(model, name):
            setattr(model, name, getattr(model, name)[:, :2].copy())
    model.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match=r"learns float32 (users|items) 3"):
        cf.load(tmp_path / "model")
