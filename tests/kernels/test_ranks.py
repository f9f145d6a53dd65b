"""Places without lists: against the twin on whole numbers, against the lists of top-k to the last bit on all others.

The sums of the register tiles and the scores differ by roundoff: the data that are hard on the bounds of top-k (see
``test_topk``) are hard on those here.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from device import filtered, kernels
from reference import ranks as reference
from vectors import VECTORS, near, normal, pattern, whole


def assert_equal(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        assert np.array_equal(one, other)


def by_lists(queries, items, wanted, filters):
    """The ranks that complete lists of ``top_k`` give."""
    rows, scores = kernels.top_k(queries, items, len(items), filters=filters)
    rank, middle = np.zeros(wanted.nnz, np.int32), np.zeros(wanted.nnz)
    for pair, (row, item) in enumerate(zip(wanted.row_index(), wanted.indices, strict=True)):
        if (at := np.flatnonzero(rows[row] == item)).size:
            rank[pair] = at[0] + 1
            tied = np.flatnonzero((rows[row] >= 0) & (scores[row] == scores[row, at[0]]))
            middle[pair] = tied.mean() + 1
    return rank, middle, (rows >= 0).sum(axis=1)


@pytest.mark.parametrize("n_items", [1, 7, 8, 9, 12, 13, 23, 24, 25, 47, 48, 49, 97, 511, 513, 3073])
def test_item_counts_around_panels_and_chunks(cpu_level, n_items):
    rng = np.random.default_rng(n_items)
    queries, items, wanted = whole(rng, 40, 5), whole(rng, n_items, 5), pattern(rng, 40, n_items, 0.3)
    assert_equal(kernels.ranks(queries, items, wanted, threads=1), reference.ranks(queries, items, wanted))


@pytest.mark.parametrize("n_queries", [0, 1, 3, 4, 7, 8, 9, 63, 64, 65, 300])
def test_any_number_of_queries(cpu_level, n_queries):
    rng = np.random.default_rng(n_queries)
    queries, items = whole(rng, n_queries, 6), whole(rng, 200, 6)
    wanted, exclude = pattern(rng, n_queries, 200, 0.1), pattern(rng, n_queries, 200, 0.1)
    got = kernels.ranks(queries, items, wanted, filters=Filters(exclude), threads=2)
    assert_equal(got, reference.ranks(queries, items, wanted, exclude=exclude))


@pytest.mark.parametrize("factors", [1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 130])
def test_any_number_of_factors(cpu_level, factors):
    rng = np.random.default_rng(factors)
    queries, items, wanted = whole(rng, 20, factors), whole(rng, 100, factors), pattern(rng, 20, 100, 0.2)
    assert_equal(kernels.ranks(queries, items, wanted), reference.ranks(queries, items, wanted))


@st.composite
def filters(draw, rng, n_queries, n_items):
    options = {}
    if draw(st.booleans()):
        options["exclude"] = pattern(rng, n_queries, n_items, draw(st.sampled_from([0.05, 0.5, 0.95, 1.0])))
    if draw(st.booleans()):
        chosen = rng.choice(n_items, draw(st.integers(1, n_items)), replace=False)
        options["allowed"] = np.sort(chosen).astype(np.int32)
    return options


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items, factors = (draw(st.integers(1, high)) for high in (60, 120, 20))
    wanted = pattern(rng, n_queries, n_items, draw(st.sampled_from([0.0, 0.1, 1.0])))
    options = draw(filters(rng, n_queries, n_items))
    return whole(rng, n_queries, factors), whole(rng, n_items, factors), wanted, options


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), threads=st.sampled_from([1, 2, 40]))
def test_every_combination_of_filters(cpu_level, case, threads):
    queries, items, wanted, options = case
    assert_equal(
        kernels.ranks(queries, items, wanted, threads=threads, **filtered(**options)),
        reference.ranks(queries, items, wanted, **options),
    )


@st.composite
def hard_cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items, factors = draw(st.integers(1, 80)), draw(st.integers(1, 400)), draw(st.integers(1, 70))
    queries, items = (draw(st.sampled_from(VECTORS))(rng, n, factors) for n in (n_queries, n_items))
    if draw(st.booleans()):
        for vectors in (queries, items):
            vectors[rng.random(len(vectors)) < 0.2] = 0
    if draw(st.booleans()):
        for vectors in (queries, items):
            at = rng.integers(0, len(vectors), 2), rng.integers(0, factors, 2)
            vectors[at] = rng.choice([np.nan, np.inf, -np.inf], 2)
    wanted = pattern(rng, n_queries, n_items, draw(st.sampled_from([0.02, 0.5])))
    return queries, items, wanted, draw(filters(rng, n_queries, n_items))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=hard_cases(), threads=st.sampled_from([1, 2, 40]))
def test_the_ranks_are_those_of_the_lists(cpu_level, case, threads):
    queries, items, wanted, options = case
    got = kernels.ranks(queries, items, wanted, threads=threads, **filtered(**options))
    assert_equal(got, by_lists(queries, items, wanted, Filters(**options)))


@pytest.mark.parametrize("factors", [4, 16, 64])
def test_scores_closer_together_than_the_roundoff_of_sums(cpu_level, factors):
    """Fails where the sums of the tiles are trusted by more than their error allows."""
    rng = np.random.default_rng(factors)
    queries, items, wanted = near(rng, 64, factors), near(rng, 3000, factors), pattern(rng, 64, 3000, 0.01)
    assert_equal(kernels.ranks(queries, items, wanted), by_lists(queries, items, wanted, Filters()))


def test_more_items_than_a_chunk_holds_and_more_factors_than_bounds_are_good_for(cpu_level):
    rng = np.random.default_rng(0)
    for n_items, factors in ((3000, 1024), (60, 17_000)):
        queries, items, wanted = whole(rng, 9, factors), whole(rng, n_items, factors), pattern(rng, 9, n_items, 0.01)
        assert_equal(kernels.ranks(queries, items, wanted), reference.ranks(queries, items, wanted))


def test_a_query_has_the_same_ranks_alone_and_in_any_batch(cpu_level):
    rng = np.random.default_rng(0)
    queries, items, wanted = normal(rng, 150, 33), normal(rng, 700, 33), pattern(rng, 150, 700, 0.02)
    together = kernels.ranks(queries, items, wanted, threads=2)
    for size in (1, 5, 50):
        pieces = [np.arange(at, min(150, at + size)) for at in range(0, 150, size)]
        parts = [kernels.ranks(queries[rows], items, wanted.take(rows), threads=1) for rows in pieces]
        assert_equal(together, [np.concatenate(part) for part in zip(*parts, strict=True)])


def test_by_hand(cpu_level):
    items = np.array([[1], [3], [np.nan], [1], [2], [1], [-np.inf]], np.float32)
    wanted = CSR.from_pairs(np.zeros(7, int), np.arange(7), np.ones(7), (1, 7))
    rank, middle, n_listed = kernels.ranks(np.ones((1, 1), np.float32), items, wanted)
    assert rank.tolist() == [3, 1, 0, 4, 2, 5, 0]
    assert middle.tolist() == [4, 1, 0, 4, 2, 4, 0]
    assert n_listed.tolist() == [5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allowed": np.array([2, 1], np.int32)}, "ascending"),
        ({"allowed": np.array([5], np.int32)}, "ascending item rows"),
        ({"exclude": CSR(np.array([0, 0]), np.zeros(0, np.int32), np.zeros(0, np.float32), 5)}, "exclude has shape"),
    ],
)
def test_filters_that_do_not_fit_are_refused(options, message):
    wanted = CSR.one_each(np.array([0, 1], np.int32), 5)
    with pytest.raises(ValueError, match=message):
        kernels.ranks(np.ones((2, 3), np.float32), np.ones((5, 3), np.float32), wanted, **filtered(**options))


def test_arrays_that_do_not_fit_are_refused():
    queries, items, wanted = np.ones((2, 3), np.float32), np.ones((5, 3), np.float32), CSR.one_each(np.zeros(2, int), 5)
    with pytest.raises(ValueError, match="same number of factors"):
        kernels.ranks(queries, items[:, :2].copy(), wanted)
    with pytest.raises(ValueError, match="vectors must have a factor"):
        kernels.ranks(queries[:, :0].copy(), items[:, :0].copy(), wanted)
    with pytest.raises(ParameterError, match=r"wanted has shape \(2, 5\); it must be \(1, 5\)"):
        kernels.ranks(queries[:1], items, wanted)
    falling = CSR(np.array([0, 2, 2]), np.array([1, 0], np.int32), np.ones(2, np.float32), 5)
    with pytest.raises(ValueError, match="wanted must be ascending"):
        kernels.ranks(queries, items, falling)
