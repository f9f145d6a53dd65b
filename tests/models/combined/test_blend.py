import polars as pl
import pytest

import cofactor as cf

LOG = pl.DataFrame(
    {
        "user_id": [1, 1, 1, 2, 2, 3],
        "item_id": [10, 20, 30, 20, 40, 40],
        "weight": [5.0, 2.0, 1.0, 1.0, 4.0, 1.0],
    }
)


@pytest.fixture
def log():
    return cf.Interactions.from_frame(LOG, weight="weight")


def rows(table):
    return dict(table.select("item_id", "score").iter_rows())


def test_ranks_are_fused_by_their_reciprocals(log):
    """Own: 10, 20, 30; popular: 20, 40, 10, 30."""
    model = cf.Blend(cf.PersonalPopular(), cf.Popular(), weights=[2, 1]).fit(log)
    table = model.recommend([1], exclude_seen=False)
    wanted = {10: 2 / 61 + 1 / 63, 20: 2 / 62 + 1 / 61, 30: 2 / 63 + 1 / 64, 40: 1 / 62}
    assert rows(table) == pytest.approx(wanted, rel=1e-6)
    assert table["item_id"].to_list() == [10, 20, 30, 40]


def test_scores_are_put_between_0_and_1(log):
    """Own: 5, 2, 1; popular by weight: 10 and 40 have 5, 20 has 3, 30 has 1."""
    model = cf.Blend(cf.PersonalPopular(), cf.Popular("weight"), by="score", weights=(1, 3)).fit(log)
    table = model.recommend([1], exclude_seen=False)
    assert rows(table) == pytest.approx({10: 4.0, 20: 0.25 + 3 * 0.5, 30: 0.0, 40: 3.0})
    assert table["item_id"].to_list() == [10, 40, 20, 30]
    # one item, and equal scores, are worth 1
    alone = cf.Blend(cf.PersonalPopular(), cf.Popular(), by="score").fit(log)
    assert rows(alone.recommend([3], exclude_seen=False)) == pytest.approx({40: 2.0, 20: 1.0, 10: 0, 30: 0})


def test_filters_come_first(log):
    model = cf.Blend(cf.PersonalPopular(), cf.Popular()).fit(log)
    assert rows(model.recommend([1], exclude_seen=False, items=[30, 40])) == pytest.approx(
        {30: 1 / 61 + 1 / 62, 40: 1 / 61}
    )
    exclude = pl.DataFrame({"user_id": [1, 1], "item_id": [10, 20]})
    assert model.recommend([1], exclude_seen=False, exclude=exclude)["item_id"].to_list() == [30, 40]
    assert model.recommend()["user_id"].to_list() == [1, 2, 2, 3, 3, 3]


def test_depth_bounds_what_is_blended(log):
    model = cf.Blend(cf.PersonalPopular(), cf.Popular(), depth=1).fit(log)
    assert model.recommend([1], k=1, exclude_seen=False)["item_id"].to_list() == [10]  # 10 and 20 tie
    pairs = pl.DataFrame({"user_id": [1, 1, 1], "item_id": [10, 20, 30]})
    assert model.predict(pairs)["score"].to_list() == pytest.approx([1 / 61, 1 / 61, 0])
    assert len(model.recommend([1], k=4, exclude_seen=False)) == 4  # k is longer than depth


def test_new_users_and_similar_items(log):
    model = cf.Blend(cf.PersonalPopular(), cf.Popular()).fit(log)
    table = model.recommend_for(pl.DataFrame({"user_id": ["x"], "item_id": [30]}), exclude_seen=False)
    assert table["item_id"].to_list() == [30, 20, 40, 10]
    with pytest.raises(cf.ParameterError, match="PersonalPopular has no notion of similar items"):
        model.similar_items()
    als = [cf.ImplicitALS(factors=2, iterations=2, seed=seed) for seed in (0, 1)]
    table = cf.Blend(*als).fit(log).similar_items([10], k=2)
    assert table["rank"].to_list() == [1, 2]
    assert 10 not in table["similar_item_id"].to_list()


def test_fitted_models_are_taken_as_they_are(log, tmp_path):
    ones = cf.Interactions.from_frame(LOG)
    own, popular = cf.PersonalPopular().fit(ones), cf.Popular("weight").fit(log)
    model = cf.Blend.fitted(own, popular, by="score", weights=[1, 0.1])
    assert model.interactions_ is ones
    table = model.recommend(exclude_seen=False)
    model.save(tmp_path / "m")
    loaded = cf.load(tmp_path / "m")
    assert loaded.recommend(exclude_seen=False).equals(table)
    assert loaded.models[1].interactions_.user_items.values.tolist() == log.user_items.values.tolist()
    assert loaded.models[0].interactions_ is loaded.interactions_
    loaded.save(tmp_path / "again")
    assert cf.load(tmp_path / "again").recommend(exclude_seen=False).equals(table)
    with pytest.raises(cf.NotFittedError, match="this Popular has not been fitted"):
        cf.Blend.fitted(own, cf.Popular())


def test_models_of_different_catalogues_cannot_be_blended(log):
    popular = cf.Popular().fit(cf.Interactions.from_frame(LOG.filter(pl.col("item_id") != 30)))
    with pytest.raises(cf.ParameterError, match=r"PersonalPopular.* knows 4 items, Popular\(.*\) knows 3, and they"):
        cf.Blend.fitted(cf.PersonalPopular().fit(log), popular)
    other = cf.Popular().fit(cf.Interactions.from_frame(LOG.with_columns(user_id=pl.col("user_id") + 1)))
    with pytest.raises(cf.ParameterError, match=r"knows 3 users, .* and they are not the same; fit both on the same"):
        cf.Blend.fitted(cf.PersonalPopular().fit(log), other)


@pytest.mark.parametrize(
    ("models", "parameters", "message"),
    [
        ((), {}, "Blend needs at least two models"),
        ((cf.Popular(),), {}, "Blend needs at least two models"),
        ((cf.Popular(), cf.Popular()), {"weights": [1]}, "weights must be one number for each of 2 models, got"),
        ((cf.Popular(), cf.Popular()), {"weights": [1, 0]}, "weights must be a finite number above 0, got 0"),
        ((cf.Popular(), cf.Popular()), {"weights": "12"}, "weights must be a list of numbers"),
        ((cf.Popular(), cf.Popular()), {"by": "magic"}, "by must be one of 'rank', 'score', got 'magic'"),
        ((cf.Popular(), cf.Popular()), {"depth": 0}, "depth must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_parameters_are_named(log, models, parameters, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.Blend(*models, **parameters).fit(log)
