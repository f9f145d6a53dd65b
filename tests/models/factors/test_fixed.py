"""Vectors that were trained elsewhere: what holds for every model, and what may be wrong with them."""

import inspect

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import cofactor as cf
from contract import test_models as contract

RNG = np.random.default_rng(0)
USERS, ITEMS = RNG.standard_normal((60, 5)), RNG.standard_normal((40, 5))
BIAS = RNG.standard_normal(40)


@pytest.fixture(scope="module")
def model(interactions):
    return cf.FactorModel.from_vectors(USERS, ITEMS, interactions)


@pytest.fixture(scope="module")
def seen(interactions):
    return interactions.to_frame().select("user_id", "item_id")


# The contract

NOT_FOR_IT = {
    "test_a_known_history_gets_the_known_list": "users have the vectors that were given, new ones are folded in",
    "test_ids_keep_their_type": "fits on items without vectors",
    "test_relabelling_users_changes_nothing": "fits without vectors",
    "test_the_same_seed_gives_the_same_lists": "has no seed",
}
GIVEN = {"model", "name", "seen", "interactions", "tmp_path", "exclude_seen"}
CONTRACT = [
    name
    for name, test in vars(contract).items()
    if name.startswith("test_") and "model" in (asked := inspect.signature(test).parameters) and set(asked) <= GIVEN
]


@pytest.mark.parametrize("name", sorted({*CONTRACT} - {*NOT_FOR_IT}))
@pytest.mark.parametrize("biased", [False, True])
def test_what_holds_for_every_model(name, biased, interactions, seen, tmp_path):
    model = cf.FactorModel.from_vectors(USERS, ITEMS, interactions, item_bias=BIAS if biased else None)
    given = {
        "model": model, "name": "FixedFactors", "seen": seen, "interactions": interactions, "tmp_path": tmp_path,
        "exclude_seen": True,
    }  # fmt: skip
    test = getattr(contract, name)
    test(**{parameter: given[parameter] for parameter in inspect.signature(test).parameters})


def test_the_contract_is_found():
    assert len(CONTRACT) > 20
    assert all(hasattr(contract, name) for name in NOT_FOR_IT)


# Scores


@pytest.mark.parametrize("bias", [None, BIAS])
def test_scores_are_products_of_the_vectors(interactions, bias):
    model = cf.FactorModel.from_vectors(USERS, ITEMS, interactions, item_bias=bias)
    wanted = USERS @ ITEMS.T + (0 if bias is None else bias)
    table = model.recommend(k=40, exclude_seen=False)
    np.testing.assert_allclose(table["score"], wanted[table["user_id"], table["item_id"]], rtol=1e-4, atol=1e-5)
    assert table.filter(pl.col("rank") == 1)["item_id"].to_list() == wanted.argmax(axis=1).tolist()


def test_similarity_is_the_cosine_of_the_vectors_without_the_bias(interactions):
    biased, plain = (cf.FactorModel.from_vectors(USERS, ITEMS, interactions, item_bias=b) for b in (BIAS, None))
    unit = ITEMS / np.linalg.norm(ITEMS, axis=1, keepdims=True)
    table = biased.similar_items(k=39)
    wanted = (unit @ unit.T)[table["item_id"], table["similar_item_id"]]
    np.testing.assert_allclose(table["score"], wanted, rtol=1e-4, atol=1e-5)
    assert_frame_equal(biased.similar_items([3]), plain.similar_items([3]))
    assert_frame_equal(biased.similar_users([3]), plain.similar_users([3]))


def test_new_users_are_folded_in_by_ridge_regression(interactions):
    for bias in (None, BIAS):
        model = cf.FactorModel.from_vectors(USERS, ITEMS, interactions, item_bias=bias, regularization=0.3)
        v = ITEMS if bias is None else np.column_stack([ITEMS, BIAS])
        history = np.isin(np.arange(40), [3, 8, 21]).astype(float)
        ridge = 0.3 * np.square(v).sum() / v.shape[1]
        p = np.linalg.lstsq(
            np.vstack([v, np.sqrt(ridge) * np.eye(v.shape[1])]), np.append(history, np.zeros(v.shape[1])), rcond=None
        )[0]
        rows = {"user_id": [1, 1, 1], "item_id": [3, 8, 21], "weight": [1.0, 7.0, 0.5]}
        found = model.recommend_for(rows, k=40, exclude_seen=False).sort("item_id")
        np.testing.assert_allclose(found["score"], v @ p, rtol=1e-4, atol=1e-6)


