"""Approximate indexes: recall as measured, filters that keep k, and any library behind the seam."""

import builtins

import numpy as np
import pytest

import cofactor as cf
from cofactor.kernels.filters import Filters
from cofactor.retrieval import InvertedLists
from halves import Halves
from vectors import normal, pattern

METRICS = ["inner_product", "cosine", "euclidean"]


def clustered(n, factors=8):
    rng = np.random.default_rng(0)
    return (4 * normal(rng, 20, factors))[rng.integers(0, 20, n)] + normal(rng, n, factors)


def assert_same(got, wanted):
    np.testing.assert_allclose(got.scores, wanted.scores, rtol=1e-5, atol=1e-5)
    assert np.array_equal(got.rows < 0, wanted.rows < 0)


@pytest.mark.parametrize("metric", METRICS)
def test_the_effort_is_the_least_that_reaches_the_recall(metric):
    items = clustered(3000)
    low = cf.retrieval.ApproximateIndex(items, metric=metric, recall=0.3, library=Halves)
    assert low.effort == 1
    assert 0.3 <= low.recall < 0.7
    high = cf.retrieval.ApproximateIndex(items, metric=metric, recall=0.9, library=Halves)
    assert (high.effort, high.recall) == (2, 1.0)
    assert (high.metric, high.shape) == (metric, (3000, 8))
    exact = cf.retrieval.ExactIndex(items, metric=metric)
    assert_same(high.search(items[:50], 7), exact.search(items[:50], 7))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_allowed", [5, 900, 2900, None])
def test_filters_keep_k(metric, n_allowed):
    rng = np.random.default_rng(0)
    items, queries = clustered(3000), normal(rng, 30, 8)
    items[::50] = 0
    allowed = None if n_allowed is None else np.sort(rng.choice(3000, n_allowed, replace=False)).astype(np.int32)
    filters = Filters(pattern(rng, 30, 3000, 0.01), allowed)
    index = cf.retrieval.ApproximateIndex(items, metric=metric, library=Halves)
    exact = cf.retrieval.ExactIndex(items, metric=metric)
    assert_same(index.search(queries, 5, filters=filters), exact.search(queries, 5, filters=filters))


def test_lists_that_filters_shorten_are_made_by_exact_search():
    """All that the query would find is excluded, and more than the library was asked for."""
    items = clustered(3000)
    best = cf.retrieval.ExactIndex(items).search(items[:1], 40).rows[0]
    filters = Filters(allowed=np.setdiff1d(np.arange(3000), best).astype(np.int32))
    top = cf.retrieval.ApproximateIndex(items, library=Halves).search(items[:1], 5, filters=filters)
    assert_same(top, cf.retrieval.ExactIndex(items).search(items[:1], 5, filters=filters))


def test_a_recall_that_is_out_of_reach_is_told():
    class Half(Halves):
        efforts = (1,)

    with pytest.warns(cf.CofactorWarning, match=r"a recall of 0\.\d+, less than the 0\.98"):
        cf.retrieval.ApproximateIndex(clustered(3000), library=Half)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("library", [Halves, None])
def test_items_without_a_vector_say_nothing_of_the_recall(metric, library):
    """Two thirds of the items, as where most were never in a pair: nothing is nearest to them."""
    items = np.zeros((3000, 8), np.float32)
    items[::3] = clustered(1000)
    index = cf.retrieval.ApproximateIndex(items, metric=metric, recall=0.9, library=library)
    assert index.recall >= 0.9
    assert index.effort < 100
    nothing = cf.retrieval.ApproximateIndex(np.zeros((900, 4)), metric=metric, library=library)
    assert nothing.recall == 1.0
    assert (nothing.search(np.ones((2, 4)), 3).rows < 0).all() == (metric == "cosine")


