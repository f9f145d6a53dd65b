"""Models that rank by an index are the models that they were."""

from functools import partial

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from halves import Halves

MODELS = [
    lambda x: cf.ImplicitALS(8, iterations=2, seed=0).fit(x, progress=False),
    lambda x: cf.PureSVD(6).fit(x, progress=False),
    lambda x: cf.FactorModel.from_vectors(
        np.random.default_rng(0).standard_normal((x.n_users, 5)),
        np.random.default_rng(1).standard_normal((x.n_items, 5)),
        x,
        item_bias=np.linspace(-1, 1, x.n_items),
    ),
]


@pytest.mark.parametrize("fit", MODELS)
def test_tables_are_those_of_the_model(interactions, fit):
    model = fit(interactions)
    fast = cf.retrieval.indexed(model)
    x = interactions
    some = x.items.ids[:15]
    pairs = pl.DataFrame({"user_id": x.users.ids[:9], "item_id": x.items.ids[1:10]})
    assert type(fast) is type(model)
    assert_frame_equal(fast.recommend(k=7), model.recommend(k=7))
    options = {"k": 7, "exclude_seen": False, "items": some, "exclude": pairs}
    assert_frame_equal(fast.recommend(x.users.ids[3:20], **options), model.recommend(x.users.ids[3:20], **options))
    assert_frame_equal(fast.recommend_for(pairs, k=4), model.recommend_for(pairs, k=4))
    assert_frame_equal(fast.similar_items(k=5), model.similar_items(k=5))
    assert_frame_equal(fast.predict(pairs), model.predict(pairs))


def test_saved_as_the_model(interactions, tmp_path):
    model = MODELS[0](interactions)
    cf.retrieval.indexed(model).save(tmp_path / "model")
    assert_frame_equal(cf.load(tmp_path / "model").recommend(k=3), model.recommend(k=3))


@pytest.mark.parametrize("fit", MODELS[:2])
def test_fitted_again_it_does_not_rank_by_the_old_index(interactions, fit):
    fast = cf.retrieval.indexed(fit(interactions))
    fast.recommend(k=3)
    fast.similar_items(k=3)
    rng = np.random.default_rng(0)
    pairs = pl.DataFrame({"user_id": rng.integers(0, 30, 300), "item_id": rng.integers(0, 25, 300)})
    other = cf.read_events(pairs, user="user_id", item="item_id").interactions()
    fast.fit(other, progress=False)
    wanted = fit(other)
    assert_frame_equal(fast.recommend(k=3), wanted.recommend(k=3))
    assert_frame_equal(fast.similar_items(k=3), wanted.similar_items(k=3))


def test_an_index_is_of_one_array(interactions):
    model = MODELS[0](interactions)
    fast = cf.retrieval.indexed(model)
    fast.recommend(k=3)
    fast.item_factors_ = model.item_factors_[::-1].copy()
    model.item_factors_ = fast.item_factors_
    assert_frame_equal(fast.recommend(k=3), model.recommend(k=3))


def test_any_index(interactions):
    model = MODELS[0](interactions)
    made = []

    def make(vectors, **options):
        made.append(options)
        return cf.retrieval.ApproximateIndex(vectors, library=Halves, **options)

    fast = cf.retrieval.indexed(model, make)
    assert made == []
    assert_frame_equal(fast.recommend(k=3), model.recommend(k=3), rel_tol=1e-5)
    fast.recommend(k=3)
    assert made == [{"threads": None, "metric": "inner_product"}]
    assert len(cf.retrieval.indexed(model, partial(cf.retrieval.ExactIndex)).recommend(k=1))


@pytest.mark.parametrize("make", [cf.Blend, cf.Fallback, cf.HistoryRerank])
def test_models_made_of_models(interactions, make):
    """Those of factors among them rank by indexes, at any depth; the others are the same ones."""
    asked = []

    def counted(vectors, **options):
        asked.append(options["metric"])
        return cf.retrieval.ExactIndex(vectors, **options)

    factors = cf.ImplicitALS(8, iterations=2, seed=0)
    inner = factors if make is cf.HistoryRerank else cf.Fallback(factors, cf.Popular())
    model = make(inner, cf.ItemKNN()).fit(interactions, progress=False)
    fast = cf.retrieval.indexed(model, counted)
    assert asked == []
    assert_frame_equal(fast.recommend(k=7, exclude_seen=False), model.recommend(k=7, exclude_seen=False))
    assert asked
    n = len(asked)
    model.recommend(k=3)
    assert len(asked) == n
    assert fast.models[1] is model.models[1]
    assert type(fast) is make


def test_what_cannot_be_indexed_is_refused(interactions):
    with pytest.raises(cf.ParameterError, match="model must be a model of factors"):
        cf.retrieval.indexed(cf.Popular().fit(interactions, progress=False))
    with pytest.raises(cf.NotFittedError):
        cf.retrieval.indexed(cf.ImplicitALS(8))
    with pytest.raises(cf.NotFittedError):
        cf.retrieval.indexed(cf.Fallback(cf.ImplicitALS(8), cf.Popular()))
    with pytest.raises(cf.ParameterError, match="has none"):
        cf.retrieval.indexed(cf.Fallback(cf.ItemKNN(), cf.Popular()).fit(interactions, progress=False))
    with pytest.raises(cf.ParameterError, match="model must be a model of factors"):
        cf.retrieval.indexed("als")