@given(st.integers(0, 99))
def test_unregularized_fold_in_asks_nothing_of_scale_and_turn(seed):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0] * rng.uniform(0.3, 3, 5)
    one, other = (cf.FactorModel.from_vectors(USERS, items, regularization=0) for items in (ITEMS, ITEMS @ turn))
    history = {"user_id": [1, 1], "item_id": [3, 8]}
    scores = [m.recommend_for(history, k=40, exclude_seen=False).sort("item_id")["score"] for m in (one, other)]
    np.testing.assert_allclose(*scores, rtol=1e-3, atol=1e-4)


def test_the_vectors_of_a_model_of_here_give_its_lists(interactions):
    svd = cf.PureSVD(6, weights="binary").fit(interactions)
    model = cf.FactorModel.from_vectors(svd.user_factors_, svd.item_factors_, interactions, regularization=0)
    assert_frame_equal(model.recommend(), svd.recommend(), rel_tol=1e-4)
    rows = {"user_id": [1, 1], "item_id": [3, 8]}
    assert_frame_equal(model.recommend_for(rows), svd.recommend_for(rows), rel_tol=1e-3, abs_tol=1e-5)


@pytest.mark.parametrize("items", [np.zeros((4, 3)), np.ones((4, 3)), np.eye(4, 9)])
@pytest.mark.parametrize("regularization", [0, 1.0])
def test_vectors_that_tell_little_are_no_error(items, regularization):
    users = np.ones((2, items.shape[1]))
    model = cf.FactorModel.from_vectors(users, items, regularization=regularization)
    table = model.recommend_for({"user_id": [1], "item_id": [2]}, exclude_seen=False)
    assert table["score"].is_finite().all()


# Whose vectors they are


def test_ids_say_whose_vectors_they_are():
    users, items = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.2, 1.0], [1.0, 0.0], [0.5, 0.5]])
    seen = {"user_id": ["bo"], "item_id": ["hat"]}
    model = cf.FactorModel.from_vectors(users, items, seen, user_ids=["cy", "bo"], item_ids=["tea", "hat", "mug"])
    assert model.recommend(["cy"])["item_id"].to_list() == ["hat", "mug", "tea"]
    assert model.recommend(["bo"])["item_id"].to_list() == ["tea", "mug"]  # the hat was seen
    assert model.recommend(["bo"], exclude_seen=False)["item_id"].to_list() == ["tea", "mug", "hat"]
    without = cf.FactorModel.from_vectors(users, items)
    assert without.recommend([1])["item_id"].to_list() == [0, 2, 1]  # nobody has seen anything


def test_users_without_a_vector_are_folded_in(interactions):
    model = cf.FactorModel.from_vectors(USERS[:50], ITEMS, interactions, user_ids=range(50))
    assert model.interactions_.n_users == 60
    np.testing.assert_array_equal(model.user_factors_[:50], USERS[:50].astype(np.float32))
    new = interactions.to_frame().filter(pl.col("user_id") >= 50)
    assert_frame_equal(model.recommend(range(50, 60)), model.recommend_for(new))


def test_fit_keeps_the_vectors_and_takes_over_what_was_seen(model, interactions):
    other = interactions.to_frame().filter(pl.col("user_id") < 20)
    again = cf.FactorModel.from_vectors(USERS, ITEMS, interactions)
    before = again.recommend([3], k=40, exclude_seen=False)
    again.fit(other.with_columns(pl.col("user_id") + 1))
    assert again.interactions_.users.ids.to_list() == list(range(1, 21))
    kept = before.filter(pl.col("item_id").is_in(again.interactions_.items.ids.implode())).drop("rank")
    assert_frame_equal(again.recommend([3], k=40, exclude_seen=False).drop("rank"), kept)
    wrong = pl.DataFrame({"user_id": [1, 1], "item_id": [999, 3]})
    with pytest.raises(cf.DataError, match=r"interactions: 1 of 2 items have no vector, the first is 999; leave them"):
        again.fit(wrong)
    assert again.interactions_.n_users == 20
    with pytest.raises(cf.ParameterError, match=r"trains no vectors; make it with FactorModel\.from_vectors"):
        cf.FixedFactors().fit(interactions)


def test_it_stands_among_other_models(model, interactions):
    test = interactions.to_frame().sample(50, seed=1)
    table = cf.compare({"fixed": model, "popular": cf.Popular()}, interactions, test, exclude_seen=False)
    assert table.filter(pl.col("model") == "fixed")["ndcg@10"].item() > 0
    chain = cf.Fallback(cf.FactorModel.from_vectors(USERS, ITEMS), cf.Popular()).fit(interactions)
    assert_frame_equal(chain.recommend(k=3), model.recommend(k=3))


def test_vectors_are_copied(interactions):
    users = USERS.astype(np.float32)
    model = cf.FactorModel.from_vectors(users, ITEMS, interactions)
    users[:] = 0
    np.testing.assert_array_equal(model.user_factors_, USERS.astype(np.float32))


