"""Exact top-k against a sort of all scores: exactly equal on whole numbers, to 1e-5 on others.

A few queries are scored against every item, many go through bounds first. Both score a pair in the same way, so that
the lists of many must equal those of each alone to the last bit, however hard the data are on the bounds.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from device import filtered, kernels
from reference import topk as reference
from vectors import VECTORS, alike, near, normal, pattern, spiky, times, whole, wide

PANELS = [1, 7, 8, 9, 12, 13, 23, 24, 25, 47, 48, 49, 97, 511, 513, 1537, 3071, 3073]


def assert_equal(got, wanted):
    assert np.array_equal(got[0], wanted[0])
    assert np.array_equal(got[1], wanted[1])


def assert_close(got, wanted, scores):
    """The same scores place by place, each the score of its item: near ties may swap."""
    (rows, values), (wanted_rows, wanted_values) = got, wanted
    assert np.array_equal(rows < 0, wanted_rows < 0)
    np.testing.assert_allclose(values, wanted_values, rtol=1e-5, atol=1e-5)
    q, place = np.nonzero(rows >= 0)
    np.testing.assert_allclose(values[q, place], scores[q, rows[q, place]], rtol=1e-5, atol=1e-5)
    assert all(len(set(r[r >= 0])) == (r >= 0).sum() for r in rows)


@pytest.mark.parametrize("n_items", PANELS)
def test_item_counts_around_panels_and_chunks(cpu_level, n_items):
    rng = np.random.default_rng(n_items)
    queries, items = whole(rng, 40, 5), whole(rng, n_items, 5)
    for k in (1, 10, n_items):
        assert_equal(kernels.top_k(queries, items, k, threads=1), reference.top_k(queries, items, k))


@pytest.mark.parametrize("factors", [1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 128, 130])
def test_any_number_of_factors(cpu_level, factors):
    rng = np.random.default_rng(factors)
    queries, items, bias = normal(rng, 20, factors), normal(rng, 100, factors), normal(rng, 100)
    exclude = pattern(rng, 20, 100, 0.2)
    got = kernels.top_k(queries, items, 10, bias=bias, filters=Filters(exclude))
    wanted = reference.top_k(queries, items, 10, bias=bias, exclude=exclude)
    assert_close(got, wanted, reference.scores(queries, items, bias))


@pytest.mark.parametrize("n_queries", [0, 1, 3, 4, 7, 8, 9, 63, 64, 65, 300])
def test_any_number_of_queries(cpu_level, n_queries):
    rng = np.random.default_rng(n_queries)
    queries, items = whole(rng, n_queries, 6), whole(rng, 200, 6)
    exclude = pattern(rng, n_queries, 200, 0.1)
    got = kernels.top_k(queries, items, 20, filters=Filters(exclude), threads=2)
    assert_equal(got, reference.top_k(queries, items, 20, exclude=exclude))


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items, factors = (draw(st.integers(1, high)) for high in (60, 120, 20))
    options = {"bias": whole(rng, n_items) if draw(st.booleans()) else None}
    if draw(st.booleans()):
        options["exclude"] = pattern(rng, n_queries, n_items, draw(st.sampled_from([0.05, 0.5, 0.95, 1.0])))
    if draw(st.booleans()):
        chosen = rng.choice(n_items, draw(st.integers(1, n_items)), replace=False)
        options["allowed"] = np.sort(chosen).astype(np.int32)
    return whole(rng, n_queries, factors), whole(rng, n_items, factors), draw(st.integers(1, 150)), options


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), threads=st.sampled_from([1, 2, 40]))
def test_every_combination_of_filters(cpu_level, case, threads):
    queries, items, k, options = case
    assert_equal(
        kernels.top_k(queries, items, k, threads=threads, **filtered(**options)),
        reference.top_k(queries, items, k, **options),
    )


def test_everything_equal_goes_by_item(cpu_level):
    rows, scores = kernels.top_k(np.ones((40, 3), np.float32), np.ones((4000, 3), np.float32), 50)
    assert np.array_equal(rows, np.tile(np.arange(50), (40, 1)))
    assert (scores == 3).all()


def test_rising_and_falling_scores(cpu_level):
    ones = np.ones((40, 1), np.float32)
    for items in (np.arange(5000), np.arange(5000)[::-1]):
        got = kernels.top_k(ones, items[:, None].astype(np.float32), 100)
        assert_equal(got, reference.top_k(ones, items[:, None], 100))


def test_a_query_gets_the_same_list_alone_and_in_any_batch(cpu_level):
    """To the last bit: the order of summation does not depend on the neighbours."""
    rng = np.random.default_rng(0)
    queries, items, bias = normal(rng, 150, 33), normal(rng, 700, 33), normal(rng, 700)
    together = kernels.top_k(queries, items, 20, bias=bias, threads=2)
    for size in (1, 5, 50):
        parts = [kernels.top_k(queries[at : at + size], items, 20, bias=bias, threads=1) for at in range(0, 150, size)]
        assert_equal(together, [np.concatenate(part) for part in zip(*parts, strict=True)])


def test_everything_excluded_gives_an_empty_list(cpu_level):
    exclude = CSR(np.array([0, 30, 30]), np.arange(30, dtype=np.int32), np.ones(30, np.float32), 30)
    rows, scores = kernels.top_k(np.ones((2, 2), np.float32), np.ones((30, 2), np.float32), 3, filters=Filters(exclude))
    assert np.array_equal(rows, [[-1, -1, -1], [0, 1, 2]])
    assert np.isneginf(scores[0]).all()


def test_k_is_cut_to_what_there_is_to_choose_from():
    queries, items = np.ones((2, 2), np.float32), np.ones((30, 2), np.float32)
    assert kernels.top_k(queries, items, 10**9)[0].shape == (2, 30)
    assert (
        kernels.top_k(queries, items, 10**9, filters=Filters(allowed=np.array([3, 7], np.int32)))[0].tolist()
        == [[3, 7]] * 2
    )


@pytest.mark.parametrize("n_queries", [9, 50])
def test_nan_and_minus_infinity_never_come_back_and_infinity_comes_first(cpu_level, n_queries):
    items = np.array([[1], [np.nan], [np.inf], [-np.inf], [2]], np.float32)
    rows, scores = kernels.top_k(np.ones((n_queries, 1), np.float32), items, 5)
    assert np.array_equal(rows, [[2, 4, 0, -1, -1]] * n_queries)
    assert np.array_equal(scores[0], [np.inf, 2, 1, -np.inf, -np.inf])


@pytest.mark.parametrize("n_queries", [9, 50])
def test_a_nan_query_gets_an_empty_list_and_harms_no_other(cpu_level, n_queries):
    queries = np.ones((n_queries, 2), np.float32)
    queries[4, 1] = np.nan
    rows, _ = kernels.top_k(queries, np.ones((20, 2), np.float32), 3)
    assert np.array_equal(rows, [[-1, -1, -1] if q == 4 else [0, 1, 2] for q in range(n_queries)])


def alone(queries, items, k, *, exclude=None, allowed=None, **options):
    """The lists of every query asked for by itself: every item is scored."""
    filters = Filters(exclude, allowed)
    parts = [
        kernels.top_k(queries[i : i + 1], items, k, filters=filters.take(np.array([i])), **options)
        for i in range(len(queries))
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


@st.composite
def hard_cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items, factors = draw(st.integers(32, 80)), draw(st.integers(1, 500)), draw(st.integers(1, 70))
    queries = draw(st.sampled_from(VECTORS))(rng, n_queries, factors)
    items = draw(st.sampled_from(VECTORS))(rng, n_items, factors)
    if draw(st.booleans()):  # the same items and zeros, again and again
        items = items[rng.integers(0, n_items, n_items)]
        for vectors in (queries, items):
            vectors[rng.random(len(vectors)) < 0.2] = 0
    if draw(st.booleans()):
        for vectors in (queries, items):
            at = rng.integers(0, len(vectors), 2), rng.integers(0, factors, 2)
            vectors[at] = rng.choice([np.nan, np.inf, -np.inf], 2)
    options = {}
    if draw(st.booleans()):
        bias = normal(rng, n_items) * np.float32(draw(st.sampled_from([1e-3, 1, 1e6, 1e37])))
        bias[rng.random(n_items) < 0.1] = rng.choice([0, np.nan, np.inf, -np.inf])
        options["bias"] = bias
    if draw(st.booleans()):
        options["exclude"] = pattern(rng, n_queries, n_items, draw(st.sampled_from([0.05, 0.9])))
    if draw(st.booleans()):
        chosen = rng.choice(n_items, draw(st.integers(1, n_items)), replace=False)
        options["allowed"] = np.sort(chosen).astype(np.int32)
    return queries, items, draw(st.sampled_from([1, 3, 10, 100, 600])), options


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=hard_cases(), threads=st.sampled_from([1, 2, 40]))
def test_bounds_lose_nothing(cpu_level, case, threads):
    queries, items, k, options = case
    assert_equal(
        kernels.top_k(queries, items, k, threads=threads, **filtered(**options)), alone(queries, items, k, **options)
    )


@pytest.mark.parametrize("vectors", [near, alike, spiky])
@pytest.mark.parametrize("factors", [4, 16, 64])
def test_scores_closer_together_than_the_bounds_are_to_the_scores(cpu_level, vectors, factors):
    """Fails where the first pass trusts its sums, be they of bytes or float32, by more than their error allows."""
    rng = np.random.default_rng(factors)
    for k in (1, 10):
        queries, items = vectors(rng, 64, factors), vectors(rng, 3000, factors)
        assert_equal(kernels.top_k(queries, items, k), alone(queries, items, k))


def test_codes_of_items_that_miss_all_that_matters(cpu_level):
    """Bytes tell 1 / 127 apart here, and what decides is smaller than half of that: the bound is tight.

    The last element puts items that score more behind items that score less.
    """
    rng = np.random.default_rng(0)
    items = np.stack([np.full(3000, 127), rng.uniform(-0.5, 0.5, 3000), rng.integers(0, 128, 3000)], axis=1)
    queries = np.stack([np.zeros(40), np.linspace(0.5, 2, 40), np.zeros(40)], axis=1).astype(np.float32)
    items = (items / 127).astype(np.float32)
    assert_equal(kernels.top_k(queries, items, 3), alone(queries, items, 3))


def test_codes_of_queries_that_miss_all_that_matters(cpu_level):
    rng = np.random.default_rng(0)
    items = np.stack([np.full(3000, 127), rng.integers(-127, 128, 3000), rng.integers(0, 128, 3000)], axis=1)
    queries = np.stack([np.ones(40), np.linspace(0.1, 0.49, 40) / 127, np.zeros(40)], axis=1).astype(np.float32)
    items = (items / 127).astype(np.float32)
    assert_equal(kernels.top_k(queries, items, 3), alone(queries, items, 3))


@pytest.mark.parametrize("vectors", [times(1e-42, normal), times(1e-22, normal), times(1e18, whole), wide])
def test_tiny_and_huge_numbers_agree_with_the_twin(cpu_level, vectors):
    rng = np.random.default_rng(0)
    queries, items = whole(rng, 40, 8), vectors(rng, 300, 8)
    got, wanted = kernels.top_k(queries, items, 5), reference.top_k(queries, items, 5)
    size = np.linalg.norm(queries, axis=1).max() * np.linalg.norm(items.astype(np.float64), axis=1).max()
    np.testing.assert_allclose(got[1], wanted[1], rtol=0, atol=1e-6 * size + 1e-44)


def test_more_items_than_are_coded_at_a_time(cpu_level):
    rng = np.random.default_rng(0)
    queries, items = whole(rng, 40, 1024), whole(rng, 9000, 1024)
    assert_equal(kernels.top_k(queries, items, 7), reference.top_k(queries, items, 7))


def test_more_factors_than_bytes_can_be_summed(cpu_level):
    rng = np.random.default_rng(0)
    queries, items = whole(rng, 40, 17_000), whole(rng, 60, 17_000)
    assert_equal(kernels.top_k(queries, items, 5), reference.top_k(queries, items, 5))


def test_zero_queries_get_the_first_items(cpu_level):
    rng = np.random.default_rng(0)
    queries = normal(rng, 100, 16)
    queries[::2] = 0
    rows, scores = kernels.top_k(queries, normal(rng, 5000, 16), 20)
    assert np.array_equal(rows[::2], np.tile(np.arange(20), (50, 1)))
    assert (scores[::2] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": np.zeros(4, np.float32)}, "one value per item"),
        ({"allowed": np.array([2, 1], np.int32)}, "ascending"),
        ({"allowed": np.array([5], np.int32)}, "ascending item rows"),
        ({"exclude": CSR(np.array([0, 0]), np.zeros(0, np.int32), np.zeros(0, np.float32), 5)}, "exclude has shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        kernels.top_k(np.ones((2, 3), np.float32), np.ones((5, 3), np.float32), 2, **filtered(**options))


def test_queries_and_items_of_different_length_are_refused():
    with pytest.raises(ValueError, match="same number of factors"):
        kernels.top_k(np.ones((2, 3), np.float32), np.ones((5, 4), np.float32), 2)
