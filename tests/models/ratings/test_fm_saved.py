"""Files of factorization machines: what is kept, what is refused, and what older versions wrote."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR

TABLE = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 3], "rating": [1.0, 3.0, 5.0, 4.0]})


def small():
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(rng.random((30, 20)) < 0.5)
    return CSR.from_pairs(rows, columns, 3 + rng.normal(0, 1, len(rows)), (30, 20))


def stars(matrix):
    return matrix.with_values(1.0 + np.searchsorted((1.5, 2.5, 3.5, 4.5), matrix.values).astype(np.float32))


def test_what_was_learned_of_features_is_saved(tmp_path):
    items = pl.DataFrame({"item_id": [1, 2, 3, 4], "genre": ["a", "b", "a", "b"]})
    model = cf.FactorizationMachine(2, implicit=True, iterations=6, samples=2).fit(TABLE, item_features=items)
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert loaded.item_features_ == model.item_features_
    asked = pl.DataFrame({"user_id": [1, 1, 2, 2, 2], "item_id": [1, 4, 2, 3, 4]})
    assert loaded.predict(asked).equals(model.predict(asked))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("cutpoints_", lambda a: a[:, :-1].copy(), "there are 3 cutpoints of 5 levels"),
        ("noise_precisions_", lambda a: 0 * a, "precisions and noises of a FactorizationMachine must be above 0"),
        ("prior_precisions_", lambda a: 0 * a, "precisions and noises of a FactorizationMachine must be above 0"),
        ("item_prior_precisions_", lambda a: 0 * a, "precisions and noises of a FactorizationMachine must be above 0"),
        ("user_noises_", lambda a: 0 * a, "precisions and noises of a FactorizationMachine must be above 0"),
        ("levels_", lambda a: a[::-1].copy(), "levels_ of a FactorizationMachine must ascend"),
        ("cutpoints_", lambda a: a[:, ::-1].copy(), "cutpoints_ of a FactorizationMachine must ascend"),
        ("std_", lambda _: 0.0, "std_ must be above 0"),
        ("user_samples_", lambda a: a[:, 1:].copy(), "user_samples_ is float32 of shape"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, change, message):
    model = cf.FactorizationMachine(2, task="ordinal", iterations=6, samples=2).fit(stars(small()))
    setattr(model, name, change(getattr(model, name)))
    model.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match=message):
        cf.load(tmp_path / "model")


def test_samples_may_be_set_anew_before_a_save(tmp_path):
    model = cf.FactorizationMachine(2, iterations=12, samples=4).fit(small())
    model.samples = 2
    model.save(tmp_path / "model")
    assert cf.load(tmp_path / "model").rate([1, -1], [2, 3])[0].tolist() == model.rate([1, -1], [2, 3])[0].tolist()


@pytest.mark.parametrize("kind", ["regression", "ordinal"])
def test_models_of_before_the_spread_was_kept_still_load(tmp_path, kind):
    model = cf.FactorizationMachine(2, iterations=6, samples=2, task=kind).fit(stars(small()))
    wide = model.rate([-1, 3], [4, 4])
    del model.user_covariances_, model.item_covariances_
    model.save(tmp_path / "model")
    ratings, stds = cf.load(tmp_path / "model").rate([-1, 3], [4, 4])
    assert ratings.tolist() == wide[0].tolist()
    assert stds[0] < wide[1][0]
    assert stds[1] == wide[1][1]
