"""Features pass through models that are made of models to those that learn from them."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf

FILMS = pl.DataFrame({"item_id": range(40), "genre": [f"g{n % 3}" for n in range(40)]})
PEOPLE = pl.DataFrame({"user_id": range(70), "age": [n % 7 for n in range(70)]})
TABLES = {"item_features": FILMS, "user_features": PEOPLE}


@pytest.fixture(scope="module")
def log():
    return cf.datasets.synthetic(n_users=60, n_items=30, n_interactions=900, factors=2, seed=0)


def mf():
    return cf.SampledMF(4, loss="bpr", score="dot", learning_rate=0.05, epochs=5, seed=1)


WHOLES = {
    "Fallback": lambda: cf.Fallback(cf.PersonalPopular(), mf()),
    "Blend": lambda: cf.Blend(mf(), cf.Popular()),
    "HistoryRerank": lambda: cf.HistoryRerank(cf.ItemKNN(), mf(), neighbours=5),
    "inside another": lambda: cf.Fallback(cf.Blend(mf(), cf.Popular()), cf.Random(seed=1)),
}


@pytest.mark.parametrize("name", WHOLES)
def test_models_that_learn_from_features_get_them(log, name, tmp_path):
    whole = WHOLES[name]().fit(log, **TABLES)
    assert (whole.interactions_.n_users, whole.interactions_.n_items) == (70, 40)
    alone = mf().fit(log, **TABLES)
    inside = next(
        one for model in whole.models for one in (model, *getattr(model, "models", ())) if type(one) is type(alone)
    )
    assert_frame_equal(inside.recommend(k=5), alone.recommend(k=5))
    without = WHOLES[name]().fit(log)
    known = log.users.ids.head(20)
    assert not whole.recommend(known, k=5).equals(without.recommend(known, k=5))
    whole.save(tmp_path / "m")
    assert_frame_equal(cf.load(tmp_path / "m").recommend(k=5), whole.recommend(k=5))


def test_what_has_features_alone_is_recommended(log):
    whole = cf.Blend(mf(), cf.Popular()).fit(log, **TABLES)
    new = whole.recommend([65], k=10)  # a user of whom only the age is known
    assert new.height == 10
    assert set(range(30, 40)) & set(whole.recommend(k=40)["item_id"])


@pytest.mark.parametrize("name", WHOLES)
@pytest.mark.parametrize("of", ["item_features", "user_features"])
def test_bad_tables_leave_the_model_as_it_was(log, name, of):
    whole = WHOLES[name]().fit(log)
    before = whole.recommend(k=3)
    for bad in (FILMS.rename({"item_id": "film"}), 5, pl.DataFrame({"item_id": ["a"], "user_id": ["b"]})):
        with pytest.raises(cf.CofactorError, match=of):
            whole.fit(log, **{of: bad})
    assert_frame_equal(whole.recommend(k=3), before)


def test_features_that_no_model_learns_from(log):
    for whole in (cf.Fallback(cf.PersonalPopular(), cf.Popular()), cf.HistoryRerank(cf.ItemKNN())):
        with pytest.raises(cf.ParameterError, match=r"item_features: no model of .* learns from it; leave it out"):
            whole.fit(log, item_features=FILMS)


def test_a_comparison_and_a_search_know_which_can(log):
    train, test = log, log.to_frame().head(50)
    options = {"exclude_seen": False, "progress": False}
    blend, plain = cf.Blend(mf(), cf.Popular()), cf.Blend(cf.EASE(), cf.Popular())
    board = cf.compare({"blend": blend}, train, test, "recall@5", fit_options={"blend": TABLES}, **options)
    own = cf.Blend(mf(), cf.Popular()).fit(log, **TABLES)
    assert board["recall@5"].item() == cf.evaluate(own, test, "recall@5", exclude_seen=False)["value"].item()
    with pytest.raises(
        cf.ParameterError, match="fit of Blend takes no 'item_features'; it takes the training data alone"
    ):
        cf.compare({"plain": plain}, train, test, fit_options={"plain": TABLES})
    study = cf.tune(blend, train, space={"SampledMF.factors": [2, 4]}, method="grid", fit_options=TABLES, **options)
    assert study.refit().models[0].item_features_ is not None
