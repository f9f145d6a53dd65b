"""Top-k of histories times weights against a sort of all scores: whole numbers, so that float32 sums are exact."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from device import filtered, kernels
from reference import linear_topk as reference

COLUMNS = [1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 500, 1025]


def whole(rng, *shape):
    """Small whole numbers: exact in float32 and full of ties."""
    return rng.integers(-2, 3, shape).astype(np.float32)


def sparse(rng, n_rows, n_columns, density, *, shuffled=False):
    """Whole values, zeros among them."""
    rows, columns = np.nonzero(rng.random((n_rows, n_columns)) < density)
    matrix = CSR.from_pairs(rows, columns, whole(rng, len(rows)), (n_rows, n_columns))
    if not shuffled:
        return matrix
    order = np.lexsort((rng.random(matrix.nnz), matrix.row_index()))
    return CSR(matrix.indptr, matrix.indices[order], matrix.values[order], n_columns)


def assert_equal(got, wanted):
    assert np.array_equal(got[0], wanted[0])
    assert np.array_equal(got[1], wanted[1])


@pytest.mark.parametrize("n_items", COLUMNS)
def test_columns_around_blocks(cpu_level, n_items):
    rng = np.random.default_rng(n_items)
    histories = sparse(rng, 30, 40, 0.1)
    for weights in (sparse(rng, 40, n_items, 0.2), whole(rng, 40, n_items)):
        for k in (1, 10, n_items, 10**9):
            assert_equal(
                kernels.linear_top_k(histories, weights, k, threads=1), reference.linear_top_k(histories, weights, k)
            )


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, m, n_items = (draw(st.integers(1, high)) for high in (60, 50, 150))
    n, density = draw(st.sampled_from([n, 0])), draw(st.sampled_from([0.0, 0.02, 0.2, 1.0]))
    options = {}
    if draw(st.booleans()):
        options["exclude"] = sparse(rng, n, n_items, draw(st.sampled_from([0.05, 0.5, 0.95, 1.0])))
    if draw(st.booleans()):
        chosen = rng.choice(n_items, draw(st.integers(1, n_items)), replace=False)
        options["allowed"] = np.sort(chosen).astype(np.int32)
    dense = draw(st.booleans())
    weights = whole(rng, m, n_items) if dense else sparse(rng, m, n_items, density, shuffled=True)
    histories = sparse(rng, n, m, draw(st.sampled_from([0.0, 0.02, 0.2, 1.0])))
    return histories, weights, draw(st.integers(1, 180)), options


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), threads=st.sampled_from([1, 2, 40]))
def test_every_combination_of_filters(cpu_level, case, threads):
    histories, weights, k, options = case
    wanted = reference.linear_top_k(histories, weights, k, **options)
    assert_equal(kernels.linear_top_k(histories, weights, k, threads=threads, **filtered(**options)), wanted)
    table = reference.scores(histories, weights).astype(np.float32)
    assert_equal(kernels.select_top_k(table, k, threads=threads, **filtered(**options)), wanted)


def test_unreached_columns_do_not_come_back_and_reached_ones_do_at_any_score(cpu_level):
    weights = CSR.from_pairs([0, 0, 0, 1, 1], [0, 2, 70, 2, 71], [0.0, 1.0, -3.0, -1.0, -0.0], (2, 80))
    histories = CSR.from_pairs([0, 0, 1], [0, 1, 1], [1.0, 1.0, -1.0], (3, 2))
    rows, scores = kernels.linear_top_k(histories, weights, 5)
    assert rows.tolist() == [[0, 2, 71, 70, -1], [2, 71, -1, -1, -1], [-1] * 5]
    assert scores.tolist() == [[0, 0, 0, -3, -np.inf], [1, 0, *[-np.inf] * 3], [-np.inf] * 5]


def test_what_is_no_number_never_comes_back(cpu_level):
    scores = np.zeros((1, 100), np.float32)
    scores[0, [3, 40, 66]] = np.nan, -np.inf, np.nan
    rows, _ = kernels.select_top_k(scores, 100)
    assert rows[0].tolist() == [*(i for i in range(100) if i not in (3, 40, 66)), -1, -1, -1]
    histories = CSR.from_pairs([0], [0], [1.0], (1, 1))
    weights = CSR.from_pairs(np.zeros(100), np.arange(100), scores[0], (1, 100))
    assert np.array_equal(kernels.linear_top_k(histories, weights, 100)[0], rows)
    assert np.array_equal(kernels.linear_top_k(histories, scores, 100)[0], rows)


def test_threads_order_and_company_change_nothing(cpu_level):
    """Fractions, to the last bit: also whether a history is alone, where dense weights are read in place."""
    rng = np.random.default_rng(0)
    histories = sparse(rng, 200, 300, 0.1)
    histories = CSR(histories.indptr, histories.indices, rng.random(histories.nnz, np.float32), 300)
    dense = rng.standard_normal((300, 777), np.float32)
    rows, columns = np.nonzero(rng.random((300, 777)) < 0.1)
    weights = CSR.from_pairs(rows, columns, dense[rows, columns], (300, 777))
    order = np.lexsort((rng.random(weights.nnz), weights.row_index()))
    shuffled = CSR(weights.indptr, weights.indices[order], weights.values[order], 777)
    for one, other in ((weights, shuffled), (dense, dense)):
        together = kernels.linear_top_k(histories, one, 20, threads=1)
        assert_equal(kernels.linear_top_k(histories, other, 20, threads=7), together)
        alone = [kernels.linear_top_k(histories.take([row]), other, 20) for row in range(200)]
        assert_equal([np.concatenate(part) for part in zip(*alone, strict=True)], together)


def test_close_to_float64(cpu_level):
    rng = np.random.default_rng(1)
    histories = sparse(rng, 50, 400, 0.3)
    dense = rng.standard_normal((400, 130), np.float32)
    rows, scores = kernels.linear_top_k(histories, dense, 130)
    wanted = histories.to_scipy().toarray().astype(np.float64) @ dense
    np.testing.assert_allclose(scores, np.take_along_axis(wanted, rows.astype(np.int64), 1), rtol=1e-4, atol=1e-4)


def test_bad_shapes_and_columns():
    one = CSR.from_pairs([0], [0], [1.0], (1, 3))
    with pytest.raises(cf.ParameterError, match="histories have 3 columns, but there are 4 rows of weights"):
        kernels.linear_top_k(one, np.zeros((4, 5), np.float32), 2)
    with pytest.raises(cf.ParameterError, match=r"exclude has shape \(1, 3\); it must be \(1, 5\)"):
        kernels.linear_top_k(one, np.zeros((3, 5), np.float32), 2, filters=Filters(one))
    outside = CSR(np.array([0, 1, 1, 1]), np.array([5], np.int32), np.ones(1, np.float32), 5)
    with pytest.raises(ValueError, match="those of weights in range"):
        kernels.linear_top_k(one, outside, 2)
    with pytest.raises(ValueError, match="histories must be ascending and in range"):
        kernels.linear_top_k(CSR(np.array([0, 1]), np.array([3], np.int32), np.ones(1, np.float32), 3), outside, 2)
    with pytest.raises(ValueError, match=r"allowed must hold ascending (columns|item rows)"):
        kernels.select_top_k(np.zeros((1, 5), np.float32), 2, filters=Filters(allowed=np.array([2, 1], np.int32)))
