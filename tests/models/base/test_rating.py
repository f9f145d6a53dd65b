"""What models of ratings do that others do not: ratings of what nobody knows, scales, spreads, row-level questions."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.sparse import csr_array

import cofactor as cf
from cofactor.kernels.csr import CSR
from cofactor.models.base import rating
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.rating import RatingModel, as_ratings

TABLE = pl.DataFrame(
    {
        "user_id": ["ann", "ann", "bob", "bob", "cid", "cid", "cid"],
        "item_id": [1, 2, 1, 3, 1, 2, 3],
        "rating": [5.0, 3.0, 4.0, 0.0, 5.0, 2.0, -1.0],
    }
)
MODELS = {
    "GlobalMean": cf.GlobalMean,
    "BiasOnly": cf.BiasOnly,
    "CoClustering": lambda: cf.CoClustering(2, 2),
    "BiasedMF": lambda: cf.BiasedMF(2),
    "SVDpp": lambda: cf.SVDpp(2),
    "BayesianMF": lambda: cf.BayesianMF(2, burn_in=4, samples=6, thinning=1),
}
UNKNOWN = pl.DataFrame({"user_id": ["ann", "zoe", "zoe"], "item_id": [9, 1, 9]})


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]().fit(TABLE)


# What fit takes


def test_constant_ratings_are_refused_with_the_models_for_them():
    ones = TABLE.with_columns(rating=pl.lit(1))
    told = r"ratings: all 7 are 1, so there is nothing to predict\..*ImplicitALS\(\)\.fit\(events\.interactions\(\)\)"
    for given in (ones, cf.Ratings.from_frame(ones), CSR.from_pairs([0, 1], [0, 1], [1, 1], (2, 2))):
        with pytest.raises(cf.DataError, match=told.replace("7", r"\d")):
            cf.BiasOnly().fit(given)


def test_interactions_of_a_log_with_ratings_are_rated_by_it():
    events = cf.read_events(TABLE, user="user_id", item="item_id", rating="rating")
    assert_frame_equal(as_ratings(events.interactions()).to_frame(), cf.Ratings.from_frame(TABLE).to_frame())


@pytest.mark.parametrize("given", [None, 7, "log.parquet", cf.BiasOnly, object()])
def test_anything_else_is_refused_with_the_way_out(given):
    with pytest.raises(cf.ParameterError, match=r"ratings: a model.* is fitted on Ratings, Events with rating="):
        cf.BiasOnly().fit(given)


def test_fit_takes_its_data_by_name():
    assert cf.GlobalMean().fit(ratings=TABLE).mean_ == pytest.approx(18 / 7)
    with pytest.raises(TypeError, match=r"GlobalMean\.fit\(\) misses its argument 'ratings'"):
        cf.GlobalMean().fit()


@pytest.mark.parametrize("largest", [1e13, -1e13])
def test_ratings_beyond_float32_are_refused(largest):
    with pytest.raises(cf.DataError, match=r"the largest rating is 1e\+13, of user 'bob'.*divide all ratings by"):
        cf.BiasOnly().fit(TABLE.with_columns(rating=pl.when(pl.col("rating") == 0).then(largest).otherwise("rating")))


# Zero and negative ratings


def test_items_rated_zero_or_worse_are_seen(model):
    assert model.recommend(["cid"]).is_empty()
    assert set(model.recommend(["bob"])["item_id"]) == {2}
    test = pl.DataFrame({"user_id": ["bob", "ann"], "item_id": [3, 3]})
    with pytest.warns(cf.CofactorWarning, match="1 of 2 test pairs were in the training data"):
        assert cf.evaluate(model, test, "recall@5", n_bootstrap=0)["value"].item() == 1


def test_candidates_are_ranked_by_rating(model):
    test = pl.DataFrame({"user_id": ["ann"], "item_id": [3]})
    candidates = pl.DataFrame({"user_id": ["ann"] * 3, "item_id": [3, 1, 2]})
    value = cf.evaluate(model, test, "mrr@3", candidates=candidates, n_bootstrap=0)["value"].item()
    assert value == pytest.approx(1 / 3)


# What nobody knows


@pytest.mark.filterwarnings("ignore:predict")
def test_unknown_sides_are_rated_by_the_other_one(model):
    ann, item, both = model.predict(UNKNOWN)["rating"]
    mean = TABLE["rating"].mean()
    if isinstance(model, cf.GlobalMean):
        assert [ann, item, both] == pytest.approx([mean] * 3)
    elif isinstance(model, cf.CoClustering):
        assert [ann, item, both] == pytest.approx([4.0, 14 / 3, mean])
    elif isinstance(model, cf.BayesianMF):
        users, items = model.user_prior_means_, model.item_prior_means_
        pairs = ((model.user_means_[:, 0], items), (users, model.item_samples_[:, 0]), (users, items))
        rated = [(u[:, :-1] * i[:, :-1]).sum(1) + u[:, -1] + i[:, -1] for u, i in pairs]
        wanted = [model.mean_ + model.std_ * float(of_samples.mean()) for of_samples in rated]
        assert [ann, item, both] == pytest.approx(wanted, rel=1e-5)
    else:
        wanted = [model.mean_ + model.user_biases_[0], model.mean_ + model.item_biases_[0], model.mean_]
        assert [ann, item, both] == pytest.approx(wanted)


def test_new_users_without_known_items_get_the_list_of_a_stranger(model):
    with pytest.warns(cf.CofactorWarning, match="1 of 1 rows have items"):
        listed = model.recommend_for(pl.DataFrame({"user_id": ["zoe"], "item_id": [9], "rating": [5.0]}))
    with pytest.warns(cf.CofactorWarning, match="predict"):
        rated = model.predict(listed)
    np.testing.assert_allclose(listed["score"], rated["rating"], rtol=1e-6)


def test_a_new_user_with_a_known_history_is_rated_alike(model):
    known = model.recommend(["ann"], exclude_seen=False)
    twin = model.recommend_for(TABLE.filter(user_id="ann").with_columns(user_id=pl.lit("twin")), exclude_seen=False)
    assert twin["item_id"].to_list() == known["item_id"].to_list()
    near = 0.1 if isinstance(model, cf.SVDpp) else 1e-4  # whose known users were trained while items moved
    np.testing.assert_allclose(twin["score"], known["score"], rtol=near, atol=1e-5)


def test_ratings_in_other_units_are_told(model):
    history = pl.DataFrame({"user_id": ["zoe", "zoe"], "item_id": [1, 2], "rating": [80.0, 5.0]})
    with pytest.warns(cf.CofactorWarning, match="1 of 2 ratings, the first 80, lie outside the scale .*, -1 to 5"):
        model.recommend_for(history)
    with pytest.raises(cf.DataError, match=r"histories: ratings must be finite and at most 1e\+12"):
        model.top_k_for(CSR.from_pairs([0], [0], [np.nan], (1, 3)))
    model.top_k_for(CSR.from_pairs([0], [0], [0.0], (1, 3)))  # 0 is a rating as others


# Scale and spread


def test_clipping_is_to_the_scale(model):
    wide, narrow = (cf.BiasOnly(user_regularization=0, item_regularization=0) for _ in range(2))
    wide.fit(cf.Ratings.from_frame(TABLE, scale=(-9, 9)))
    narrow.fit(TABLE)
    pairs = pl.DataFrame({"user_id": ["ann", "bob", "cid"], "item_id": [1, 3, 3]})
    plain = narrow.predict(pairs)["rating"].to_numpy()
    assert plain.max() > 5
    np.testing.assert_array_equal(wide.predict(pairs, clip=True)["rating"], plain)
    np.testing.assert_array_equal(narrow.predict(pairs, clip=True)["rating"], np.clip(plain, -1, 5))


def test_the_spread_stands_beside_the_rating(model):
    table = model.predict(TABLE)
    assert table.columns[2:] == (
        ["rating"] if isinstance(model, cf.CoClustering | cf.BiasedMF | cf.SVDpp) else ["rating", "std"]
    )
    if "std" in table.columns:
        assert (table["std"] > 0).all()
        nothing = model.predict(UNKNOWN, unknown="skip").select("rating", "std")
        assert nothing.null_count().row(0) == (3, 3)


def test_unknown_takes_three_values(model):
    with pytest.raises(cf.ParameterError, match="unknown must be one of 'estimate', 'error', 'skip', got 'zero'"):
        model.predict(UNKNOWN, unknown="zero")
    with pytest.raises(cf.UnknownIdError, match=r"item ids .*: 9"):
        model.predict(UNKNOWN.head(1), unknown="error")


# By row


def test_rate_is_predict_without_ids(model):
    table = model.predict(TABLE)
    x = model.interactions_
    ratings, stds = model.rate(x.users.rows(TABLE["user_id"]), x.items.rows(TABLE["item_id"]))
    assert ratings.dtype == np.float32
    np.testing.assert_array_equal(ratings, table["rating"])
    assert (stds is None) == ("std" not in table.columns)
    assert np.isfinite(model.rate([-1, 0], [0, -1])[0]).all()
    assert len(model.rate([], [])[0]) == 0


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([0, 3], [0, 0], "users must be row numbers from -1 to 2, got 3"),
        ([0], [-2], "items must be row numbers from -1 to 2, got -2"),
        ([0, 1], [0], "users and items must be pairs, got 2 users and 1 items"),
        ([0.5], [0], "users must be an array of whole row numbers"),
    ],
)
def test_bad_rows(model, users, items, message):
    with pytest.raises(cf.ParameterError, match=message):
        model.rate(users, items)


def test_many_pairs_are_rated_in_pieces():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 20))
    model = cf.BiasOnly().fit(cf.Ratings.from_matrix(x))
    users, items = rng.integers(-1, 300, 150_000), rng.integers(-1, 20, 150_000)
    wanted = model.mean_ + np.append(model.user_biases_, 0)[users] + np.append(model.item_biases_, 0)[items]
    np.testing.assert_allclose(model.rate(users, items)[0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("allowed", [None, [1, 3]])
def test_lists_of_many_users_are_made_in_pieces(model, monkeypatch, allowed):
    """Item vectors once a question, vectors of a few users at a time, and the same lists and ranks."""
    test = pl.DataFrame({"user_id": ["ann", "bob", "cid"], "item_id": [3, 2, 1]})

    def answers():
        board = cf.evaluate(model, test, "mrr@3", n_bootstrap=0, exclude_seen=False)
        lists = model.recommend(k=3, items=allowed), model.recommend(k=3, exclude_seen=False)
        return *lists, model.recommend_for(TABLE, k=3, items=allowed), board

    wanted, sizes, calls = answers(), [], []
    of_users, of_items, fold_in = model._user_vectors, model._item_vectors, model._fold_in
    monkeypatch.setattr(rating, "_FLOATS", 1)
    monkeypatch.setattr(model, "_user_vectors", lambda users: (sizes.append(len(users)), of_users(users))[1])
    monkeypatch.setattr(model, "_fold_in", lambda rows: (sizes.append(rows.n_rows), fold_in(rows))[1])
    monkeypatch.setattr(model, "_item_vectors", lambda items: (calls.append(len(items)), of_items(items))[1])
    for found, before in zip(answers(), wanted, strict=True):
        assert_frame_equal(found, before)
    assert set(sizes) == {1}
    assert calls == [3] * 4


# Saving


def test_the_declared_scale_is_saved(model, tmp_path):
    fitted = type(model)().fit(cf.Ratings.from_frame(TABLE, scale=(-10, 10)))
    fitted.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert isinstance(loaded.interactions_, cf.Ratings)
    assert loaded.interactions_.scale == (-10, 10)
    assert_frame_equal(loaded.predict(TABLE), fitted.predict(TABLE))
    header = json.loads((tmp_path / "model" / "model.json").read_text())
    for wrong in ([5], "wide", [3, 2], {"low": 1}):
        header["model"]["data"] = {"scale": wrong}
        (tmp_path / "model" / "model.json").write_text(json.dumps(header))
        with pytest.raises(cf.ArtifactError, match="is damaged"):
            cf.load(tmp_path / "model")


def test_a_found_scale_is_found_again(model, tmp_path):
    model.save(tmp_path / "model")
    assert cf.load(tmp_path / "model").interactions_.scale == (-1, 5)


def test_models_of_ratings_in_chains_and_blends(tmp_path):
    events = cf.read_events(TABLE, user="user_id", item="item_id", rating="rating")
    chain = cf.Fallback(cf.PersonalPopular(), cf.BiasOnly()).fit(events)
    chain.save(tmp_path / "model")
    assert_frame_equal(cf.load(tmp_path / "model").recommend(k=3), chain.recommend(k=3))
    assert set(chain.recommend(["ann"])["item_id"]) == {3}


def test_vectors_of_items_tell_which_are_similar(model):
    if type(model) in (cf.GlobalMean, cf.BiasOnly, cf.CoClustering):
        asked = [(model.item_vectors, "no vectors of items"), (model.user_vectors, "no vectors of users")]
        for ask, told in (*asked, (model.similar_items, "no notion of similar")):
            with pytest.raises(cf.ParameterError, match=told):
                ask()
        return
    table = model.item_vectors()
    vectors = table["vector"].to_numpy().astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = dict(
        zip([(i, j) for i in table["item_id"] for j in table["item_id"]], (unit @ unit.T).ravel(), strict=True)
    )
    near = model.similar_items(k=2)
    assert len(near) == 6
    for row in near.iter_rows(named=True):
        assert row["score"] == pytest.approx(cosine[row["item_id"], row["similar_item_id"]], abs=1e-5)


def test_vectors_of_users_belong_to_those_of_items(model):
    """Between two users and two items of a rating, biases cancel out: the rest is what the vectors make."""
    if type(model) in (cf.GlobalMean, cf.BiasOnly, cf.CoClustering):
        return
    rng = np.random.default_rng(0)
    model = type(model)(**model.params()).fit(csr_array(3 + rng.normal(size=(30, 1)) * rng.normal(size=20)))
    users, items = model.user_vectors(), model.item_vectors()
    assert users["user_id"].to_list() == model.interactions_.users.ids.to_list()
    rated = model.predict(users.select("user_id").join(items.select("item_id"), how="cross"))
    dense = rated["rating"].to_numpy().reshape(len(users), len(items)).astype(np.float64)
    made = users["vector"].to_numpy().astype(np.float64) @ items["vector"].to_numpy().astype(np.float64).T
    found = np.diff(np.diff(dense, axis=0), axis=1).ravel()
    wanted = np.diff(np.diff(made, axis=0), axis=1).ravel()
    assert np.abs(found).max() > 1e-3
    unit = (found @ wanted) / (wanted @ wanted)
    assert found == pytest.approx(unit * wanted, abs=1e-4)
    n = len(model.offsets_) if hasattr(model, "offsets_") else len(getattr(model, "noise_precisions_", [1]))
    sampled = isinstance(model, cf.BayesianMF | cf.FactorizationMachine)
    assert unit == pytest.approx(model.std_ / n if sampled else 1, rel=1e-3)


# The recipe


def test_the_model_of_the_contributors_guide_works(tmp_path):
    """What CONTRIBUTING.md shows: lists, prediction, fold-in, saving and measuring without another line."""
    guide = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = {"np": np, "RatingModel": RatingModel, "in_one_step": in_one_step}
    exec("from __future__ import annotations\n" + re.search(r"```python\n(class .*?)```", guide, re.S)[1], names)
    try:
        model = names["ItemMeans"]().fit(TABLE)
        model.save(tmp_path / "model")
        loaded = cf.load(tmp_path / "model")
    finally:
        del cf.Recommender.registry["ItemMeans"]
    assert_frame_equal(loaded.recommend(exclude_seen=False), model.recommend(exclude_seen=False))
    assert model.recommend_for(TABLE)["item_id"].to_list() == [3, 2]
    assert model.predict(TABLE)["rating"][0] == pytest.approx((14 + 5 * 18 / 7) / 8)
    assert cf.evaluate(model, TABLE, "rmse", n_bootstrap=0)["value"].item() > 0


@pytest.mark.parametrize(("offset", "unit"), [(1e8, 1.0), (-1e8, 1.0), (1.7e9, 1.0), (1.0, 1e-7), (1e6, 1.0)], ids=str)
def test_ratings_that_float32_would_round_away_are_refused(offset, unit):
    """The last differ by fewer than a hundred of its steps."""
    table = {"user_id": [1, 1, 2, 2, 3], "item_id": [7, 8, 7, 9, 9]}
    stars = offset + unit * np.array([4.0, 2.0, 5.0, 1.0, 2.0])
    for model in (cf.BiasOnly(), cf.BiasedMF(2), cf.FactorizationMachine(2, iterations=5)):
        with pytest.raises(cf.DataError, match=r"numbers in float32.*are .* apart; subtract what all have in common"):
            model.fit(pl.DataFrame(table | {"rating": stars}))
    near = pl.DataFrame(table | {"rating": stars - offset + 2_000 * unit})
    assert cf.BiasOnly().fit(near).predict(near)["rating"].is_finite().all()


def test_a_rating_model_that_is_not_fitted_says_what_it_wants():
    with pytest.raises(cf.NotFittedError, match=r"BiasOnly has not been fitted; call fit\(ratings\) first"):
        cf.BiasOnly().predict({"user_id": [1], "item_id": [7]})