class Tensor:
    """What torch's look like to NumPy."""

    def __init__(self, array, error=None):
        self.array, self.error = array, error

    def __array__(self, dtype=None, copy=None):
        if self.error:
            raise self.error
        return self.array


@pytest.mark.parametrize("form", [np.float16, np.float32, ">f8", list, np.asfortranarray, Tensor])
def test_vectors_of_any_floating_form(model, form):
    make = form if callable(form) and not isinstance(form, type(np.float16)) else lambda a: a.astype(form)
    make = (lambda a: a.tolist()) if form is list else Tensor if form is Tensor else make
    other = cf.FactorModel.from_vectors(make(USERS), make(ITEMS), model.interactions_)
    np.testing.assert_allclose(other.user_factors_, model.user_factors_, atol=1e-2)
    assert other.item_factors_.dtype == np.float32


# What is refused

BAD = USERS.copy()
BAD[7, 2] = np.nan
REFUSED = {
    "whole numbers": (
        {"users": np.ones((60, 5), int)},
        r"users: an array \(n, factors\) of .*int64 .*; cast it to flo",
    ),
    "text": (
        {"items": np.full((40, 5), "a")},
        r"items: an array \(n, factors\) of floating numbers is expected, got <U1",
    ),
    "one axis": ({"items": ITEMS[:, 0]}, r"items: .* is expected, got float64 of shape \(40,\)"),
    "no numbers": (
        {"users": USERS[:, :0], "items": ITEMS[:, :0]},
        r"users: vectors have no numbers, the shape is \(60",
    ),
    "other lengths": (
        {"items": ITEMS[:, :3]},
        "users have vectors of 5 numbers and items of 3; a score is the product",
    ),
    "NaN": ({"users": BAD}, "users: row 7 holds nan, which is no finite number in float32"),
    "beyond float32": ({"items": ITEMS * 1e60}, r"items: row 0 holds .*e\+\d\d, which is no finite number in float32"),
    "products beyond float32": (
        {"users": USERS * 1e20, "items": ITEMS * 1e20},
        "users and items have numbers whose products reach .*; divide one of them",
    ),
    "too few users": (
        {"users": USERS[:59]},
        "users has 59 vectors, but interactions has 60 users; give one for each in",
    ),
    "too few ids": ({"item_ids": range(39)}, "item_ids has 39 ids for 40 vectors; give one for each"),
    "an id twice": ({"item_ids": [*range(39), 3]}, "item_ids: 2 ids occur more than once, the first is 3"),
    "no vector of some": (
        {"item_ids": range(2, 42)},
        "2 of 42 items have no vector, the first is 0; leave them out, or",
    ),
    "ids of another type": (
        {"user_ids": [str(i) for i in range(60)]},
        "users: ids of String are added to ids of Int64",
    ),
    "a bias too short": ({"item_bias": BIAS[:9]}, "item_bias has 9 numbers for 40 items; give one for each"),
    "a bias of two axes": (
        {"item_bias": ITEMS},
        r"item_bias: an array \(n,\) of floating numbers is expected, got floa",
    ),
    "ragged": ({"users": [[1.0], [1.0, 2.0]]}, "users: .* is expected, got list: .*"),
    "a tensor with gradients": (
        {"users": Tensor(None, RuntimeError("Can't call numpy() on Tensor that requires grad."))},
        r"got Tensor: Can't call .* \(a tensor of torch: tensor\.detach\(\)\.float\(\)\.cpu\(\)\.numpy\(\)\)",
    ),
    "regularization": ({"regularization": -1}, "regularization must be a finite number of at least 0, got -1"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_is_an_error_that_tells_the_way_out(kind, interactions):
    change, message = REFUSED[kind]
    with pytest.raises((cf.DataError, cf.ParameterError), match=message):
        cf.FactorModel.from_vectors(**{"users": USERS, "items": ITEMS, "interactions": interactions, **change})


def test_a_saved_model_that_contradicts_itself_is_an_error(interactions, tmp_path):
    for n_biases, factors in ((2, 5), (-1, 5), (1, 1), (0.5, 5)):
        model = cf.FactorModel.from_vectors(USERS[:, :factors], ITEMS[:, :factors], interactions)
        model.n_biases_ = n_biases
        model.save(tmp_path / "model")
        with pytest.raises(cf.ArtifactError, match="is damaged: DataError n_biases_ is"):
            cf.load(tmp_path / "model")


def test_a_user_whose_vector_is_nothing_gets_no_list():
    model = cf.FactorModel.from_vectors(np.array([[0.0], [1.0]]), np.ones((3, 1)))
    assert model.recommend()["user_id"].unique().to_list() == [1]
    assert cf.FactorModel.from_vectors(np.empty((0, 2)), np.ones((3, 2))).recommend().is_empty()
