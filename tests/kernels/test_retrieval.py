"""An index of vectors gives, to the last bit, what scoring every pair gives; its bounds are those of the twin."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofactor.kernels import native
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from device import kernels
from reference import retrieval as reference
from vectors import VECTORS, near, normal, pattern, whole


def clustered(rng, n, factors, n_clusters=12, spread=0.3):
    centres = normal(rng, n_clusters, factors)
    return centres[rng.integers(0, n_clusters, n)] + np.float32(spread) * normal(rng, n, factors)


def indexed(items, bias=None):
    return kernels.pack_index(items, *kernels.block_order(items), bias=bias)


def cut(n, size):
    """Blocks of neighbours by row number."""
    return np.arange(n, dtype=np.int32), np.append(np.arange(0, n, size), n)


def assert_equal(got, wanted):
    assert np.array_equal(got.rows, wanted.rows)
    assert np.array_equal(got.scores, wanted.scores)


@pytest.mark.parametrize("n", [1, 2, 767, 768, 769, 5000])
def test_the_order_is_a_permutation_in_blocks_whatever_the_threads(n):
    items = clustered(np.random.default_rng(n), n, 9)
    order, offsets = kernels.block_order(items, threads=1)
    assert np.array_equal(np.sort(order), np.arange(n))
    assert offsets[0] == 0
    assert offsets[-1] == n
    assert 0 < np.diff(offsets).min() <= np.diff(offsets).max() <= 768
    for threads in (2, 40):
        again = kernels.block_order(items, threads=threads)
        assert np.array_equal(again[0], order)
        assert np.array_equal(again[1], offsets)


def test_no_items_make_no_blocks_and_empty_lists():
    items = np.zeros((0, 3), np.float32)
    top = kernels.index_top_k(np.ones((2, 3), np.float32), indexed(items), 4)
    assert (top.rows == -1).all()


def test_clusters_come_apart():
    """Far clusters of about a block's size: nearly every block is of one only."""
    rng = np.random.default_rng(0)
    of = rng.integers(0, 20, 10_000)
    items = (10 * normal(rng, 20, 8))[of] + normal(rng, 10_000, 8) * np.float32(0.1)
    order, offsets = kernels.block_order(items)
    kinds = [len(set(of[order[begin:end]])) for begin, end in pairwise(offsets)]
    assert np.mean(np.array(kinds) == 1) > 0.8


@pytest.mark.parametrize("with_bias", [False, True])
def test_bounds_of_blocks_are_those_of_the_twin(cpu_level, with_bias):
    rng = np.random.default_rng(0)
    items = clustered(rng, 3000, 11)
    bias = normal(rng, 3000) if with_bias else None
    order, offsets = kernels.block_order(items)
    index = kernels.pack_index(items, order, offsets, bias=bias)
    got = index.blocks.reshape(6, -1)
    np.testing.assert_allclose(got, reference.block_bounds(items, order, offsets, bias), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_queries", [1, 7, 8, 9, 70, 600])
@pytest.mark.parametrize("factors", [1, 3, 16, 33])
def test_clusters_give_the_lists_of_top_k(cpu_level, n_queries, factors):
    rng = np.random.default_rng(n_queries)
    items = clustered(rng, 6000, factors)
    queries = np.ascontiguousarray(items[rng.integers(0, 6000, n_queries)])
    for k in (1, 20, 900):
        for threads in (1, 2):
            got = kernels.index_top_k(queries, indexed(items), k, threads=threads)
            assert_equal(got, kernels.top_k(queries, items, k))


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items, factors = draw(st.integers(1, 80)), draw(st.integers(1, 700)), draw(st.integers(1, 40))
    make = draw(st.sampled_from([*VECTORS, clustered]))
    queries, items = draw(st.sampled_from([make, normal]))(rng, n_queries, factors), make(rng, n_items, factors)
    if draw(st.booleans()):  # the same items and zeros, again and again
        items = items[rng.integers(0, n_items, n_items)]
        for vectors in (queries, items):
            vectors[rng.random(len(vectors)) < 0.2] = 0
    if draw(st.booleans()):
        queries[rng.integers(0, n_queries, 2), rng.integers(0, factors, 2)] = rng.choice([np.nan, np.inf, -np.inf], 2)
    bias = exclude = allowed = None
    if draw(st.booleans()):
        bias = normal(rng, n_items) * np.float32(draw(st.sampled_from([1e-3, 1, 1e6, 1e37])))
    if draw(st.booleans()):
        exclude = pattern(rng, n_queries, n_items, draw(st.sampled_from([0.05, 0.9, 1.0])))
    if draw(st.booleans()):
        allowed = np.sort(rng.choice(n_items, draw(st.integers(1, n_items)), replace=False)).astype(np.int32)
    order, offsets = cut(n_items, draw(st.integers(1, 200)))
    if draw(st.booleans()):
        order = rng.permutation(order)
    return queries, items, order, offsets, draw(st.sampled_from([1, 3, 10, 100, 800])), bias, Filters(exclude, allowed)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), threads=st.sampled_from([1, 2, 40]))
