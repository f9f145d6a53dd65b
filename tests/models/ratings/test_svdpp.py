"""SVD++: what was planted in factors and in what users rated, users folded in, units."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR


def planted(n_users=400, n_items=120, share=0.25, noise=0.3, choosy=0.5, seed=0):
    """Users rate more of one kind of items, and better: what they rated tells of them.

    Ratings; all of them without the noise; and as many other pairs that were chosen alike.
    """
    rng = np.random.default_rng(seed)
    taste, kind = rng.choice([-1, 1], n_users), rng.choice([-1, 1], n_items)
    dense = 3 + rng.normal(0, 0.3, (n_users, 1)) + rng.normal(0, 0.5, n_items) + 0.7 * np.outer(taste, kind)
    rated, others = (rng.random(dense.shape) < share * (1 + choosy * np.outer(taste, kind)) for _ in range(2))
    rows, columns = np.nonzero(rated)
    values = dense[rows, columns] + rng.normal(0, noise, len(rows))
    return (
        cf.Ratings.from_matrix(CSR.from_pairs(rows, columns, values, dense.shape)),
        dense,
        np.nonzero(others & ~rated),
    )


def error(model, dense, pairs):
    return np.sqrt(np.mean((model.rate(*pairs)[0] - dense[pairs]) ** 2))


def test_what_was_planted_is_found():
    ratings, dense, others = planted()
    model = cf.SVDpp(4, regularization=0.1, epochs=60).fit(ratings)
    assert error(model, dense, others) < 0.3 * error(cf.BiasOnly().fit(ratings), dense, others)
    assert model.loss_history_[-1] < 0.3 * model.loss_history_[0]


def test_what_users_rated_tells_of_them():
    """With few ratings each it is better than factors alone, whatever their regularization."""
    ratings, dense, others = planted(2000, 100, share=0.08, noise=0.5, choosy=0.9)
    alone = min(error(cf.BiasedMF(4, regularization=r).fit(ratings), dense, others) for r in (0.5, 1.0, 2.0))
    assert error(cf.SVDpp(4, regularization=0.2).fit(ratings), dense, others) < 0.9 * alone


def test_user_factors_hold_what_their_items_say():
    """A user whose ratings are all as predicted is told by the items alone, and so is a new one with any ratings."""
    ratings, *_ = planted()
    model = cf.SVDpp(4, epochs=20).fit(ratings)
    x = ratings.user_items.take([3])
    told = model.implicit_factors_[x.indices].astype(np.float64).sum(0) / np.sqrt(x.nnz)
    rated = model.mean_ + model.item_biases_[x.indices] + model.item_factors_[x.indices] @ told
    vectors = model._fold_in(x.with_values(rated))
    np.testing.assert_allclose(vectors[0, :-2], told, rtol=1e-3, atol=1e-4)
    assert vectors[0, -2] == pytest.approx(model.mean_, abs=1e-4)


def test_new_users_are_rated_as_those_of_training():
    ratings, dense, _ = planted()
    model = cf.SVDpp(4, regularization=0.1).fit(ratings)
    histories = ratings.user_items.take(range(20))
    known, listed = model.top_k(range(20), 120, exclude_seen=False), model.top_k_for(histories, 120, exclude_seen=False)
    of_new, of_known = np.zeros((2, 20, 120))
    np.put_along_axis(of_new, listed.rows, listed.scores, 1)
    np.put_along_axis(of_known, known.rows, known.scores, 1)
    assert np.corrcoef(of_new.ravel(), of_known.ravel())[0, 1] > 0.99
    alone = model.top_k_for(histories.take([7]), 120, exclude_seen=False)
    np.testing.assert_allclose(alone.scores[0], listed.scores[7], rtol=1e-5)
    assert np.sqrt(np.mean((of_new - dense[:20]) ** 2)) < 0.3


def test_units_change_nothing():
    ratings, *_ = planted(60, 50)
    other = cf.Ratings.from_matrix(ratings.user_items.with_values(100 + 16 * ratings.user_items.values))
    one, many = (cf.SVDpp(4, epochs=4).fit(r).rate(np.arange(50), np.arange(50))[0] for r in (ratings, other))
    np.testing.assert_allclose(many, 100 + 16 * one, rtol=1e-4)


def test_the_number_of_threads_changes_no_bit():
    ratings, *_ = planted()
    one, *others = (cf.SVDpp(4, epochs=3, threads=threads).fit(ratings) for threads in (1, 2, 5))
    for other in others:
        for name in ("user_factors_", "item_factors_", "implicit_factors_", "user_biases_", "loss_history_"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_descent_that_diverges_is_told_at_once():
    ratings, *_ = planted(60, 50)
    with pytest.raises(cf.CofactorError, match=r"diverged; lower learning_rate, or raise regularization"):
        cf.SVDpp(4, learning_rate=20.0, init_std=3.0).fit(ratings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": 0}, "factors must be a whole number of at least 1, got 0"),
        ({"lr_schedule": "plateau"}, "lr_schedule must be one of 'cosine', 'constant'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"bias_regularization": -1.0}, "bias_regularization must be"),
        ({"bias_learning_rate": 0.0}, "bias_learning_rate must be"),
    ],
)
def test_parameters_out_of_range(options, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.SVDpp(**options).fit(planted(10, 10)[0])


def test_with_the_defaults_of_another_library_it_is_as_good():
    """Surprise's SVD++: 20 factors, 20 epochs, a learning rate of .007 and a regularization of .02 for each rating."""
    surprise = pytest.importorskip("surprise")
    ratings, *_ = planted(noise=0.8, seed=4)
    table = ratings.to_frame().with_columns(pl.col("rating").clip(1, 5))
    held = np.random.default_rng(4).random(len(table)) < 0.1
    train, test = table.filter(~held), table.filter(held)
    std, wanted = float(train["rating"].std(ddof=0)), test["rating"].to_numpy()
    frame = train.to_pandas()[["user_id", "item_id", "rating"]]
    whole = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
    ours, theirs = [], []
    for seed in range(3):
        model = cf.SVDpp(
            20, epochs=20, lr_schedule="constant", regularization_exponent=1.0, init_std=0.1 / std**0.5,
            learning_rate=0.007 * std, bias_learning_rate=0.007, regularization=0.02 / std, bias_regularization=0.02,
            seed=seed,
        ).fit(train)  # fmt: skip
        ours.append(np.sqrt(np.mean((model.predict(test, clip=True)["rating"].to_numpy() - wanted) ** 2)))
        other = surprise.SVDpp(random_state=seed).fit(whole)
        rated = np.array([other.predict(u, i).est for u, i in test.select("user_id", "item_id").rows()])
        theirs.append(np.sqrt(np.mean((rated - wanted) ** 2)))
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.006)
