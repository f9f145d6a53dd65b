"""Exact indexes against scores of every item, for every metric and filter, saved and loaded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import NO_FILTERS, Filters
from vectors import normal, pattern, whole

METRICS = ["inner_product", "cosine", "euclidean"]


def all_scores(queries, items, metric):
    q, y = np.asarray(queries, np.float64), np.asarray(items, np.float64)
    if metric == "inner_product":
        return q @ y.T
    if metric == "euclidean":
        return -np.linalg.norm(q[:, None] - y[None], axis=2)
    lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(y, axis=1)
    return np.where(lengths > 0, q @ y.T / np.where(lengths > 0, lengths, 1), -np.inf)


def assert_lists(top, scores, k, filters=NO_FILTERS):
    """The best scores, place by place, and of each its item; as many as are left."""
    scores = scores.copy()
    if filters.allowed is not None:
        scores[:, np.setdiff1d(np.arange(scores.shape[1]), filters.allowed)] = -np.inf
    if filters.exclude is not None:
        scores[filters.exclude.row_index(), filters.exclude.indices] = -np.inf
    wanted = -np.sort(-scores, axis=1)[:, : top.rows.shape[1]]
    assert np.array_equal(top.rows >= 0, wanted > -np.inf)
    np.testing.assert_allclose(top.scores, wanted, rtol=1e-5, atol=3e-5)
    at, place = np.nonzero(top.rows >= 0)
    np.testing.assert_allclose(top.scores[at, place], scores[at, top.rows[at, place]], rtol=1e-5, atol=3e-5)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in top.rows)


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items, factors = draw(st.integers(1, 40)), draw(st.integers(1, 1500)), draw(st.integers(1, 12))
    items, queries = normal(rng, n_items, factors), normal(rng, n_queries, factors)
    if draw(st.booleans()):
        items = (8 * normal(rng, 5, factors))[rng.integers(0, 5, n_items)] + items
    for vectors in (items, queries):
        vectors[rng.random(len(vectors)) < draw(st.sampled_from([0, 0.3, 1]))] = 0
    exclude = pattern(rng, n_queries, n_items, draw(st.sampled_from([0.1, 1.0]))) if draw(st.booleans()) else None
    allowed = None
    if draw(st.booleans()):
        allowed = np.sort(rng.choice(n_items, draw(st.integers(1, n_items)), replace=False)).astype(np.int32)
    return queries, items, draw(st.sampled_from([1, 7, 40])), Filters(exclude, allowed)


@settings(max_examples=150)
@given(case=cases(), metric=st.sampled_from(METRICS))
def test_lists_are_those_of_all_scores(case, metric):
    queries, items, k, filters = case
    top = cf.retrieval.ExactIndex(items, metric=metric, threads=1).search(queries, k, filters=filters)
    assert_lists(top, all_scores(queries, items, metric), k, filters)


def test_lists_equal_those_of_the_kernel_to_the_last_bit():
    rng = np.random.default_rng(0)
    items, queries = whole(rng, 3000, 6), whole(rng, 300, 6)  # full of ties
    wanted = on("cpu").top_k(queries, items, 25)
    for threads in (1, 2):
        got = cf.retrieval.ExactIndex(items, threads=threads).search(queries, 25)
        assert np.array_equal(got.rows, wanted.rows)
        assert np.array_equal(got.scores, wanted.scores)


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_gets_the_same_list_alone_and_in_any_batch(metric):
    rng = np.random.default_rng(0)
    items, queries = normal(rng, 2000, 9), normal(rng, 100, 9)
    index = cf.retrieval.ExactIndex(items, metric=metric)
    together = index.search(queries, 10)
    alone = [index.search(queries[i : i + 1], 10) for i in range(100)]
    assert np.array_equal(together.rows, np.concatenate([top.rows for top in alone]))
    assert np.array_equal(together.scores, np.concatenate([top.scores for top in alone]))


@pytest.mark.parametrize("n_allowed", [1, 20, 2000])
@pytest.mark.parametrize("metric", METRICS)
def test_filters_keep_k_whatever_their_share(metric, n_allowed):
    rng = np.random.default_rng(0)
    items, queries = normal(rng, 3000, 5), normal(rng, 30, 5)
    items[::7] = 0
    allowed = np.sort(rng.choice(3000, n_allowed, replace=False)).astype(np.int32)
    filters = Filters(pattern(rng, 30, 3000, 0.2), allowed)
    top = cf.retrieval.ExactIndex(items, metric=metric).search(queries, 5, filters=filters)
    assert_lists(top, all_scores(queries, items, metric), 5, filters)


def test_equal_distances_go_by_item():
    index = cf.retrieval.ExactIndex(np.ones((900, 3)), metric="euclidean")
    assert index.search([[1, 1, 3.0]], 4).rows.tolist() == [[0, 1, 2, 3]]
    assert index.search([[1, 1, 3.0]], 4).scores.tolist() == [[-2.0] * 4]


def test_far_from_the_origin_distances_are_still_told_apart():
    rng = np.random.default_rng(0)
    items = normal(rng, 2000, 4) + np.float32(300)
    top = cf.retrieval.ExactIndex(items, metric="euclidean").search(items[:50], 1)
    assert np.array_equal(top.rows[:, 0], np.arange(50))
    assert (top.scores == 0).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e19, -1e300])
def test_numbers_that_cannot_be_compared_are_refused_by_row(wrong):
    items = np.ones((70_000, 2))
    items[66_000, 1] = wrong
    with pytest.raises(cf.DataError, match=r"vectors: row 66000 holds a number"):
        cf.retrieval.ExactIndex(items)
    with pytest.raises(cf.DataError, match=r"queries: row 1 holds a number"):
        cf.retrieval.ExactIndex(np.ones((5, 2))).search([[1, 1], [1, wrong]])


def test_arguments_are_checked():
    index = cf.retrieval.ExactIndex(np.ones((5, 2)))
    assert index.shape == (5, 2)
    assert index.metric == "inner_product"
    for call, message in [
        (lambda: cf.retrieval.ExactIndex(np.ones(5)), r"vectors must be numbers \(n, factors\), got float64 of shape"),
        (lambda: cf.retrieval.ExactIndex(np.ones((5, 0))), "vectors must be numbers"),
        (lambda: cf.retrieval.ExactIndex(np.array([["a"]])), "vectors must be numbers"),
        (lambda: cf.retrieval.ExactIndex([[1.0, 2.0], [3.0]]), r"vectors must be numbers \(n, factors\), got \[\[1.0"),
        (lambda: cf.retrieval.ExactIndex(np.ones((5, 2)), metric="dot"), "metric must be one of 'inner_product'"),
        (lambda: cf.retrieval.ExactIndex(np.ones((5, 2)), threads=0), "threads"),
        (lambda: cf.retrieval.ExactIndex(np.ones((1, 16_385))), "16,385 numbers each; an index takes 16,384"),
        (lambda: index.search(np.ones((1, 3))), "queries have 3 numbers each; the index is of 2"),
        (lambda: index.search(np.ones((1, 2)), 0), "k must be"),
        (lambda: index.search(np.ones((1, 2)), filters=[1]), "filters must be Filters"),
        (lambda: index.search(np.ones((1, 2)), filters=Filters(CSR.from_pairs([], [], [], (2, 5)))), "exclude has"),
    ]:
        with pytest.raises(cf.ParameterError, match=message):
            call()


@pytest.mark.parametrize("metric", METRICS)
def test_no_items_and_no_queries(metric):
    empty = cf.retrieval.ExactIndex(np.zeros((0, 2)), metric=metric)
    assert (empty.search(np.ones((3, 2)), 4).rows == -1).all()
    assert cf.retrieval.ExactIndex(np.ones((5, 2)), metric=metric).search(np.zeros((0, 2)), 4).rows.shape == (0, 4)


@pytest.mark.parametrize("metric", METRICS)
def test_saved_and_loaded(tmp_path, metric):
    rng = np.random.default_rng(0)
    items, queries = normal(rng, 2000, 7), normal(rng, 20, 7)
    items[5] = 0
    index = cf.retrieval.ExactIndex(items, metric=metric)
    index.save(tmp_path / "items.index")
    index.save(tmp_path / "items.index")  # replaces
    loaded = cf.retrieval.ExactIndex.load(tmp_path / "items.index", items, metric=metric)
    for got, wanted in zip(loaded.search(queries, 9), index.search(queries, 9), strict=True):
        assert np.array_equal(got, wanted)
    assert [path.name for path in tmp_path.iterdir()] == ["items.index"]


def test_an_index_of_other_vectors_is_refused(tmp_path):
    items = normal(np.random.default_rng(0), 100, 4)
    path = tmp_path / "items.index"
    cf.retrieval.ExactIndex(items).save(path)
    others = items.copy()
    others[3, 2] += 1
    for vectors, metric in [(others, "inner_product"), (items[:99], "inner_product"), (items, "cosine")]:
        with pytest.raises(cf.ArtifactError, match="other vectors, or of another metric"):
            cf.retrieval.ExactIndex.load(path, vectors, metric=metric)


def test_damaged_files_are_refused(tmp_path):
    items = normal(np.random.default_rng(0), 100, 4)
    path = tmp_path / "items.index"
    index = cf.retrieval.ExactIndex(items)
    index.save(path)
    whole_file = path.read_bytes()
    for broken in (b"", b"nonsense" * 9, whole_file[:-50]):
        path.write_bytes(broken)
        with pytest.raises(cf.ArtifactError, match="is no saved index"):
            cf.retrieval.ExactIndex.load(path, items)
    at = whole_file.rindex(np.arange(90, 95, dtype=np.int32).tobytes())
    path.write_bytes(whole_file[:at] + np.full(5, 95, np.int32).tobytes() + whole_file[at + 20 :])
    with pytest.raises(cf.ArtifactError, match="is damaged"):
        cf.retrieval.ExactIndex.load(path, items)
    with pytest.raises(cf.ArtifactError, match="is no saved index"):
        cf.retrieval.ExactIndex.load(tmp_path / "nothing", items)


def test_an_index_follows_a_change_of_the_cpu_level():
    levels, before = native.supported_levels(), native.level
    items = normal(np.random.default_rng(0), 1000, 5)
    index = cf.retrieval.ExactIndex(items)
    try:
        for level in levels:
            native.use_level(level)
            assert np.array_equal(index.search(items[:50], 1).rows, on("cpu").top_k(items[:50], items, 1).rows)
    finally:
        native.use_level(before)