def test_bounds_lose_nothing(cpu_level, case, threads):
    """Blocks of anything, hard numbers, filters and biases: to the last bit the lists of ``top_k``."""
    queries, items, order, offsets, k, bias, filters = case
    index = kernels.pack_index(items, order, offsets, bias=bias, threads=threads)
    got = kernels.index_top_k(queries, index, k, filters=filters, threads=threads)
    assert_equal(got, kernels.top_k(queries, items, k, bias=bias, filters=filters))


@pytest.mark.parametrize("factors", [2, 32])
def test_queries_that_lie_along_a_block(cpu_level, factors):
    """What lies across is lost in roundoff there, and decides."""
    rng = np.random.default_rng(0)
    items = near(rng, 4000, factors)
    queries = np.repeat(items.mean(axis=0, keepdims=True), 50, axis=0) * np.float32(2.0) ** np.arange(-25, 25)[:, None]
    queries = queries.astype(np.float32)
    index = kernels.pack_index(items, *cut(4000, 100))
    assert_equal(kernels.index_top_k(queries, index, 5), kernels.top_k(queries, items, 5))


def test_an_index_of_some_items_gives_those_only(cpu_level):
    rng = np.random.default_rng(0)
    items, queries = whole(rng, 300, 5), whole(rng, 20, 5)
    some = np.sort(rng.choice(300, 90, replace=False)).astype(np.int32)
    index = kernels.pack_index(items, some, np.array([0, 50, 90]))
    assert_equal(
        kernels.index_top_k(queries, index, 10), kernels.top_k(queries, items, 10, filters=Filters(None, some))
    )


def test_parts_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    items = normal(rng, 100, 4)
    index = indexed(items)
    wrong = {
        "same number of factors": index._replace(items=normal(rng, 100, 5)),
        "fit each other": index._replace(codes=index.codes[:-1]),
        "must ascend": index._replace(first_panel=index.first_panel[::-1].copy()),
        "one value per item": index._replace(bias=np.zeros(3, np.float32)),
        "not there": index._replace(places=np.full_like(index.places, 100)),
    }
    for message, broken in wrong.items():
        with pytest.raises(ValueError, match=message):
            kernels.index_top_k(normal(rng, 2, 4), broken, 3)
    none = CSR(np.array([0, 0]), np.zeros(0, np.int32), np.zeros(0, np.float32), 100)
    with pytest.raises(ValueError, match="exclude has shape"):
        kernels.index_top_k(normal(rng, 2, 4), index, 3, filters=Filters(none))
    with pytest.raises(ValueError, match="item rows"):
        kernels.pack_index(items, np.full(100, 100, np.int32), np.array([0, 100]))
    with pytest.raises(ValueError, match="offsets must ascend"):
        kernels.pack_index(items, np.arange(100, dtype=np.int32), np.array([0, 60, 60, 100]))


def test_an_index_of_another_level_is_refused():
    levels = native.supported_levels()
    if len(levels) < 2:
        pytest.skip("this CPU has one level only")
    items, before = normal(np.random.default_rng(0), 1000, 8), native.level
    native.use_level(levels[0])
    index = indexed(items)
    native.use_level(levels[1])
    with pytest.raises(ValueError, match="another CPU level"):
        kernels.index_top_k(items[:2], index, 3)
    native.use_level(before)
