"""Nearest past sessions against a twin that looks at all of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofactor.kernels.arguments import PastSessions, SessionKnn
from cofactor.kernels.csr import CSR, offsets
from cofactor.kernels.filters import Filters
from device import kernels
from reference import session_knn as reference
from reference import topk

KNN = SessionKnn(10, 30, 1000, 1.5, 2.0, 0.5, 0.3)


def past_of(rng, lengths, n_items, sample_size):
    lengths = np.asarray(lengths)
    items = np.minimum(rng.geometric(min(1, 3 / n_items), lengths.sum()) - 1, n_items - 1).astype(np.int32)
    indptr = offsets(lengths)
    places_indptr, places, counts = kernels.session_places(indptr, items, n_items, sample_size)
    weights = rng.choice([1.0, 0.5, 0.25], len(lengths))
    idf = np.log1p(len(lengths) / np.maximum(counts, 1))
    return PastSessions(indptr, items, weights, places_indptr, places, idf**2, idf)


def histories_of(rng, lengths, n_items):
    """Distinct items at distinct positions."""
    chosen = [np.sort(rng.choice(n_items, min(length, n_items), replace=False)) for length in lengths]
    positions = [rng.permutation(len(items) + 3)[: len(items)] + 1 for items in chosen]
    items, places = (np.concatenate([[], *parts]).astype(np.int32) for parts in (chosen, positions))
    csr = CSR(offsets(np.array([len(items) for items in chosen], int)), items, np.ones(len(items), np.float32), n_items)
    return csr, places


def table(past, knn, histories, positions):
    """The twin's scores of every history and item, minus infinity where no neighbour reaches."""
    rows = [
        reference.scores(past, knn, histories.row(i)[0], positions[histories.indptr[i] : histories.indptr[i + 1]])
        for i in range(histories.n_rows)
    ]
    full = np.array(rows).reshape(len(rows), len(past.item_weights))
    return np.where(full > 0, full, -np.inf)


def assert_lists(got, wanted, exclude=None, allowed=None):
    """Best first; scores place by place those of a sort of the twin's table, near ties may swap."""
    rows, scores = got
    shown = np.where(np.isfinite(wanted), wanted, -1)
    _, wanted_scores = topk.top_k(np.eye(len(wanted)), shown.T, rows.shape[1], exclude=exclude, allowed=allowed)
    missing = wanted_scores < 0
    assert np.array_equal(rows < 0, missing)
    np.testing.assert_allclose(np.where(missing, 0, scores), np.where(missing, 0, wanted_scores), rtol=1e-5)
    at, place = np.nonzero(rows >= 0)
    np.testing.assert_allclose(scores[at, place], wanted[at, rows[at, place]], rtol=1e-5)
    assert (np.isneginf(scores) == missing).all()
    tied = (scores[:, 1:] == scores[:, :-1]) & ~missing[:, 1:]
    assert (rows[:, 1:] > rows[:, :-1])[tied].all()


@pytest.mark.parametrize("lengths", [[1], [0, 3, 0], [5] * 40, [1, 300, 2] * 5])
def test_lists_and_scores_equal_the_twin(cpu_level, lengths):
    rng = np.random.default_rng(len(lengths))
    past = past_of(rng, lengths, 25, KNN.sample_size)
    histories, positions = histories_of(rng, [0, 1, 2, 5, 25, 3] * 4, 25)
    wanted = table(past, KNN, histories, positions)
    for k in (1, 5, 25):
        assert_lists(kernels.session_top_k(past, KNN, histories, positions, k), wanted)
    pairs = (offsets(np.full(24, 25)), np.tile(np.arange(24, -1, -1, dtype=np.int32), 24))
    scores = kernels.session_scores(past, KNN, histories, positions, pairs)
    np.testing.assert_allclose(scores.reshape(24, 25)[:, ::-1], np.maximum(wanted, 0), rtol=1e-5)


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_items = draw(st.integers(1, 30))
    knn = SessionKnn(
        draw(st.integers(1, 20)),
        draw(st.integers(1, 40)),
        draw(st.sampled_from([1, 2, 5, 2**62])),
        draw(st.sampled_from([0.3, 2.0, np.inf])),
        draw(st.sampled_from([0.3, 2.0, np.inf])),
        draw(st.sampled_from([0.0, 0.4, 1.0])),
        draw(st.sampled_from([0.0, 0.4, 1.0])),
    )
    lengths = rng.integers(0, draw(st.integers(1, 12)), draw(st.integers(0, 80)))
    return rng, past_of(rng, lengths, n_items, knn.sample_size), knn, n_items


