"""Pairs that are held out, and the others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cofactor.models.sampled.parted import parted


@given(st.integers(0, 40), st.floats(0, 1), st.booleans(), st.integers(0, 99))
def test_every_pair_is_on_one_side(n, share, weighted, seed):
    columns = [np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int32) * 2, np.arange(n, dtype=np.float32) / 2]
    given = (*columns[:2], columns[2] if weighted else None)
    n_out = int(n * share)
    trained, held_out = parted(given, n_out, np.random.default_rng(seed))
    assert len(held_out[0]) == n_out
    assert sorted([*trained[0], *held_out[0]]) == list(range(n))
    for items, next_items, weights in (trained, held_out):
        assert (next_items == 2 * items).all()
        assert (weights is None) != weighted
        assert not weighted or (weights == items / 2).all()
        assert np.shares_memory(items, columns[0]) or not len(items)


def test_any_pair_may_be_held_out():
    found = set()
    for seed in range(200):
        rows = np.arange(20, dtype=np.int32)
        found |= set(parted((rows, rows.copy(), None), 2, np.random.default_rng(seed))[1][0].tolist())
    assert found == set(range(20))
