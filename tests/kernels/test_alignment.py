"""Kernels read and write vectors wherever NumPy laid them: a view may start at any float of a cache line.

Compiled code that takes a whole vector to be aligned is right for most arrays and ends the process on others. So the
compiled functions get their arrays moved to a given float of a cache line here, and must give the same as before.
"""

import numpy as np
import pytest
import scipy.sparse as sp

from cofactor.kernels import native
from cofactor.kernels.arguments import Similarity
from cofactor.kernels.arrays import aligned_zeros, width_of
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters
from device import kernels

CACHE_LINE, LARGE_PAGE = 64, 1 << 21
PLACES = [0, 1, 4, 8, 15]  # 4 and 8 floats are whole vectors of the lower CPU levels
N, M, FACTORS = 70, 130, 40  # more than a tile and a half of every level, none of them a multiple of one


def at_place(array, place):
    """A copy that starts ``place`` floats after the start of a cache line."""
    room = np.empty(array.nbytes + 2 * CACHE_LINE, np.uint8)
    first = -room.ctypes.data % CACHE_LINE + 4 * place
    copy = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert copy.ctypes.data % CACHE_LINE == 4 * place
    return copy


class Moved:
    """Compiled functions whose arrays of float32 lie elsewhere while they run."""

    def __init__(self, lib, place):
        self.lib, self.place, self.n_moved = lib, place, 0

    def __getattr__(self, name):
        function = getattr(self.lib, name)

        def call(*args):
            moved = [at_place(a, self.place) if is_float(a) else a for a in args]
            result = function(*moved)
            for before, now in zip(args, moved, strict=True):
                if now is not before:
                    before[...] = now
                    self.n_moved += 1
            return result

        return call


def is_float(argument):
    return isinstance(argument, np.ndarray) and argument.dtype == np.float32


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def sparse(n, m):
    return CSR.from_scipy(sp.random(n, m, 0.2, "csr", np.float32, rng=np.random.default_rng(n)))


def flat(rows):
    return rows.indptr, rows.indices, rows.values


def top_k():
    filters = Filters(sparse(N, M))
    few, many = (kernels.top_k(normal(n, FACTORS), normal(M, FACTORS), 9, bias=normal(M)) for n in (5, N))
    return *few, *many, *kernels.top_k(normal(N, FACTORS), normal(M, FACTORS), 9, filters=filters)


def ranks():
    return kernels.ranks(normal(N, FACTORS), normal(M, FACTORS), sparse(N, M), filters=Filters(sparse(N, M)))


def linear_top_k():
    dense, of_sparse = (kernels.linear_top_k(sparse(N, M), weights, 9) for weights in (normal(M, M), sparse(M, M)))
    return *dense, *of_sparse, *kernels.select_top_k(normal(N, M), 9)


def als_sweep(solver, **options):
    fixed, solved = normal(M, FACTORS), normal(N, FACTORS)
    rotated, back = fixed.copy(), np.eye(FACTORS, dtype=np.float32)
    gramian = kernels.gramian(rotated) if solver == "cholesky" else kernels.to_principal_axes(rotated, solved, back)
    loss, failed = kernels.als_sweep(
        sparse(N, M), solved, rotated, gramian, alpha=2.0, unobserved_weight=0.5, regularization=0.1,
        regularization_exponent=0.5, solver=solver, **options,
    )  # fmt: skip
    return gramian, solved, back, loss, failed


def products():
    symmetric = normal(M, M) + normal(M, M).T
    forms = kernels.quadratic_forms(symmetric, sparse(N, M))
    kernels.mirror_scaled(symmetric, normal(M), 1.0)
    dense = kernels.dense_product(normal(FACTORS, M), sparse(N, M))
    return forms, symmetric, dense, kernels.sparse_product(sparse(N, M), sparse(M, FACTORS))


def neighbours():
    a, formula = sparse(N, M), Similarity(row_add=np.ones(N))
    product = kernels.product_neighbours(a, sparse(M, N), 9, formula)
    return *flat(kernels.neighbours(a, 9, formula, weights=abs(normal(M)))), *flat(product)


def slim_columns():
    x = sparse(N, M)
    gramian = np.zeros((M, -(-M // 16) * 16), np.float32)
    gramian[:, :M] = (x.to_scipy().T @ x.to_scipy()).toarray()
    ways = [
        kernels.slim_columns(
            x, x.transposed(), 0, M, gramian=way, l1=0.1, l2=1.0, non_negative=False, tolerance=1e-4, iterations=100
        )
        for way in (gramian, None)
    ]
    return [array for weights, status in ways for array in (*flat(weights), status)]


CALLS = {
    "top_k": top_k,
    "ranks": ranks,
    "linear_top_k": linear_top_k,
    "als_sweep by cholesky": lambda: als_sweep("cholesky"),
    "als_sweep by cg": lambda: als_sweep("cg", cg_steps=3),
    "als_sweep by cg in 16 bits": lambda: als_sweep("cg", cg_steps=3, gather="bfloat16"),
    "als_sweep by subspace": lambda: als_sweep("subspace", block_size=16),
    "products": products,
    "neighbours": neighbours,
    "slim_columns": slim_columns,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_results_do_not_depend_on_where_arrays_lie(cpu_level, call, monkeypatch):
    wanted = call()
    for place in PLACES:
        moved = Moved(native.lib, place)
        with monkeypatch.context() as patch:
            patch.setattr(native, "lib", moved)
            got = call()
        assert moved.n_moved > 0
        for now, before in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(now, before)


def test_rows_are_as_wide_as_the_next_multiple_of_16():
    assert [width_of(n) for n in (0, 1, 15, 16, 17, 64, 129)] == [0, 16, 16, 16, 32, 64, 144]


@pytest.mark.parametrize(("n", "place"), [(3, CACHE_LINE), (20_000, LARGE_PAGE)])
def test_rows_begin_at_a_cache_line_and_many_at_a_large_page(n, place):
    rows = aligned_zeros(n, 64)
    assert rows.shape == (n, 64)
    assert rows.flags.c_contiguous
    assert not rows.any()
    assert rows.ctypes.data % place == 0