@given(cases())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_parameters_and_filters(case):
    rng, past, knn, n_items = case
    histories, positions = histories_of(rng, rng.integers(0, 9, 12), n_items)
    wanted = table(past, knn, histories, positions)
    rows, columns = np.nonzero(rng.random((12, n_items)) < 0.2)
    exclude = CSR.from_pairs(rows, columns, np.ones(len(rows)), (12, n_items))
    allowed = np.flatnonzero(rng.random(n_items) < 0.7).astype(np.int32)
    for some in (None, allowed) if len(allowed) else (None,):
        got = kernels.session_top_k(past, knn, histories, positions, 6, filters=Filters(exclude, some))
        assert_lists(got, wanted, exclude, some)


def test_threads_change_nothing(cpu_level):
    rng = np.random.default_rng(3)
    past = past_of(rng, rng.integers(1, 9, 2000), 200, 100)
    histories, positions = histories_of(rng, rng.integers(0, 6, 500), 200)
    one = kernels.session_top_k(past, KNN, histories, positions, 20, threads=1)
    for threads in (2, 7):
        assert all(
            map(np.array_equal, kernels.session_top_k(past, KNN, histories, positions, 20, threads=threads), one)
        )
    alone = []
    for i in range(20):
        at = slice(histories.indptr[i], histories.indptr[i + 1])
        alone.append(kernels.session_top_k(past, KNN, histories.take([i]), positions[at], 20))
    assert np.array_equal(np.concatenate([rows for rows, _ in alone]), one[0][:20])
    assert np.array_equal(np.concatenate([scores for _, scores in alone]), one[1][:20])


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_places(cpu_level, limit):
    rng = np.random.default_rng(limit)
    indptr = offsets(rng.integers(0, 6, 50))
    items = rng.integers(0, 12, indptr[-1]).astype(np.int32)
    places_indptr, places, counts = kernels.session_places(indptr, items, 13, limit)
    wanted, in_all = reference.places(indptr, items, 13, limit)
    assert [places[a:b].tolist() for a, b in pairwise(places_indptr)] == wanted
    assert counts.tolist() == in_all


def test_bad_arrays_are_refused():
    rng = np.random.default_rng(0)
    past = past_of(rng, [3] * 10, 5, 100)
    histories, positions = histories_of(rng, [2, 2], 5)
    for name, value, message in (
        ("places", np.full_like(past.places, 10), "an index of the past sessions is out of range"),
        ("places", past.places[:1], "an index of the past sessions is out of range"),
        ("items", np.full_like(past.items, 5), "an index of the past sessions is out of range"),
        ("indptr", past.indptr * 2, "an index of the past sessions is out of range"),
        ("weights", past.weights[:-1], "sessions must have one weight each"),
        ("candidate_weights", past.weights[:1], "places and weights must be of the same items"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.session_top_k(past._replace(**{name: value}), KNN, histories, positions, 3)
    with pytest.raises(ValueError, match="one position per item"):
        kernels.session_top_k(past, KNN, histories, positions[1:], 3)
    with pytest.raises(ValueError, match="ascending and in range"):
        kernels.session_top_k(
            past, KNN, CSR(histories.indptr, histories.indices + 3, histories.values, 5), positions, 3
        )
    with pytest.raises(ValueError, match="wanted is out of range"):
        kernels.session_scores(past, KNN, histories, positions, (np.array([0, 1, 1]), np.array([5], np.int32)))
    with pytest.raises(ValueError, match="items must be in range"):
        kernels.session_places(past.indptr, past.items, 2, 10)
