"""Permutations that are not stored, and gathering by them."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from device import kernels
from reference import shuffle as reference

FEW = 2**14  # up to here the network has more rounds


@pytest.mark.parametrize("n", [1, 2, 7, 300, FEW, FEW + 1, 70_000])
@pytest.mark.parametrize("threads", [1, 50])
def test_every_row_once_and_as_the_twin_says(cpu_level, n, threads):
    rows = kernels.permuted_rows(n, 2**64 - 3, 0, n, threads=threads)
    assert np.array_equal(np.sort(rows), np.arange(n))
    few = range(max(0, n - 100), n)
    assert rows[few].tolist() == reference.permuted_rows(n, 2**64 - 3, few.start, n)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 5000) | st.integers(FEW - 5, FEW + 5), st.integers(0, 2**64 - 1), st.data())
def test_a_part_is_a_part_of_the_whole(where, n, seed, data):
    begin = data.draw(st.integers(0, n))
    end = data.draw(st.integers(begin, n))
    whole = kernels.permuted_rows(n, seed, 0, n)
    assert np.array_equal(kernels.permuted_rows(n, seed, begin, end), whole[begin:end])
    assert len(set(whole.tolist())) == n


@pytest.mark.parametrize("n", [3, 5])
def test_all_orders_of_a_few_are_equally_likely(n):
    orders = dict.fromkeys(permutations(range(n)), 0)
    for seed in range(200 * len(orders)):
        orders[tuple(kernels.permuted_rows(n, seed, 0, n, threads=1).tolist())] += 1
    assert stats.chisquare(list(orders.values())).pvalue > 0.001


@pytest.mark.parametrize(("n", "seeds"), [(40, 4000), (1000, 1000), (FEW, 60), (FEW + 1, 60), (300_000, 5)])
def test_what_stands_side_by_side_is_by_chance(n, seeds):
    """Places are uniform, neighbours are any distance apart, and of neighbours no order is preferred."""
    cells = min(n - 1, 500)
    orders = [kernels.permuted_rows(n, seed, 0, n) for seed in range(seeds)]
    distances = np.concatenate([np.diff(order) % n - 1 for order in orders]) * cells // (n - 1)
    wanted = np.bincount(np.arange(n - 1) * cells // (n - 1), minlength=cells) / (n - 1) * len(distances)
    assert stats.chisquare(np.bincount(distances, minlength=cells), wanted).pvalue > 0.001
    half = n // 2
    early = [(order[:half] < half).sum() for order in orders]  # hypergeometric: rows that stay in their half
    z = (np.array(early) - half * half / n) / stats.hypergeom(n, half, half).std()
    assert abs(z.sum()) < 4 * np.sqrt(seeds)
    serial = [np.corrcoef(order[:-1], order[1:])[0, 1] * np.sqrt(n) + 1 / np.sqrt(n) for order in orders]
    assert abs(np.sum(serial)) < 4 * np.sqrt(seeds)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("threads", [1, 50])
def test_gathering(cpu_level, dtype, threads):
    rng = np.random.default_rng(0)
    table = rng.integers(0, 1000, (20_000, 3)).astype(dtype)
    for values in (table[:, 1], np.ascontiguousarray(table[:, 2]), table[::-2, 0]):
        rows = rng.integers(0, len(values), 30_001)
        out = np.empty(len(rows), dtype)
        kernels.gather(values, rows, out=out, threads=threads)
        assert np.array_equal(out, values[rows])
    kernels.gather(table[:0, 0], np.zeros(0, np.int64), out=np.empty(0, dtype))


def test_places_and_rows_are_checked():
    out = np.empty(2, np.int32)
    with pytest.raises(ValueError, match="among the n"):
        kernels.permuted_rows(5, 0, 3, 6)
    with pytest.raises(ValueError, match="in range"):
        kernels.gather(np.zeros(3, np.int32), np.array([0, 3]), out=out)
    with pytest.raises(ValueError, match="in range"):
        kernels.gather(np.zeros(3, np.int32), np.array([0, -1]), out=out)
    with pytest.raises(ValueError, match="one value per row"):
        kernels.gather(np.zeros(3, np.int32), np.array([0]), out=out)
