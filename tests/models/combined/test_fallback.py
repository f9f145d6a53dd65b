import polars as pl
import pytest

import cofactor as cf

LOG = pl.DataFrame({"user_id": [1, 1, 2, 3, 3], "item_id": [10, 20, 20, 30, 20], "weight": [1.0, 2.0, 1.0, 4.0, 1.0]})


@pytest.fixture
def log():
    return cf.Interactions.from_frame(LOG, weight="weight")


@pytest.fixture
def model(log):
    return cf.Fallback(cf.PersonalPopular(), cf.Popular()).fit(log)


def test_the_second_fills_what_the_first_leaves(model):
    table = model.recommend(exclude_seen=False, k=3)
    assert table.select("user_id", "item_id", "score").rows() == [
        *[(1, 20, 2.0), (1, 10, 1.0), (1, 30, 1.0)],
        *[(2, 20, 1.0), (2, 10, 1.0), (2, 30, 1.0)],
        *[(3, 30, 4.0), (3, 20, 1.0), (3, 10, 1.0)],
    ]


def test_a_full_list_is_the_first_models(model, log):
    first = cf.PersonalPopular().fit(log)
    assert model.recommend(k=1, exclude_seen=False).equals(first.recommend(k=1, exclude_seen=False))


def test_filters_hold_for_every_model_of_the_chain(model):
    assert model.recommend()["item_id"].to_list() == [30, 10, 30, 10]
    assert model.recommend(items=[30])["user_id"].to_list() == [1, 2]
    exclude = pl.DataFrame({"user_id": [1, 2], "item_id": [30, 10]})
    assert model.recommend(exclude=exclude).select("user_id", "item_id").rows() == [(2, 30), (3, 10)]


def test_new_users(model):
    histories = pl.DataFrame({"user_id": ["x", "y"], "item_id": [30, 10]})
    table = model.recommend_for(histories, k=2, exclude_seen=False)
    assert table.select("user_id", "item_id").rows() == [("x", 30), ("x", 20), ("y", 10), ("y", 20)]


def test_chains_of_chains(log, tmp_path):
    model = cf.Fallback(
        cf.Fallback(cf.PersonalPopular(), cf.ImplicitALS(factors=2, iterations=2)), cf.Popular(), cf.Random(seed=4)
    ).fit(log)
    model.save(tmp_path / "chain")
    loaded = cf.load(tmp_path / "chain")
    assert repr(loaded) == repr(model)
    assert loaded.recommend(exclude_seen=False).equals(model.recommend(exclude_seen=False))


@pytest.mark.parametrize("models", [(), (cf.Popular(),), (cf.Popular(), "popular")])
def test_it_takes_two_models(log, models):
    with pytest.raises(cf.ParameterError, match="Fallback needs at least two models that recommend, got"):
        cf.Fallback(*models).fit(log)


def test_scores_and_similar_items_are_the_first_models(log):
    als = cf.ImplicitALS(factors=2, iterations=2)
    model = cf.Fallback(als, cf.Popular()).fit(log)
    assert model.predict(LOG).equals(als.predict(LOG))
    assert model.similar_items().equals(als.similar_items())
