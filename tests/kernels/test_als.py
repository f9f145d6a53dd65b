"""One half-sweep against its dense float64 twin.

Tolerances are for float32 sums over some hundred terms: 1e-4 of a vector's norm and of the loss.
"""

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse.linalg

from cofactor.kernels.cpu import als as cpu
from cofactor.kernels.csr import CSR
from cofactor.system.memory import available_memory
from device import kernels
from reference import als as reference

OPTIONS = {"alpha": 3.0, "unobserved_weight": 0.5, "regularization": 0.2, "regularization_exponent": 0.5}
CONVERGED = {
    "cholesky": {"solver": "cholesky"},
    "cholesky along the axes": {"solver": "cholesky", "axes": True},  # short histories by their own systems
    "cg": {"solver": "cg", "cg_steps": 500},
    "subspace": {"solver": "subspace", "block_size": 128},  # one block: exact
}
UNFINISHED = {
    "cg 1": {"solver": "cg", "cg_steps": 1},
    "cg 3": {"solver": "cg", "cg_steps": 3},
    "cg 3 in 16 bits": {"solver": "cg", "cg_steps": 3, "gather": "bfloat16"},
    "subspace 1": {"solver": "subspace", "block_size": 1},
    "subspace 16": {"solver": "subspace", "block_size": 16},
    "subspace 32": {"solver": "subspace", "block_size": 32},
}
by_solver = pytest.mark.parametrize("solver", CONVERGED.values(), ids=CONVERGED.keys())
by_any = pytest.mark.parametrize("solver", [*CONVERGED.values(), *UNFINISHED.values()], ids=[*CONVERGED, *UNFINISHED])
by_unfinished = pytest.mark.parametrize("solver", UNFINISHED.values(), ids=UNFINISHED.keys())


