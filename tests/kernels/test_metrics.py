"""Hits in lists against the twin, place by place."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofactor.kernels.csr import offsets
from device import kernels
from reference import metrics as reference


def found(indptr, items, of, relevant_indptr, relevant, n_items, **options):
    return kernels.list_hits(indptr, items, of, relevant=(relevant_indptr, relevant), n_items=n_items, **options)


def case(rng, n_lists, n_rows, n_items, longest, *, repeats=False):
    """Lists of any length with empty places, some for nobody, and rows of relevant items, some in no list."""
    lengths = rng.integers(0, min(longest, n_items) + 1, n_lists)
    items = [rng.choice(n_items, n, replace=repeats) for n in lengths]
    items = np.concatenate([*items, np.zeros(0, int)]).astype(np.int32)
    items[rng.random(len(items)) < 0.1] = -1
    counts = rng.integers(0, n_items + 1, n_rows)
    relevant = np.concatenate([*(rng.permutation(n_items)[:n] for n in counts), np.zeros(0, int)]).astype(np.int32)
    relevant[rng.random(len(relevant)) < 0.2] = -1
    of = rng.integers(-1, n_rows, n_lists, dtype=np.int32) if n_rows else np.full(n_lists, -1, np.int32)
    return offsets(lengths), items, of, offsets(counts), relevant, n_items


def assert_same(got, wanted):
    assert np.array_equal(got[0], wanted[0])
    assert np.array_equal(got[1], wanted[1])
    assert got[2] == wanted[2]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    sizes=st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(1, 30), st.integers(0, 30)),
    repeats=st.booleans(),
    threads=st.sampled_from([1, 2, 40]),
)
def test_any_lists(cpu_level, seed, sizes, repeats, threads):
    given_ = case(np.random.default_rng(seed), *sizes, repeats=repeats)
    assert_same(found(*given_, threads=threads), reference.list_hits(*given_[:-1]))


@pytest.mark.parametrize("threads", [1, 2, 40])
def test_more_lists_than_a_piece_of_work(cpu_level, threads):
    given_ = case(np.random.default_rng(0), 3000, 500, 60, 20)
    assert_same(found(*given_, threads=threads), reference.list_hits(*given_[:-1]))


def test_the_first_repeated_place_whatever_the_threads(cpu_level):
    indptr, items, of, *rest = case(np.random.default_rng(1), 3000, 500, 60, 20, repeats=True)
    expected = reference.list_hits(indptr, items, of, *rest[:-1])[2]
    assert expected > 0
    assert {found(indptr, items, of, *rest, threads=n)[2] for n in (1, 2, 7)} == {expected}


def test_by_hand(cpu_level):
    items = np.array([4, 0, -1, 2, -1, 2, 2], np.int32)
    relevant = np.array([2, -1, 4, 0], np.int32)
    given_ = (np.array([0, 4, 5, 7]), items, np.array([0, 1, -1], np.int32), np.array([0, 3, 4]), relevant, 5)
    nth, count, repeated = found(*given_)
    assert nth.tolist() == [2, -1, -1, 0, -1, -1, -1]
    assert count.tolist() == [2, 0, 0]
    assert repeated == 6


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.array([0, 3]), "indptr does not end at the number of indices"),
        (1, np.array([5, 0], np.int32), "items must be rows below n_items, or -1"),
        (1, np.array([-2, 0], np.int32), "items must be rows below n_items, or -1"),
        (2, np.array([1], np.int32), "of must hold rows of relevant, or -1"),
        (2, np.array([0, 0], np.int32), "of must have one row per list"),
        (4, np.array([7], np.int32), "items must be rows below n_items, or -1"),
        (5, -1, "n_items must be at least 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(place, value, message):
    given_ = [
        np.array([0, 2]),
        np.array([1, 0], np.int32),
        np.array([0], np.int32),
        np.array([0, 1]),
        np.array([1], np.int32),
        5,
    ]
    given_[place] = value
    with pytest.raises(ValueError, match=message):
        found(*given_)
