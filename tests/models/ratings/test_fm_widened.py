"""Users and items that are described after the fit: what a table says of them, and what it must not say."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf

GENRES, TOWNS = 6, 4
OLD_ITEMS, OLD_USERS = 90, 150
N_ITEMS, N_USERS = 120, 200
NOISE = 0.4


def planted(seed=0):
    """Ratings by genres and towns, and the tables of all users and items: the last of both have no ratings."""
    rng = np.random.default_rng(seed)
    towns, genres = rng.integers(TOWNS, size=N_USERS), rng.integers(GENRES, size=N_ITEMS)
    liked = rng.normal(0, 0.9, (TOWNS, GENRES)) + rng.normal(0, 0.6, GENRES)
    dense = 3 + liked[np.ix_(towns, genres)] + rng.normal(0, 0.2, (N_USERS, 1)) + rng.normal(0, 0.2, N_ITEMS)
    dense += rng.normal(0, NOISE, dense.shape)
    users, items = np.nonzero(rng.random(dense.shape) < 0.3)
    table = pl.DataFrame({"user_id": users, "item_id": items, "rating": dense[users, items]})
    people = pl.DataFrame({"user_id": range(N_USERS), "town": [f"town {t}" for t in towns], "age": towns * 10.0})
    films = pl.DataFrame({"item_id": range(N_ITEMS), "genre": [[f"genre {g}"] for g in genres]})
    return table, people, films


TABLE, PEOPLE, FILMS = planted()
OLD = TABLE.filter((pl.col("user_id") < OLD_USERS) & (pl.col("item_id") < OLD_ITEMS))
KNOWN = {"user_features": PEOPLE.head(OLD_USERS), "item_features": FILMS.head(OLD_ITEMS)}
NEW = {"user_features": PEOPLE.tail(N_USERS - OLD_USERS), "item_features": FILMS.tail(N_ITEMS - OLD_ITEMS)}
NEW_PAIRS = {
    "films": TABLE.filter((pl.col("user_id") < OLD_USERS) & (pl.col("item_id") >= OLD_ITEMS)),
    "users": TABLE.filter((pl.col("user_id") >= OLD_USERS) & (pl.col("item_id") < OLD_ITEMS)),
    "both": TABLE.filter((pl.col("user_id") >= OLD_USERS) & (pl.col("item_id") >= OLD_ITEMS)),
}


def fitted(**options):
    return cf.FactorizationMachine(4, **{"iterations": 90, "samples": 30} | options).fit(OLD, **KNOWN)


@pytest.fixture(scope="module")
def model():
    return fitted()


def rmse(found, wanted):
    return float(np.sqrt(((found - wanted) ** 2).mean()))


@pytest.mark.parametrize("new", ["films", "users", "both"])
def test_a_description_after_the_fit_makes_predictions_better(model, new):
    pairs = NEW_PAIRS[new]
    with pytest.warns(cf.CofactorWarning, match="not in the training data"):
        without = rmse(model.predict(pairs)["rating"], pairs["rating"])
    found = model.predict(pairs, **NEW)
    assert rmse(found["rating"], pairs["rating"]) < min(0.7 * without, 1.3 * NOISE)
    assert rmse(found["std"], 0) > 0.9 * rmse(found["rating"], pairs["rating"])


@pytest.mark.parametrize("options", [{"method": "als"}, {"method": "als", "implicit": True}], ids=str)
def test_described_later_is_described_at_the_fit(options):
    """By "als" who has no ratings is rated by features alone, whether the table came before or after."""
    both = {
        "user_features": pl.concat([KNOWN["user_features"], NEW["user_features"].head(1)]),
        "item_features": pl.concat([KNOWN["item_features"], NEW["item_features"].head(1)]),
    }
    model = cf.FactorizationMachine(4, iterations=8, **options).fit(OLD, **both)
    twins = {
        "user_features": both["user_features"].tail(1).with_columns(user_id=pl.lit(-5, pl.Int64)),
        "item_features": both["item_features"].tail(1).with_columns(item_id=pl.lit(10**6, pl.Int64)),
    }
    at_fit = pl.DataFrame({"user_id": [OLD_USERS, 3, OLD_USERS], "item_id": [7, OLD_ITEMS, OLD_ITEMS]})
    later = pl.DataFrame({"user_id": [-5, 3, -5], "item_id": [7, 10**6, 10**6]})
    found = model.predict(later, **twins)["rating"]
    assert found.to_numpy() == pytest.approx(model.predict(at_fit)["rating"].to_numpy(), abs=1e-5)


@pytest.mark.parametrize("task", ["regression", "ordinal"])
def test_spread_and_rating_are_those_of_the_fit(task):
    """Sampled ids of the fit and the priors of described ones, of the same features: the same but for chance."""
    levels = (pl.col("rating").clip(1, 5).round() if task == "ordinal" else pl.col("rating")).alias("rating")
    model = cf.FactorizationMachine(4, task=task, iterations=450, samples=300).fit(
        OLD.with_columns(levels), user_features=PEOPLE, item_features=FILMS
    )
    later = {
        "user_features": NEW["user_features"].with_columns(pl.col("user_id") + 1000),
        "item_features": NEW["item_features"].with_columns(pl.col("item_id") + 1000),
    }
    for new, pairs in NEW_PAIRS.items():
        moved = [
            pl.col("user_id") + 1000 * (new != "films"),
            pl.col("item_id") + 1000 * (new != "users"),
        ]
        at_fit, described = model.predict(pairs), model.predict(pairs.with_columns(moved), **later)
        assert rmse(described["rating"], at_fit["rating"]) < 0.05
        assert described["std"].mean() == pytest.approx(at_fit["std"].mean(), rel=0.02)
        assert np.corrcoef(described["std"], at_fit["std"])[0, 1] > 0.9


def test_lists_hold_what_is_new_and_agree_with_predictions(model):
    wide = model.widened(**NEW)
    found = model.recommend([3, N_USERS - 1], k=N_ITEMS, **NEW)
    assert_frame_equal(found, wide.recommend([3, N_USERS - 1], k=N_ITEMS))
    assert found["item_id"].n_unique() == N_ITEMS
    rated = wide.predict(found.select("user_id", "item_id"))["rating"]
    assert rated.to_numpy() == pytest.approx(found["score"].to_numpy(), abs=1e-4)
    with pytest.raises(cf.UnknownIdError):
        model.recommend([N_USERS - 1])
    only = model.recommend([3], k=2, items=NEW["item_features"]["item_id"], item_features=NEW["item_features"])
    assert only["item_id"].min() >= OLD_ITEMS
    near = wide.similar_items([N_ITEMS - 1], k=5)["similar_item_id"]
    genre = dict(FILMS.iter_rows())
    assert all(genre[item] == genre[N_ITEMS - 1] for item in near)


def test_a_widened_model_is_one_to_save_and_the_first_stays(model, tmp_path):
    before = model.predict(OLD.head(50))
    wide = model.widened(**NEW)
    wide.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    pairs = NEW_PAIRS["both"]
    assert_frame_equal(loaded.predict(pairs), wide.predict(pairs))
    assert_frame_equal(model.predict(OLD.head(50)), before)
    assert model.interactions_.n_items == OLD_ITEMS
    assert_frame_equal(wide.predict(OLD.head(50)), before)
    again = model.widened(user_features=NEW["user_features"]).widened(item_features=NEW["item_features"])
    assert_frame_equal(again.predict(pairs), wide.predict(pairs))
    assert_frame_equal(model.answering().predict(pairs, **NEW), wide.predict(pairs))


@pytest.mark.parametrize("implicit", [False, True])
def test_new_users_are_told_by_their_features_and_their_ratings(implicit):
    model = fitted(method="als", iterations=12, implicit=implicit)
    people = NEW["user_features"]
    pairs = NEW_PAIRS["users"]
    few = pairs.group_by("user_id", maintain_order=True).head(2)
    rest = pairs.join(few, on=["user_id", "item_id"], how="anti")

    def error(**features):
        lists = model.recommend_for(few, k=OLD_ITEMS, **features)
        told = rest.join(lists, on=["user_id", "item_id"])
        assert len(told) == len(rest)
        return rmse(told["score"], told["rating"])

    assert error(user_features=people) < 0.8 * error()


def test_who_rated_nothing_known_is_described_alone(model):
    user = NEW["user_features"].head(1)
    history = pl.DataFrame({"user_id": user["user_id"], "item_id": [10**6], "rating": [4.0]})
    with pytest.warns(cf.CofactorWarning, match="not in the training data"):
        found = model.recommend_for(history, k=OLD_ITEMS, user_features=user)
    alone = model.recommend(user["user_id"], k=OLD_ITEMS, user_features=user)
    both = found.join(alone, on=["user_id", "item_id"])
    assert both["score"].to_numpy() == pytest.approx(both["score_right"].to_numpy(), abs=1e-3)


def test_new_items_may_be_in_histories(model):
    film = NEW["item_features"].head(1)
    low, high = (
        model.recommend_for(
            pl.DataFrame({"user_id": [1, 1], "item_id": [0, film["item_id"][0]], "rating": [3.0, stars]}),
            k=OLD_ITEMS,
            item_features=film,
        )
        for stars in (1.0, 5.0)
    )
    assert film["item_id"][0] not in low["item_id"]
    assert high["score"].mean() > low["score"].mean()


def test_of_whom_nothing_is_known_stays_unknown(model):
    strange = pl.DataFrame({"item_id": [500, 501], "genre": [["genre 1", "opera"], ["opera"]]})
    pairs = pl.DataFrame({"user_id": [3, 3], "item_id": [500, 501]})
    with pytest.warns(cf.CofactorWarning) as told:
        found = model.predict(pairs, item_features=strange)
    messages = " ".join(str(one.message) for one in told)
    assert "values that were not there when features were learned are none: 2 of genre" in messages
    assert "of 1 of 2 new items no feature is known, so that they stay unknown" in messages
    with pytest.warns(cf.CofactorWarning):
        assert found["rating"][1] == model.predict(pairs)["rating"][1]
    assert found["rating"][0] != found["rating"][1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pl.concat([NEW["item_features"].head(1)] * 2), "item_features: 2 rows share their item_id"),
        (pl.DataFrame({"item_id": [500]}), "item_features: no column genre"),
        (pl.DataFrame({"item_id": [500, None], "genre": [["genre 1"]] * 2}), "null"),
        (pl.DataFrame({"item_id": [500], "genre": [3.0]}), "item_features: column 'genre' holds numbers"),
        (pl.DataFrame({"film": [500], "genre": [["genre 1"]]}), "item_features"),
        (pl.DataFrame({"item_id": ["x"], "genre": [["genre 1"]]}), "item_features"),
    ],
)
def test_bad_tables_are_told(model, table, message):
    for ask in (model.predict, model.recommend_for):
        with pytest.raises(cf.DataError, match=message):
            ask(OLD, item_features=table)


@pytest.mark.parametrize("age", [None, float("nan"), float("inf")])
def test_numbers_that_are_none_are_told(model, age):
    people = pl.DataFrame({"user_id": [900], "town": ["town 1"], "age": [age]}, schema_overrides={"age": pl.Float64})
    with pytest.raises(cf.DataError, match="user_features: column 'age' is"):
        model.predict(OLD, user_features=people)
    history = pl.DataFrame({"user_id": [900], "item_id": [3], "rating": [4.0]})
    with pytest.raises(cf.DataError, match="user_features: column 'age' is"):
        model.recommend_for(history, user_features=people)


def test_a_model_without_features_says_so(tmp_path):
    bare = cf.FactorizationMachine(2, method="sgd", iterations=2).fit(OLD)
    for name, table in NEW.items():
        with pytest.raises(cf.ParameterError, match=f"{name}: this FactorizationMachine was fitted without"):
            bare.predict(OLD, **{name: table})
    with pytest.raises(cf.NotFittedError):
        cf.FactorizationMachine().widened(item_features=NEW["item_features"])
    model = fitted(iterations=6, samples=2)
    del model.item_feature_samples_, model.item_prior_means_, model.item_prior_precisions_
    model.save(tmp_path / "model")
    old = cf.load(tmp_path / "model")
    with pytest.raises(cf.ParameterError, match=r"item_features: .* from a file of before"):
        old.predict(OLD, item_features=NEW["item_features"])


def test_context_goes_with_descriptions():
    """Ratings are two higher in the evening."""
    log = OLD.with_columns(hour=pl.col("user_id") * 7 + pl.col("item_id")).with_columns(
        hour=pl.when(pl.col("hour") % 2 == 0).then(pl.lit("evening")).otherwise(pl.lit("day"))
    )
    log = log.with_columns(rating=pl.col("rating") + 2 * (pl.col("hour") == "evening"))
    model = cf.FactorizationMachine(4, context=["hour"], iterations=60, samples=20).fit(log, **KNOWN)
    pairs = NEW_PAIRS["both"]
    for hour, higher in (("day", 0), ("evening", 2)):
        found = model.predict(pairs.with_columns(hour=pl.lit(hour)), **NEW)
        assert rmse(found["rating"], pairs["rating"] + higher) < 1.4 * NOISE


@pytest.mark.parametrize("method", ["mcmc", "als"])
def test_probabilities_of_two_values_are_told_by_descriptions(method):
    two = (pl.col("rating") > 3).cast(pl.Float32)
    model = cf.FactorizationMachine(3, task="classification", method=method, iterations=60, samples=20)
    model.fit(OLD.with_columns(two), **KNOWN)
    for pairs in NEW_PAIRS.values():
        found = cf.evaluate(model.widened(**NEW), pairs.with_columns(two), "roc_auc", n_bootstrap=0)
        assert found["value"].item() > 0.8


def test_an_empty_table_adds_nobody(model):
    for table in (FILMS.head(0), FILMS.head(3)):
        assert_frame_equal(model.predict(OLD.head(9), item_features=table), model.predict(OLD.head(9)))