def make(n_rows, n_columns, lengths=None, seed=0):
    """Histories of the given lengths (some of them empty), weights from 0.1 to 5."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, min(n_columns, 60) + 1, n_rows) if lengths is None else np.asarray(lengths)
    columns = [np.sort(rng.choice(n_columns, n, replace=False)) for n in lengths]
    return CSR(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([np.zeros(0), *columns]).astype(np.int32),
        rng.uniform(0.1, 5, lengths.sum()).astype(np.float32),
        n_columns,
    )


def vectors(n, factors, seed=1):
    return np.random.default_rng(seed).standard_normal((n, factors), np.float32) / np.float32(np.sqrt(factors))


def sweep(history, fixed, solver, *, start=None, threads=1, **changed):
    solved = np.zeros((history.n_rows, fixed.shape[1]), np.float32) if start is None else start.copy()
    options = {**OPTIONS, **solver, **changed}
    if options.pop("axes", solver["solver"] != "cholesky"):
        return sweep_along_axes(history, fixed, solved, threads, options)
    loss, failed = kernels.als_sweep(
        history, solved, fixed, kernels.gramian(fixed, threads=1), threads=threads, **options
    )
    assert failed == -1
    return solved, loss


def sweep_along_axes(history, fixed, solved, threads, options):
    """A sweep along the principal axes, from and to the axes at hand."""
    rotated, back = like(fixed), np.eye(fixed.shape[1], dtype=np.float32)
    gramian = kernels.to_principal_axes(rotated, solved, back, threads=threads)
    loss, failed = kernels.als_sweep(history, solved, rotated, gramian, threads=threads, **options)
    assert failed == -1
    return solved @ back.T, loss


def like(vectors):
    """A copy that starts at a cache line only where ``vectors`` do."""
    floats = np.empty(vectors.size + 32, np.float32)
    first = -floats.ctypes.data % 64 // 4 + (0 if vectors.ctypes.data % 64 == 0 else 1)
    copy = floats[first : first + vectors.size].reshape(vectors.shape)
    copy[:] = vectors
    return copy


def loss_of(history, solved, fixed, **changed):
    """The loss from scratch, without the regularization of the fixed side."""
    options = {**OPTIONS, **changed}
    rest = {name: value for name, value in options.items() if name != "alpha"}
    n = np.bincount(history.indices, minlength=history.n_columns)
    penalty = reference.row_penalty(n, history.n_rows, **rest) @ (fixed.astype(np.float64) ** 2).sum(1)
    return reference.loss(history, solved, fixed, **options) - penalty


def assert_close(got, wanted, tolerance=1e-4):
    assert np.linalg.norm(got - wanted) <= tolerance * np.linalg.norm(wanted)


@cache
def dense_solution(factors):
    history, fixed = make(50, 120), vectors(120, factors)
    solution = reference.solve(history, fixed, **OPTIONS)
    return history, fixed, solution, loss_of(history, solution, fixed)


@by_solver
@pytest.mark.parametrize("factors", [1, 3, 16, 17, 64, 100])
def test_every_solver_gives_the_dense_solution(cpu_level, factors, solver):
    history, fixed, wanted, least = dense_solution(factors)
    solved, loss = sweep(history, fixed, solver)
    assert_close(solved, wanted)
    assert loss == pytest.approx(least, rel=1e-4)
    assert (np.diff(history.indptr) == 0).any()
    assert not solved[np.diff(history.indptr) == 0].any()


@by_solver
@pytest.mark.parametrize("exponent", [0.0, 1.0])
@pytest.mark.parametrize("unobserved_weight", [0.0, 2.0])
def test_regularization_by_frequency(solver, exponent, unobserved_weight):
    changed = {"regularization_exponent": exponent, "unobserved_weight": unobserved_weight}
    history, fixed = make(30, 50), vectors(50, 5)
    solved, loss = sweep(history, fixed, solver, **changed)
    assert_close(solved, reference.solve(history, fixed, **{**OPTIONS, **changed}))
    assert loss == pytest.approx(loss_of(history, solved, fixed, **changed), rel=1e-4)


@by_unfinished
@pytest.mark.parametrize("factors", [3, 17, 64, 100, 512])
def test_the_loss_is_the_one_from_scratch_and_never_rises(cpu_level, factors, solver):
    history, fixed = make(40, 120), vectors(120, factors)
    solved = vectors(40, factors, seed=2)
    solved[np.diff(history.indptr) == 0] = 0
    last = loss_of(history, solved, fixed)
    tolerance = 1e-3 if "gather" in solver else 1e-4  # the loss of rounded vectors
    for _ in range(4):
        solved, loss = sweep(history, fixed, solver, start=solved)
        assert loss == pytest.approx(loss_of(history, solved, fixed), rel=tolerance)
        assert loss <= last * (1 + tolerance / 10)
        last = loss


@by_unfinished
def test_repeated_sweeps_reach_the_dense_solution(cpu_level, solver):
    history, fixed = make(30, 80), vectors(80, 40)
    solved = None
    for _ in range(60):
        solved, _ = sweep(history, fixed, solver, start=solved)
    assert_close(solved, reference.solve(history, fixed, **OPTIONS), 1e-2 if "gather" in solver else 1e-3)


def bfloat16(x):
    """The nearest number whose lower 16 bits are zeros, ties to even."""
    bits = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("factors", [16, 17, 33, 100])
def test_16_bits_are_those_of_the_nearest_bfloat16(cpu_level, factors):
    """The same as float32 on rounded vectors, but for what does not fill 32; short, long and few histories."""
    for history in (make(30, 90), make(4, 3_000, [2_900, 0, 5, 2_000]), make(3, 3_000, [5, 0, 40])):
        fixed, solved = vectors(history.n_columns, factors), vectors(history.n_rows, factors, seed=2)
        gramian, start = kernels.to_principal_axes(fixed, solved), solved.copy()
        fixed[0, 0] = 1 + 2**-8  # a tie
        n = (factors + 15) // 16 * 16 // 32 * 32
        fixed[:, n:] = bfloat16(fixed[:, n:])
        options = {**OPTIONS, "solver": "cg", "cg_steps": 3}
        loss, _ = kernels.als_sweep(history, solved, fixed, gramian, gather="bfloat16", **options)
        fixed = bfloat16(fixed)
        rounded, _ = kernels.als_sweep(history, start, fixed, gramian, **options)
        assert_close(solved, start, 1e-5)
        assert loss == pytest.approx(rounded, rel=1e-5)


def test_16_bits_leave_the_loss_where_it_is():
    history = make(200, 300)
    losses = []
    for gather in ("float32", "bfloat16"):
        users, items = vectors(200, 80, seed=2), vectors(300, 80)
        for _ in range(5):
            for h, solved, fixed in ((history, users, items), (history.transposed(), items, users)):
                gramian = kernels.to_principal_axes(fixed, solved)
                kernels.als_sweep(h, solved, fixed, gramian, solver="cg", gather=gather, **OPTIONS)
        losses.append(loss_of(history, users, items))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[1] != losses[0]


def test_more_steps_of_conjugate_gradient_than_can_help():
    """Once the residual is gone the solver stops, instead of dividing zero by zero."""
    history, fixed = make(30, 50), vectors(50, 3)
    for steps in (3, 10, 1000):
        solved, _ = sweep(history, fixed, {"solver": "cg", "cg_steps": steps})
        assert_close(solved, reference.solve(history, fixed, **OPTIONS))


@by_solver
@pytest.mark.parametrize("n", [15, 255, 256, 257, 513, 8191, 8193])
def test_histories_around_the_size_of_a_block(cpu_level, solver, n):
    history, fixed = make(5, 9000, [3, n, 0, n + 1, 20]), vectors(9000, 5)
    solved, _ = sweep(history, fixed, solver)
    assert_close(solved, reference.solve(history, fixed, **OPTIONS))


@pytest.mark.parametrize("block_size", [16, 48])
def test_a_history_longer_than_the_arena_is_streamed(cpu_level, block_size):
    """Histories of more than 2 MiB floats that one thread works on are gathered again for every block of columns."""
    history, fixed = make(3, 25_000, [20_000, 0, 40]), vectors(25_000, 110)
    solver, start = {"solver": "subspace", "block_size": block_size}, vectors(3, 110, seed=3)
    last = math.inf
    for _ in range(3):
        start, loss = sweep(history, fixed, solver, start=start)
        assert loss == pytest.approx(loss_of(history, start, fixed), rel=1e-4)
        assert loss < last
        last = loss


@by_any
@pytest.mark.parametrize("n_rows", [1, 40, 200])
def test_results_do_not_depend_on_threads(cpu_level, solver, n_rows):
    history, fixed = make(n_rows, 60), vectors(60, 40)
    one, loss = sweep(history, fixed, solver, threads=1)
    for threads in (2, 16):
        many, loss_many = sweep(history, fixed, solver, threads=threads)
        assert np.array_equal(one, many)
        assert loss == loss_many


@pytest.mark.parametrize("factors", [17, 32, 64, 100])
def test_short_histories_on_both_sides_of_every_limit(cpu_level, factors):
    """Rows of up to 3/4 as many entries as factors have systems of their own; the two longest are alike."""
    few = -(-factors // 16) * 16 * 3 // 4 // 16 * 16
    lengths = [1, 15, 16, 17, few - 1, few, few + 1, 47, 48, 49, factors, factors]
    history, fixed = make(len(lengths), 300, lengths), vectors(300, factors)
    fixed[history.row(3)[0][1]] = fixed[history.row(3)[0][0]]
    values = history.values.copy()
    values[:2] = 1e-6
    history = CSR(history.indptr, history.indices, values, 300)
    for unobserved_weight in (1e-4, 0.5):
        changed = {"unobserved_weight": unobserved_weight}
        solved, loss = sweep(history, fixed, CONVERGED["cholesky along the axes"], **changed)
        wanted = reference.solve(history, fixed, **{**OPTIONS, **changed})
        assert_close(solved, wanted)
        assert loss == pytest.approx(loss_of(history, wanted, fixed, **changed), rel=1e-4)


def test_fewer_fixed_vectors_than_factors_and_hardly_any_regularization(cpu_level):
    """What G has beyond its rank is roundoff, which must not come out as vectors of 1e8."""
    history, fixed = make(20, 9, np.full(20, 4)), vectors(9, 40)
    for solver in (CONVERGED["cholesky along the axes"], CONVERGED["cg"]):
        for regularization in (0.0, 1e-9):
            solved, loss = sweep(history, fixed, solver, regularization=regularization)
            assert 0 <= loss == pytest.approx(loss_of(history, solved, fixed, regularization=regularization), rel=1e-3)
            assert np.abs(solved).max() < 100


def test_fixed_vectors_that_are_no_numbers(cpu_level):
    for value in (np.nan, np.inf, 1e30):
        fixed, solved = np.full((9, 40), value, np.float32), np.zeros((3, 40), np.float32)
        gramian = kernels.to_principal_axes(fixed)
        for solver in ({"solver": "cholesky"}, {"solver": "cg"}, {"solver": "cg", "gather": "bfloat16"}):
            loss, _ = kernels.als_sweep(make(3, 9, [1, 5, 9]), solved, fixed, gramian, **solver, **OPTIONS)
            assert not np.isfinite(loss)


@by_solver
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1)])
def test_one_user_or_one_item(cpu_level, solver, shape):
    history, fixed = make(*shape, lengths=np.full(shape[0], shape[1])), vectors(shape[1], 4)
    solved, loss = sweep(history, fixed, solver)
    assert_close(solved, reference.solve(history, fixed, **OPTIONS))
    assert loss == pytest.approx(loss_of(history, solved, fixed), rel=1e-4)


@by_any
def test_no_interactions_at_all(cpu_level, solver):
    history = make(20, 30, np.zeros(20, np.int64))
    solved, loss = sweep(history, vectors(30, 40), solver, start=vectors(20, 40))
    assert not solved.any()
    assert loss == 0


@by_any
def test_no_rows_at_all(cpu_level, solver):
    solved, loss = sweep(make(0, 30, np.zeros(0, np.int64)), vectors(30, 40), solver)
    assert solved.shape == (0, 40)
    assert loss == 0


@pytest.mark.parametrize("name", ["cholesky", "subspace"])
def test_a_row_without_a_unique_solution_is_named(cpu_level, name):
    fixed = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    history = CSR.from_pairs([1, 1, 2, 3], [0, 1, 2, 2], np.ones(4), (4, 3))  # row 2: one item for two factors
    solved = np.zeros((4, 2), np.float32)
    loss, failed = kernels.als_sweep(
        history, solved, fixed, np.eye(2, dtype=np.float32),
        alpha=1.0, unobserved_weight=0.0, regularization=0.0, regularization_exponent=0.0, solver=name, threads=1,
    )  # fmt: skip
    assert failed == 2
    assert np.isnan(loss)


def test_a_block_without_a_unique_solution_is_named(cpu_level):
    fixed = vectors(60, 32)
    fixed[:, 20] = 0
    loss, failed = kernels.als_sweep(
        make(3, 60, [0, 55, 55]), np.zeros((3, 32), np.float32), fixed, np.eye(32, dtype=np.float32),
        alpha=1.0, unobserved_weight=0.0, regularization=0.0, regularization_exponent=0.0,
        solver="subspace", block_size=16, threads=1,
    )  # fmt: skip
    assert failed == 1
    assert np.isnan(loss)


def test_a_gramian_that_is_not_diagonal_is_refused():
    history, fixed = make(3, 60), vectors(60, 32)
    for solver in ("cg", "subspace"):
        with pytest.raises(ValueError, match="want a diagonal gramian"):
            sweep(history, fixed, {"solver": solver, "axes": False})


BROKEN = {
    "indptr does not start at 0": {"indptr": [1, 1, 2]},
    "indptr does not end": {"indptr": [0, 1, 3]},
    "indptr decreases": {"indptr": [0, 3, 2]},
    "columns must be ascending inside a row and in range": {"indices": [0, 3]},
    "values and indices differ": {"values": [1.0]},
}


def test_columns_out_of_order_are_refused():
    history = CSR(np.array([0, 2]), np.array([2, 0], "i4"), np.ones(2, "f4"), 3)
    with pytest.raises(ValueError, match="columns must be ascending"):
        sweep(history, vectors(3, 2), CONVERGED["cholesky"])


@pytest.mark.parametrize("message", BROKEN)
def test_broken_rows_are_refused(message):
    parts = {"indptr": [0, 1, 2], "indices": [0, 2], "values": [1.0, 1.0], **BROKEN[message]}
    arrays = (np.array(parts[name], t) for name, t in [("indptr", "i8"), ("indices", "i4"), ("values", "f4")])
    history = CSR(*arrays, 3)
    with pytest.raises(ValueError, match=message):
        sweep(history, vectors(3, 2), CONVERGED["cholesky"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"solved": (3, 4)}, "one row per history"),
        ({"solved": (2, 5)}, "same number of factors"),
        ({"gramian": (3, 3)}, "factors x factors"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changed, message):
    shapes = {"solved": (2, 4), "gramian": (4, 4), **changed}
    solved, gramian = (np.zeros(shapes[name], np.float32) for name in ("solved", "gramian"))
    with pytest.raises(ValueError, match=message):
        kernels.als_sweep(make(2, 30), solved, vectors(30, 4), gramian, solver="cholesky", threads=1, **OPTIONS)


def test_an_unknown_gather_is_refused():
    with pytest.raises(ValueError, match="gather must be float32 or bfloat16"):
        sweep(make(3, 9), vectors(9, 4), {"solver": "cg", "gather": "float8"})


@by_any
@pytest.mark.parametrize("factors", [16, 20, 64])
def test_fixed_rows_in_parts_change_no_bit(cpu_level, solver, factors):
    history, fixed = make(40, 300, seed=3), vectors(300, factors)
    gramian = cpu.to_principal_axes(fixed)
    options = {**OPTIONS, **{name: value for name, value in solver.items() if name != "axes"}}

    def solved(given):
        out = vectors(40, factors, seed=5)
        return out, cpu.als_sweep(history, out, given, gramian, **options)

    wanted, told = solved(fixed)
    for ends in ([0, 192, 300], [0, 64, 64, 256, 300], [0, 1, 7, 299, 300], [0, 300, 300]):
        parts = [like(fixed)[a:b] for a, b in pairwise(ends)]
        found, tells = solved(parts)
        assert np.array_equal(found, wanted), ends
        assert tells == told
    with pytest.raises(ValueError, match="must have a part"):
        solved([])
    with pytest.raises(ValueError, match="same number of factors"):
        solved([fixed, fixed[:, :-1]])


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="solver must be"):
        sweep(make(2, 30), vectors(30, 4), {"solver": "magic"})


def test_conjugate_gradient_refuses_other_axes():
    fixed = vectors(30, 4)
    with pytest.raises(ValueError, match="to_principal_axes"):
        kernels.als_sweep(
            make(2, 30), np.zeros((2, 4), np.float32), fixed, kernels.gramian(fixed), solver="cg", **OPTIONS
        )


@pytest.mark.parametrize("n", [0, 1, 7, 300])
@pytest.mark.parametrize("factors", [1, 3, 16, 65])
def test_principal_axes(cpu_level, n, factors):
    fixed, other = vectors(n, factors), vectors(11, factors, seed=2)
    one, two = fixed.copy(), other.copy()
    gramian = kernels.to_principal_axes(one, two, threads=2)
    again = fixed.copy()
    assert np.array_equal(kernels.to_principal_axes(again, threads=16), gramian)
    assert np.array_equal(again, one)
    np.testing.assert_allclose(two @ one.T, other @ fixed.T, atol=1e-5)
    np.testing.assert_allclose(one.T @ one, gramian, atol=1e-5 * max(1, n))
    assert np.array_equal(gramian, np.diag(np.sort(gramian.diagonal())[::-1]))


@pytest.mark.parametrize("unobserved_weight", [0.01, 0.5, 10.0])
def test_two_steps_are_worth_three_of_plain_conjugate_gradient(unobserved_weight):
    """Fixed vectors whose axes are of very different lengths, as those of real data are."""
    stretched = vectors(400, 24) * np.geomspace(3, 0.03, 24, dtype=np.float32)
    history, changed = make(200, 400), {"unobserved_weight": unobserved_weight, "regularization_exponent": 0.0}
    plain = np.zeros((200, 24))
    for row in range(200):
        if len(indices := history.row(row)[0]):
            a, b = reference.system(indices, history.row(row)[1], stretched, **{**OPTIONS, **changed})
            plain[row] = scipy.sparse.linalg.cg(a, b, maxiter=3)[0]
    two, loss = sweep(history, stretched, {"solver": "cg", "cg_steps": 2}, **changed)
    assert loss == pytest.approx(loss_of(history, two, stretched, **changed), rel=1e-4)
    assert loss < loss_of(history, plain, stretched, **changed)


# --- histories too long for a cache or a thread, and fixed vectors of which few are referred to ---


@pytest.fixture(scope="module")
def long_histories():
    """Lengths on both sides of every limit in the kernels: a cache, a group of long rows, a row shared by threads."""
    history, fixed = make(7, 60_000, lengths=[50_000, 9_000, 0, 40_000, 300, 8_193, 12_000]), vectors(60_000, 20)
    return history, fixed, reference.solve(history, fixed, **OPTIONS)


@pytest.mark.parametrize("solver", [*CONVERGED, "subspace 16"])
def test_long_histories(cpu_level, long_histories, solver):
    history, fixed, wanted = long_histories
    solver = CONVERGED.get(solver) or UNFINISHED[solver]
    solved = None
    for _ in range(30 if solver.get("block_size") == 16 else 1):
        solved, loss = sweep(history, fixed, solver, start=solved)
    assert_close(solved, wanted, 1e-3 if solver.get("block_size") == 16 else 1e-4)
    assert loss == pytest.approx(loss_of(history, wanted, fixed), rel=1e-4)


@pytest.mark.parametrize(
    "solver",
    [CONVERGED["cholesky"], CONVERGED["cholesky along the axes"], *UNFINISHED.values()],
    ids=["cholesky", "cholesky along the axes", *UNFINISHED],
)
def test_long_histories_give_the_same_whoever_works_on_them(long_histories, solver):
    history, fixed, _ = long_histories
    start = vectors(7, 20, seed=3)
    one, loss = sweep(history, fixed, solver, start=start)
    assert loss == pytest.approx(loss_of(history, one, fixed), rel=1e-4)
    for threads in (2, 5):
        more, same_loss = sweep(history, fixed, solver, start=start, threads=threads)
        assert np.array_equal(more, one)
        assert same_loss == loss


def test_groups_of_long_histories():
    """More rows than one group of conjugate gradient holds, each longer than the cache."""
    history, fixed = make(70, 1_200, lengths=[300] * 70), vectors(1_200, 512)
    one, loss = sweep(history, fixed, {"solver": "cg", "cg_steps": 60})
    assert_close(one, reference.solve(history, fixed, **OPTIONS))
    assert loss == pytest.approx(loss_of(history, one, fixed), rel=1e-4)
    more, same_loss = sweep(history, fixed, {"solver": "cg", "cg_steps": 60}, threads=3)
    assert np.array_equal(more, one)
    assert same_loss == loss


@pytest.mark.parametrize("length", [50, 3_000, 40_000])
@pytest.mark.parametrize("threads", [1, 2])
@by_any
def test_systems_that_are_not_positive_definite_are_named(solver, length, threads):
    history, fixed = make(3, 40_000, lengths=[0, length, 10]), vectors(40_000, 48)
    solved = vectors(3, 48, seed=3)
    options = {**OPTIONS, **solver, "unobserved_weight": -100.0, "regularization_exponent": 0.0}
    along_axes = options.pop("axes", solver["solver"] != "cholesky")
    gramian = kernels.to_principal_axes(fixed, solved) if along_axes else kernels.gramian(fixed)
    _, failed = kernels.als_sweep(history, solved, fixed, gramian, threads=threads, **options)
    assert failed in (1, 2)


@pytest.mark.parametrize("weight", [1e-9, 1e-18, 1e-30])
def test_tiny_weights_converge(weight):
    """Squares of what is below 1e-19 are no float32 any more, so that there only the size of the solution is right."""
    history, fixed = make(20, 60), vectors(60, 20)
    history = CSR(history.indptr, history.indices, np.full(history.nnz, weight, np.float32), 60)
    changed = {"alpha": 1.0, "regularization": 0.01, "unobserved_weight": 0.01}
    solved, _ = sweep(history, fixed, {"solver": "cg", "cg_steps": 200}, **changed)
    wanted = reference.solve(history, fixed, **{**OPTIONS, **changed})
    assert np.linalg.norm(solved - wanted) <= max(1e-3 * np.linalg.norm(wanted), 1e-16)


@by_solver
@pytest.mark.parametrize("factors", [16, 20])
def test_few_of_many_fixed_vectors(cpu_level, solver, factors):
    history, fixed = make(3, 3_000, lengths=[5, 0, 40]), vectors(3_000, factors)
    solved, _ = sweep(history, fixed, solver)
    assert_close(solved, reference.solve(history, fixed, **OPTIONS))


@pytest.mark.parametrize("solver", [CONVERGED["cholesky"], *UNFINISHED.values()], ids=["cholesky", *UNFINISHED])
@pytest.mark.parametrize("n_fixed", [40, 20_000])
def test_where_vectors_start_in_memory_does_not_matter(solver, n_fixed):
    history = make(20, n_fixed, lengths=[20] * 19 + [n_fixed // 3])
    anywhere = vectors(n_fixed * 32 + 1, 1).ravel()[1:].reshape(n_fixed, 32)
    aligned = kernels.vectors(n_fixed, 32, lambda out: np.copyto(out, anywhere))
    assert aligned.ctypes.data % 64 == 0
    start = vectors(20, 32, seed=3)
    assert np.array_equal(
        sweep(history, anywhere, solver, start=start)[0], sweep(history, aligned, solver, start=start)[0]
    )


@by_solver
@pytest.mark.parametrize("factors", [64, 60])
def test_more_than_two_to_the_31_elements(solver, factors):
    """Only the rows referred to are ever touched, so that the memory behind the others is never taken."""
    n_fixed = 2**31 // factors + 1000
    try:
        fixed = kernels.vectors(n_fixed, factors)
    except MemoryError:
        pytest.skip("this system does not promise memory that is not there")
    rows, small = np.array([3, n_fixed // 2, n_fixed - 2, n_fixed - 1]), vectors(4, factors)
    gramian = kernels.to_principal_axes(small)
    fixed[rows] = small
    history = CSR(np.array([0, 4]), rows.astype(np.int32), np.array([1, 2, 3, 4], np.float32), n_fixed)
    dense = CSR(np.array([0, 4]), np.arange(4, dtype=np.int32), history.values, 4)
    options = {**OPTIONS, **solver, "regularization_exponent": 0.0}
    options.pop("axes", None)
    solved, wanted = np.zeros((1, factors), np.float32), np.zeros((1, factors), np.float32)
    loss, _ = kernels.als_sweep(history, solved, fixed, gramian, threads=2, **options)
    # Four rows have four axes: the others are roundoff, which conjugate gradient sees to the fifth place.
    assert kernels.als_sweep(dense, wanted, small, gramian, threads=1, **options)[0] == pytest.approx(loss, rel=1e-5)
    assert_close(solved, wanted, 1e-5)


@pytest.mark.slow
@pytest.mark.cpu_only
def test_more_than_two_to_the_31_solved_elements():
    """The last row lies beyond element 2^31; the rows before it are empty."""
    factors = 1024
    n_rows = 2**31 // factors + 2
    if (available_memory() or 0) < 14e9:
        pytest.skip("needs 14 GB")
    fixed = vectors(30, factors)
    indptr = np.zeros(n_rows + 1, np.int64)
    indptr[-1] = 30
    history = CSR(indptr, np.arange(30, dtype=np.int32), np.ones(30, np.float32), 30)
    alone = CSR(indptr[-2:], history.indices, history.values, 30)
    solved, gramian = np.empty((n_rows, factors), np.float32), kernels.to_principal_axes(fixed)
    for solver in CONVERGED.values():
        options = {**OPTIONS, **solver, "regularization": 50.0}
        options.pop("axes", None)
        solved[-1], wanted = 0, np.zeros((1, factors), np.float32)
        loss, _ = kernels.als_sweep(history, solved, fixed, gramian, threads=2, **options)
        wanted_loss, _ = kernels.als_sweep(alone, wanted, fixed, gramian, threads=1, **options)
        assert np.array_equal(solved[-1:], wanted)
        assert loss == wanted_loss
        assert not solved[: 2**31 // factors : 1000].any()