def test_arguments_are_checked():
    items = clustered(100)
    for options in ({"recall": 1.5}, {"recall_k": 0}, {"exact_below": 2}, {"metric": "dot"}, {"threads": 0}):
        with pytest.raises(cf.ParameterError, match=next(iter(options))):
            cf.retrieval.ApproximateIndex(items, library=Halves, **options)
    for library, told in ((5, "library must be what makes a Library"), (lambda *_: None, "made None, which is no Lib")):
        with pytest.raises(cf.ParameterError, match=told):
            cf.retrieval.ApproximateIndex(items, library=library)
    with pytest.raises(cf.ParameterError, match="holds no item"):
        cf.retrieval.ApproximateIndex(items[:0], library=Halves)
    index = cf.retrieval.ApproximateIndex(items, library=Halves)
    with pytest.raises(cf.ParameterError, match="queries have 3 numbers"):
        index.search(np.ones((1, 3)))
    with pytest.raises(cf.ParameterError, match="exclude has shape"):
        index.search(items[:1], filters=Filters(pattern(np.random.default_rng(0), 2, 100, 0.5)))


@pytest.mark.parametrize("metric", METRICS)
def test_inverted_lists_of_faiss(metric):
    pytest.importorskip("faiss", reason="needs the extra ann")
    items = clustered(20_000)
    index = cf.retrieval.ApproximateIndex(items, metric=metric, recall=0.95, threads=2, library=InvertedLists)
    assert index.recall >= 0.95
    queries = items[::100]
    got, wanted = index.search(queries, 20), cf.retrieval.ExactIndex(items, metric=metric).search(queries, 20)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(got.rows, wanted.rows, strict=True)]) >= 0.9 * 20
    same = got.rows == wanted.rows
    assert same.any()
    np.testing.assert_allclose(got.scores[same], wanted.scores[same], rtol=1e-4, atol=1e-4)


def test_without_faiss_the_extra_is_named(monkeypatch):
    def no_faiss(name, *rest):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *rest)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", no_faiss)
    with pytest.raises(cf.MissingExtraError, match=r"cofactor\[ann\]"):
        cf.retrieval.ApproximateIndex(clustered(100), library=InvertedLists)


@pytest.mark.parametrize("metric", METRICS)
def test_lowered_bounds(metric):
    """They find what was asked for with less effort than exact search, which is their most."""
    rng = np.random.default_rng(1)
    items = clustered(30_000, 24)
    items[7] = 0
    index = cf.retrieval.ApproximateIndex(items, metric=metric, recall=0.9)
    exact = cf.retrieval.ExactIndex(items, metric=metric)
    assert index.recall >= 0.9
    assert index.effort < 100
    queries = items[rng.integers(0, len(items), 300)] + 0.1 * normal(rng, 300, 24)
    got, wanted = index.search(queries, 20), exact.search(queries, 20)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(got.rows, wanted.rows, strict=True)]) >= 0.85 * 20
    assert (np.diff(got.scores, axis=1) <= 0).all()
    best = got.rows[:, 0] == wanted.rows[:, 0]
    assert best.mean() > 0.9
    np.testing.assert_allclose(got.scores[best, 0], wanted.scores[best, 0], rtol=1e-6)
    whole = cf.retrieval.ApproximateIndex(items, metric=metric, recall=0.999)
    assert whole.recall >= index.recall
    assert whole.effort >= index.effort
    filters = Filters(pattern(rng, 300, 30_000, 0.001), np.arange(0, 30_000, 2, dtype=np.int32))
    rows = index.search(queries, 9, filters=filters).rows
    assert (rows >= 0).all()
    assert not (rows % 2).any()


def test_bounds_that_are_not_lowered_are_exact():
    items = clustered(5000, 16)
    exact = cf.retrieval.ExactIndex(items)
    whole, some = (exact.search_lowered(items[:200], 10, share) for share in (1.0, 0.05))
    assert np.array_equal(whole.rows, exact.search(items[:200], 10).rows)
    assert (some.rows == whole.rows).mean() < 1
