"""Factorization machines: planted models, features of what has no ratings, new users, what is refused."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels.csr import CSR
from cofactor.system import memory

KINDS = {
    "regression": {},
    "ordinal": {"task": "ordinal"},
    "als": {"method": "als", "regularization": 2.0},
    "sgd": {"method": "sgd", "iterations": 60, "batch_size": 128, "learning_rate": 0.02, "regularization": 5e-5},
}


def planted(n_users=150, n_items=100, factors=2, noise=0.3, share=0.5, seed=0):
    """Ratings of a machine of ids, without those of a tenth of the pairs, and what all pairs would be rated."""
    rng = np.random.default_rng(seed)
    bias, vectors = rng.normal(0, 0.4, n_users), rng.normal(0, 0.7, (n_users, factors))
    item_bias, item_vectors = rng.normal(0, 0.4, n_items), rng.normal(0, 0.7, (n_items, factors))
    dense = 3.5 + bias[:, None] + item_bias + vectors @ item_vectors.T
    rows, columns = np.nonzero(rng.random(dense.shape) < share)
    values = dense[rows, columns] + rng.normal(0, noise, len(rows))
    return CSR.from_pairs(rows, columns, values, dense.shape), dense


def stars(matrix, cuts=(1.5, 2.5, 3.5, 4.5)):
    return matrix.with_values(1.0 + np.searchsorted(cuts, matrix.values).astype(np.float32))


def unseen(matrix):
    return np.nonzero(matrix.to_scipy().toarray() == 0)


def rmse(found, wanted):
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


# What is learned


def test_a_planted_machine_is_found_and_its_noise():
    matrix, dense = planted()
    model = cf.FactorizationMachine(4, seed=1).fit(matrix)
    users, items = unseen(matrix)
    ratings, stds = model.rate(users, items)
    assert rmse(ratings, dense[users, items]) < 0.2
    assert np.sqrt(1 / model.noise_precisions_).mean() * model.std_ == pytest.approx(0.3, rel=0.1)
    said = dense[users, items] + np.random.default_rng(5).normal(0, 0.3, len(users))
    within = np.abs(said - ratings) / stds
    assert np.mean(within < 1) == pytest.approx(0.683, abs=0.04)
    assert np.mean(within < 2) == pytest.approx(0.954, abs=0.02)
    assert model.error_history_[-1] == pytest.approx(0.3, rel=0.1)


def test_users_who_rate_at_random_are_known_for_it():
    matrix, dense = planted(noise=0.0)
    rng = np.random.default_rng(3)
    careless = rng.random(150) < 0.3
    spreads = np.where(careless, 1.5, 0.3)
    said = matrix.with_values(matrix.values + rng.normal(0, 1, matrix.nnz) * spreads[matrix.row_index()])
    users, items = unseen(matrix)
    one, own = (cf.FactorizationMachine(2, user_noise=noise).fit(said) for noise in (False, True))
    errors = [rmse(model.rate(users, items)[0], dense[users, items]) for model in (one, own)]
    assert errors[1] < 0.9 * errors[0]
    found = own.std_ * np.sqrt(own.user_noises_)
    assert found[careless].min() > 2 * found[~careless].max()
    assert own.rate([-1], [3])[1][0] > found[~careless].max()
    np.testing.assert_allclose(one.user_noises_, (1 / one.noise_precisions_).mean(), rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_more_is_found_than_biases_tell(kind):
    matrix, dense = planted()
    matrix = stars(matrix)
    users, items = unseen(matrix)
    wanted = np.clip(dense[users, items], 1, 5)
    found = cf.FactorizationMachine(2, **KINDS[kind]).fit(matrix).rate(users, items)[0]
    assert rmse(found, wanted) < 0.5 * rmse(cf.BiasOnly().fit(matrix).rate(users, items)[0], wanted)


def test_coordinate_descent_ends_where_no_step_lowers_the_loss():
    matrix, _ = planted(20, 15)
    model = cf.FactorizationMachine(2, method="als", regularization=3.0, iterations=400).fit(matrix)
    parts = [model.offsets_, model.user_samples_, model.item_samples_]
    u, i, y = matrix.row_index(), matrix.indices, (matrix.values - model.mean_) / model.std_

    def loss(offset, users, items):
        z = offset + users[u, 0] + items[i, 0] + (users[u, 1:] * items[i, 1:]).sum(axis=1)
        return ((y - z) ** 2).sum() + (offset**2).sum() + 3 * ((users**2).sum() + (items**2).sum())

    least, rng = loss(*parts), np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(50):
            assert loss(*(part + rng.normal(0, size, part.shape) for part in parts)) > least - 1e-3
    assert np.diff(model.error_history_)[-1] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    "kind",
    [{"iterations": 150, "samples": 50}, KINDS["sgd"] | {"learning_rate": 0.1, "regularization": 5e-3}],
    ids=["mcmc", "sgd"],
)
def test_what_has_no_ratings_is_rated_by_its_features(kind):
    """Genres that some users like and others do not: of new items, and of new users by their age."""
    rng = np.random.default_rng(0)
    n_users, n_items = 120, 80
    old, war = rng.random(n_users) < 0.5, rng.random(n_items) < 0.5
    dense = 3 + np.where(old[:, None] == war, 1.0, -1.0) + rng.normal(0, 0.3, n_items)
    known = np.ix_(np.arange(100), np.arange(60))
    seen = np.zeros(dense.shape, bool)
    seen[known] = rng.random((100, 60)) < 0.3
    table = pl.DataFrame({"user_id": np.nonzero(seen)[0], "item_id": np.nonzero(seen)[1], "rating": dense[seen]})
    items = pl.DataFrame(
        {"item_id": range(n_items), "genres": [["war", "film"] if w else ["film", "love"] for w in war]}
    )
    users = pl.DataFrame({"user_id": range(n_users), "age": np.where(old, 60.0, 20.0), "old": old})
    model = cf.FactorizationMachine(3, **kind).fit(table, item_features=items, user_features=users)
    assert model.interactions_.n_users == n_users
    assert model.item_features_.n_features == 3
    new_items, new_users = pairs(range(100), range(60, 80)), pairs(range(100, 120), range(60))
    for asked in (new_items, new_users, pairs(range(100, 120), range(60, 80))):
        found = model.predict(asked)["rating"].to_numpy()
        assert rmse(found, dense[asked["user_id"], asked["item_id"]]) < 0.7  # 1.05 by the mean
    told = model.recommend([110], k=20, items=range(60, 80))["item_id"].to_numpy()
    assert (war[told[:5]] == old[110]).all()


def pairs(users, items):
    return pl.DataFrame({"user_id": list(users)}).join(pl.DataFrame({"item_id": list(items)}), how="cross")


@pytest.mark.parametrize(
    "options", [{}, KINDS["sgd"] | {"iterations": 20, "regularization": 2e-3}], ids=["mcmc", "sgd"]
)
def test_what_users_rated_tells_of_them(options):
    """Two kinds of users rate two kinds of items; with one rating each, which item it is tells the taste."""
    rng = np.random.default_rng(3)
    kind = rng.random(400) < 0.5
    chosen = np.where(rng.random((400, 3)) < 0.95, kind[:, None], ~kind[:, None])
    items = 2 * rng.integers(0, 20, (400, 3)) + ~chosen
    rows = np.repeat(np.arange(400), 3)
    table = pl.DataFrame({"user_id": rows, "item_id": items.ravel()}).unique(maintain_order=True)
    u = table["user_id"].to_numpy()
    table = table.with_columns(rating=3 + np.where(kind[u], 1.0, -1.0) + rng.normal(0, 0.8, len(table)))
    asked = pairs(range(400), range(40)).join(table, on=["user_id", "item_id"], how="anti")
    wanted = 3 + np.where(kind[asked["user_id"].to_numpy()], 1.0, -1.0)
    errors = [
        rmse(
            cf.FactorizationMachine(2, implicit=implicit, **options).fit(table).predict(asked)["rating"].to_numpy(),
            wanted,
        )
        for implicit in (False, True)
    ]
    assert errors[1] < 0.8 * errors[0]


# New and unknown users


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_users_known_by_their_ratings_alone_are_rated_as_if_they_had_been_there(kind, implicit):
    matrix, _ = planted(150, 60, noise=0.5)
    matrix = stars(matrix)
    model = cf.FactorizationMachine(2, implicit=implicit, seed=2, **KINDS[kind]).fit(matrix)
    histories = cf.Ratings.from_matrix(matrix).to_frame()
    order = ["user_id", "item_id"]
    known = model.recommend(k=60, exclude_seen=False).sort(order)
    folded = model.recommend_for(histories, k=60, exclude_seen=False).sort(order)
    assert rmse(folded["score"].to_numpy(), known["score"].to_numpy()) < 0.12
    assert np.corrcoef(folded["score"], known["score"])[0, 1] > 0.985


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_not_known_is_rated_by_the_other_side(kind):
    matrix, _ = planted()
    matrix = stars(matrix)
    model = cf.FactorizationMachine(2, **KINDS[kind]).fit(matrix)
    users, items = np.arange(150), np.arange(100)
    of_items = model.rate(np.full(100, -1), items)[0]
    of_users = model.rate(users, np.full(150, -1))[0]
    x = matrix.to_scipy()
    assert np.corrcoef(of_items, x.sum(axis=0).A1 / (x != 0).sum(axis=0).A1)[0, 1] > 0.95
    assert np.corrcoef(of_users, x.sum(axis=1).A1 / (x != 0).sum(axis=1).A1)[0, 1] > 0.95
    assert model.rate([-1], [-1])[0][0] == pytest.approx(matrix.values.mean(), abs=0.15)
    every = model.rate(np.repeat(users, 100), np.tile(items, 150))[0].reshape(150, 100)
    if kind != "ordinal":  # linear in what is known of a user
        np.testing.assert_allclose(of_items, every.mean(axis=0), rtol=1e-3, atol=1e-3)


def test_a_new_user_without_known_items_is_an_unknown_one():
    model = cf.FactorizationMachine(2, iterations=30, samples=10).fit(planted()[0])
    table = pl.DataFrame({"user_id": [7], "item_id": [9999], "rating": [3.0]})
    with pytest.warns(cf.CofactorWarning, match="1 of 1 rows have items that are not in the training data"):
        found = model.recommend_for(table, k=100).sort("item_id")["score"]
    np.testing.assert_allclose(found, model.rate(np.full(100, -1), np.arange(100))[0], rtol=1e-5)


# Ordinal ratings


def test_levels_that_are_not_equally_far_from_each_other():
    matrix, _ = planted(200, 80, noise=0.4)
    cuts = (2.0, 3.4, 3.6, 4.2)
    matrix = stars(matrix, cuts)
    model = cf.FactorizationMachine(3, task="ordinal", iterations=150, samples=50).fit(matrix)
    gaps = np.diff(model.cutpoints_.mean(axis=0))
    np.testing.assert_allclose(gaps / gaps.sum(), np.diff(cuts) / 2.2, atol=0.05)
    ratings, stds = model.rate(*unseen(matrix))
    assert 1 <= ratings.min() < 1.6
    assert 4.7 < ratings.max() <= 5
    assert (stds > 0).all()
    assert (stds < 2).all()
    assert model.levels_.tolist() == [1, 2, 3, 4, 5]


def test_two_levels_are_enough_and_many_are_refused():
    matrix, dense = planted()
    model = cf.FactorizationMachine(2, task="ordinal", iterations=60, samples=20).fit(stars(matrix, (3.5,)))
    users, items = unseen(matrix)
    ratings = model.rate(users, items)[0]
    assert np.corrcoef(ratings, dense[users, items] > 3.5)[0, 1] > 0.7
    with pytest.raises(cf.ParameterError, match=r"task='ordinal' is for ratings of at most 50 levels, these have \d"):
        cf.FactorizationMachine(2, task="ordinal").fit(matrix)


def test_new_ratings_between_levels_are_those_of_the_nearest():
    model = cf.FactorizationMachine(2, task="ordinal", iterations=30, samples=10).fit(stars(planted()[0]))
    exact = pl.DataFrame({"user_id": [1, 1], "item_id": [3, 4], "rating": [2.0, 5.0]})
    near = exact.with_columns(rating=pl.Series([2.3, 4.6]))
    assert model.recommend_for(near).equals(model.recommend_for(exact))


# Chance


def test_the_seed_is_all_that_is_random():
    matrix, _ = planted(30, 20)
    one, same, other = (cf.FactorizationMachine(2, iterations=12, samples=4, seed=s).fit(matrix) for s in (1, 1, 2))
    assert np.array_equal(one.user_samples_, same.user_samples_)
    assert not np.allclose(one.user_samples_, other.user_samples_)


@pytest.mark.parametrize("task", ["regression", "ordinal"])
def test_threads_change_no_digit(task):
    matrix, _ = planted(400, 90)  # of "sgd" see tests/contract
    models = [
        cf.FactorizationMachine(3, task=task, implicit=True, iterations=8, samples=3, threads=n).fit(stars(matrix))
        for n in (1, 2, 5)
    ]
    for model in models[1:]:
        for name in ("user_samples_", "item_samples_", "rated_item_samples_", "cutpoints_", "offsets_"):
            assert np.array_equal(getattr(model, name), getattr(models[0], name)), name
    asked = [model.rate(np.repeat(np.arange(50), 9), np.tile(np.arange(9), 50)) for model in models]
    for found in asked[1:]:
        assert np.array_equal(found, asked[0])


def test_the_samples_are_spread_over_the_last_two_thirds():
    matrix, _ = planted(30, 20)
    for iterations, samples, kept in ((30, 100, 20), (30, 7, 7), (2, 1, 1), (3, 5, 2)):
        model = cf.FactorizationMachine(1, iterations=iterations, samples=samples).fit(matrix)
        assert model.user_samples_.shape == (30, kept * 2)
        assert len(model.error_history_) == iterations
        assert np.isfinite(model.user_samples_).all()


def test_any_unit_gives_the_same():
    matrix, _ = planted(40, 30)
    one, other = (
        cf.FactorizationMachine(2, iterations=9, samples=3).fit(matrix.with_values(matrix.values * np.float32(scale)))
        for scale in (1, 2.0**20)
    )
    users, items = np.arange(30), np.arange(30)
    np.testing.assert_allclose(other.rate(users, items)[0] / 2**20, one.rate(users, items)[0], rtol=1e-3)


# What is refused


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"factors": 0}, "factors must be a whole number of at least 1, got 0"),
        ({"method": "gibbs"}, "method must be one of 'mcmc', 'als', 'sgd', got 'gibbs'"),
        ({"task": "ranking"}, "task must be one of 'regression', 'ordinal', 'classification', got 'ranking'"),
        ({"task": "ordinal", "method": "als"}, "task='ordinal' needs method='mcmc', got method='als'"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"iterations": 1}, "iterations must be a whole number of at least 2, got 1"),
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"regularization": 0.0}, "regularization must be a finite number above 0, got 0"),
        ({"user_noise": 1}, "user_noise must be True or False, got 1"),
        ({"implicit": 1}, "implicit must be True or False, got 1"),
    ],
)
def test_parameters(parameters, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.FactorizationMachine(**parameters).fit(planted()[0])


TABLE = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 3], "rating": [1.0, 3.0, 5.0, 4.0]})


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"item_id": [1, 1], "genre": ["a", "b"]}, r"item_features: 2 rows share their item_id with others"),
        ({"item_id": [1, 2], "year": [1.0, float("nan")]}, "column 'year' is not a finite number in 1 of 2 rows"),
        ({"item_id": [1, 2], "year": [1, None]}, "column 'year' is null in 1 of 2 rows"),
        ({"item_id": [1, None], "genre": ["a", "b"]}, "item_id"),
        ({"genre": ["a", "b"]}, "item_features: no column item_id"),
        ({"item_id": [8, 9], "genre": ["a", "a"]}, "no column tells one item from another"),
    ],
)
def test_features_that_cannot_be_used(features, message):
    with pytest.raises(cf.DataError, match=message):
        cf.FactorizationMachine(1, iterations=3).fit(TABLE, item_features=pl.DataFrame(features))


@pytest.mark.filterwarnings("ignore:.*overflow")
def test_a_descent_that_goes_astray_says_what_to_do():
    with pytest.raises(cf.CofactorError, match="training diverged; lower learning_rate"):
        cf.FactorizationMachine(2, method="sgd", learning_rate=1e30, iterations=3, batch_size=16).fit(planted()[0])


def test_items_without_features_have_none_which_is_told():
    items = pl.DataFrame({"item_id": [1, 2], "genre": ["a", None], "year": [1990, 2000]})
    with pytest.warns(cf.CofactorWarning, match="1 of 3 items have no row in the table"):
        model = cf.FactorizationMachine(2, iterations=6, samples=2).fit(TABLE, item_features=items)
    assert model.predict(TABLE)["rating"].is_finite().all()
    assert any("year: numbers, standardized" in note for note in model.item_features_.notes)


def test_memory_is_asked_before_it_is_taken(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    with pytest.raises(cf.ParameterError, match=r"FactorizationMachine\(factors=8\) on 150 users .* fewer samples or"):
        cf.FactorizationMachine(8).fit(planted()[0])


def test_features_of_nobody_who_has_ratings_are_refused():
    """Ids of another kind would make new items of all rows, and no feature would be learned."""
    ratings = {"user_id": [1, 1, 2, 2], "item_id": [7, 8, 7, 9], "rating": [4.0, 2.0, 5.0, 1.0]}
    for of in ("item", "user"):
        features = {f"{of}_id": [107, 108, 109], "kind": ["a", "b", "a"]}
        told = rf"{of}_features: none of the \d {of}s with ratings, such as \d, has a row .* first id is 107"
        with pytest.raises(cf.DataError, match=told):
            cf.FactorizationMachine(2, iterations=5).fit(ratings, **{f"{of}_features": features})


def test_how_columns_of_features_were_read_is_logged(caplog):
    ratings = cf.Ratings.from_frame({"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [4.0, 2.0, 5.0]})
    items = {"item_id": [7, 8], "price": [1e9, 3e9]}
    with caplog.at_level("INFO", logger="cofactor"):
        cf.FactorizationMachine(2, iterations=5).fit(ratings, item_features=items)
    (message,) = [m for m in caplog.messages if "price" in m]
    assert message == "item_features: price: numbers, standardized as (price - 2e+09) / 1e+09"
