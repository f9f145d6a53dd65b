"""The native kernels, compiled for several CPU levels; the best one that this machine can run is chosen at import."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels import _native_baseline
from cofactor.kernels.blas import limited
from cofactor.kernels.csr import CSR, offsets
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    Float = NDArray[np.float32]

__all__ = [
    "LEVELS",
    "PastSessions",
    "SessionKnn",
    "Similarity",
    "als_sweep",
    "covisitation_compact",
    "covisitation_index",
    "covisitation_kept",
    "covisitation_records",
    "covisitation_rows",
    "dense_product",
    "empty_vectors",
    "gramian",
    "level",
    "linear_top_k",
    "mirror_scaled",
    "neighbours",
    "product_neighbours",
    "quadratic_forms",
    "select_top_k",
    "session_places",
    "session_scores",
    "session_top_k",
    "slim_columns",
    "sparse_product",
    "supported_levels",
    "to_principal_axes",
    "top_k",
    "transpose",
    "use_level",
]

_LONGEST_GAP = 2**32 - 1

LEVELS = ("baseline", "avx2", "avx512", "avx512vnni")


def supported_levels() -> tuple[str, ...]:
    """The CPU levels that this machine can run, slowest first."""
    return LEVELS[: LEVELS.index(_native_baseline.supported_level()) + 1]


def use_level(name: str) -> None:
    """Switch to the kernels of one CPU level: for tests and for comparing; ``COFACTOR_CPU`` does so at import.

    Raises
    ------
    ParameterError
        The level does not exist or this CPU cannot run it.
    """
    global _native, level  # noqa: PLW0603
    if name not in supported_levels():
        raise ParameterError(
            f"CPU level {name!r} cannot be used here; this machine runs {', '.join(supported_levels())}"
        )
    _native = importlib.import_module(f"cofactor.kernels._native_{name}")
    level = name


_native: ModuleType
level: str
use_level(os.environ.get("COFACTOR_CPU") or supported_levels()[-1])


def transpose(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], values: Float, n_columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], Float]:
    """Offsets, indices and values of the transposed matrix; O(nnz)."""
    out = (
        np.empty(n_columns + 1, np.int64),
        np.empty(len(indices), np.int32),
        np.empty(len(indices), np.float32),
    )
    _native.transpose(indptr, indices, values, n_columns, *out)
    return out


def gramian(y: Float, *, threads: int | None = None) -> Float:
    """``y.T @ y`` for y (n, factors) float32, in float32 with blocked sums."""
    out = np.empty((y.shape[1], y.shape[1]), np.float32)
    _native.gramian(y, out, resolve_threads(threads))
    return out


def empty_vectors(n: int, factors: int) -> Float:
    """Uninitialised vectors (n, factors) float32 that start at a cache line: ``als_sweep`` copies others."""
    floats = np.empty(n * factors + 16, np.float32)
    skip = -floats.ctypes.data % 64 // 4
    return floats[skip : skip + n * factors].reshape(n, factors)


def to_principal_axes(fixed: Float, *others: Float, threads: int | None = None) -> Float:
    """Rotate ``fixed`` and ``others``, all (n, factors) float32, in place so that ``fixed.T @ fixed`` is diagonal.

    Inner products between rows stay as they are. The axis along which ``fixed`` is longest comes first. Costs
    ``factors^2`` multiply-adds a row, and the eigenvectors of a Gramian. Interrupted by Ctrl-C it leaves rows that are
    not rotated.

    Returns
    -------
    (factors, factors) float32
        The diagonal Gramian of ``fixed``: "cg" and "subspace" of :func:`als_sweep` ask for it, "cholesky" is quicker
        with it where histories are shorter than vectors. Below 1e-7 of the largest value all is roundoff, and that is
        put in its place. NaN, and nothing rotated, where ``fixed`` is not finite or too large for float32.
    """
    square = gramian(fixed, threads=threads).astype(np.float64)
    if not np.isfinite(square).all():
        return np.diag(np.full(len(square), np.nan, np.float32))
    with limited(1):  # with OpenBLAS the same whatever the number of threads, and no slower
        values, axes = np.linalg.eigh(square)
    rotation = np.ascontiguousarray(axes[:, ::-1], np.float32)
    for vectors in (fixed, *others):
        _native.rotate(vectors, rotation, resolve_threads(threads))
    return np.diag(np.maximum(values[::-1], 1e-7 * values[-1])).astype(np.float32)


def als_sweep(
    history: CSR,
    solved: Float,
    fixed: Float,
    fixed_gramian: Float,
    *,
    alpha: float,
    unobserved_weight: float,
    regularization: float,
    regularization_exponent: float,
    solver: str,
    cg_steps: int = 3,
    cg_tolerance: float = 1e-7,
    block_size: int = 32,
    threads: int | None = None,
) -> tuple[float, int]:
    """Improve every row of ``solved`` (n_rows, factors) in place with ``fixed`` (n_fixed, factors) held.

    The solvers "cg" and "subspace" want both sides as :func:`to_principal_axes` leaves them, and the Gramian that it
    returns; "cholesky" needs no rotated ``solved``. With "cg" a row is done after ``cg_steps``, or as soon as a step
    lowers its loss by less than ``cg_tolerance``² of what its vector explains (the sum of its weights less the loss):
    about that relative error in the norm of its system. Below the roundoff of float32 there is nothing left to improve.

    Returns
    -------
    loss : float
        Summed over rows: observed and unobserved squares and the regularization of ``solved``.
    failed_row : int
        A row whose system was not positive definite (``solved`` is then useless), or -1.
    """
    return _native.als_sweep(  # type: ignore[no-any-return]
        history.indptr, history.indices, history.values, solved, fixed, fixed_gramian,
        alpha, unobserved_weight, regularization, regularization_exponent,
        solver, cg_steps, cg_tolerance, block_size, resolve_threads(threads),
    )  # fmt: skip


def sparse_product(
    a: CSR, b: CSR, *, lower: bool = False, out: Float | None = None, threads: int | None = None
) -> Float:
    """``a @ b`` as a dense matrix, (a.n_rows, b.n_columns) float32: one addition per pair of entries that meet.

    Parameters
    ----------
    a : CSR (n, m)
    b : CSR (m, p)
    lower : bool
        The product is symmetric: leave what lies above its diagonal as it is (uninitialised in a new matrix).
    out : (n, p) float32, optional
        Where the product goes; by default a new matrix.
    """
    if a.n_columns != b.n_rows:
        raise ValueError(f"a has {a.n_columns} columns and b {b.n_rows} rows")
    out = np.empty((a.n_rows, b.n_columns), np.float32) if out is None else out
    threads = resolve_threads(threads)
    _native.sparse_product(a.indptr, a.indices, a.values, b.indptr, b.indices, b.values, lower, out, threads)
    return out


def dense_product(d: Float, b: CSR, *, out: Float | None = None, threads: int | None = None) -> Float:
    """``d @ b.T`` for d (n, m) float32 and b (p, m) sparse, (n, p) float32; O(n nnz) in vectors."""
    out = np.empty((len(d), b.n_rows), np.float32) if out is None else out
    _native.dense_product(d, b.indptr, b.indices, b.values, out, resolve_threads(threads))
    return out


def quadratic_forms(k: Float, b: CSR, *, threads: int | None = None) -> NDArray[np.float64]:
    """``b[i] @ k @ b[i].T`` for every row of b (n, m); of k (m, m) float32, symmetric, the lower triangle is read."""
    out = np.empty(b.n_rows, np.float64)
    _native.quadratic_forms(k, b.indptr, b.indices, b.values, out, resolve_threads(threads))
    return out


def mirror_scaled(p: Float, scale: Float, diagonal: float, *, threads: int | None = None) -> None:
    """Complete a symmetric p (n, n) from its lower triangle, in place, scale its columns and set its diagonal."""
    _native.mirror_scaled(p, scale, diagonal, resolve_threads(threads))


def top_k(
    queries: Float,
    items: Float,
    k: int,
    *,
    bias: Float | None = None,
    exclude: CSR | None = None,
    allowed: NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> tuple[NDArray[np.int32], Float]:
    """The k best items of every query by ``queries @ items.T + bias``.

    Parameters
    ----------
    queries : (n, factors) float32
    items : (n_items, factors) float32
    k : int
        Cut to the number of items to choose from.
    bias : (n_items,) float32, optional
    exclude : CSR (n, n_items), optional
        Items that must not come back; values are not read.
    allowed : (m,) int32, optional
        The only items to choose from, ascending.

    Returns
    -------
    rows : (n, k) int32
        Best first, ties by item row; -1 where no item is left.
    scores : (n, k) float32
        Minus infinity where no item is left.
    """
    rows, scores = _lists(len(queries), k, len(items), allowed)
    _native.top_k(
        queries, items, bias,
        None if exclude is None else exclude.indptr, None if exclude is None else exclude.indices,
        allowed, rows, scores, resolve_threads(threads),
    )  # fmt: skip
    return rows, scores


def linear_top_k(
    histories: CSR,
    weights: CSR | Float,
    k: int,
    *,
    exclude: CSR | None = None,
    allowed: NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> tuple[NDArray[np.int32], Float]:
    """The k best columns of every row of ``histories @ weights``.

    Parameters
    ----------
    histories : CSR (n, m)
    weights : CSR (m, n_items) or (m, n_items) float32
        Of sparse weights only the columns that a history reaches can come back, whatever their score; the columns of
        a row may be in any order. Of dense ones all, but none for a history that is empty.
    k : int
        Cut to the number of items to choose from.
    exclude : CSR (n, n_items), optional
        Items that must not come back; values are not read.
    allowed : (a,) int32, optional
        The only items to choose from, ascending.

    Returns
    -------
    rows : (n, k) int32
        Best first, ties by item row; -1 where no item is left.
    scores : (n, k) float32
        Minus infinity where no item is left, which is what a score that is no number counts as.

    Raises
    ------
    ParameterError
        The shapes do not fit.
    """
    m, n_items = weights.shape
    if histories.n_columns != m:
        raise ParameterError(f"histories have {histories.n_columns} columns, but there are {m} rows of weights")
    filters = _filters(histories.n_rows, n_items, exclude, allowed)
    rows, scores = _lists(histories.n_rows, k, n_items, allowed)
    threads = resolve_threads(threads)
    given = (histories.indptr, histories.indices, histories.values)
    if isinstance(weights, np.ndarray):
        _native.linear_top_k_dense(*given, weights, *filters, rows, scores, threads)
    else:
        parts = (weights.indptr, weights.indices, weights.values)
        _native.linear_top_k_sparse(*given, *parts, n_items, *filters, rows, scores, threads)
    return rows, scores


def select_top_k(
    scores: Float,
    k: int,
    *,
    exclude: CSR | None = None,
    allowed: NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> tuple[NDArray[np.int32], Float]:
    """The k best columns of every row of ``scores``, (n, n_items) float32, NaN and minus infinity left out.

    Filters and result are those of :func:`linear_top_k`.
    """
    n, n_items = scores.shape
    filters = _filters(n, n_items, exclude, allowed)
    rows, best = _lists(n, k, n_items, allowed)
    _native.select_top_k(scores, *filters, rows, best, resolve_threads(threads))
    return rows, best


class PastSessions(NamedTuple):
    """What neighbours are looked for in; sessions are numbered by time, the oldest 0."""

    indptr: NDArray[np.int64]  # (n_sessions + 1,)
    items: NDArray[np.int32]  # (n_events,), of a session the oldest first
    weights: NDArray[np.float64]  # (n_sessions,), what the similarity to a session is multiplied by
    places_indptr: NDArray[np.int64]  # (n_items + 1,)
    places: NDArray[np.int32]  # the sessions of every item, newest first
    item_weights: NDArray[np.float64]  # (n_items,), of an item that is shared
    candidate_weights: NDArray[np.float64]  # (n_items,), of an item that is scored


class SessionKnn(NamedTuple):
    """The parameters of :class:`cofactor.SessionKNN` that a query needs; ``inf`` for no decay."""

    neighbours: int
    sample_size: int
    last_events: int
    lambda1: float
    lambda3: float
    backward: float
    repeat: float


def session_places(
    indptr: NDArray[np.int64], items: NDArray[np.int32], n_items: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The ``limit`` newest sessions of every item: offsets (n_items + 1,), sessions, and how many there are in all."""
    places_indptr, places = np.empty(n_items + 1, np.int64), np.empty(len(items), np.int32)
    n_sessions_of = np.empty(n_items, np.int64)
    _native.session_places(indptr, items, limit, places_indptr, places, n_sessions_of)
    return places_indptr, places[: places_indptr[-1]].copy(), n_sessions_of


def session_top_k(
    past: PastSessions,
    knn: SessionKnn,
    histories: CSR,
    positions: NDArray[np.int32],
    k: int,
    *,
    exclude: CSR | None = None,
    allowed: NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> tuple[NDArray[np.int32], Float]:
    """The k best next items of every history, of those that its nearest past sessions hold.

    Parameters
    ----------
    past, knn
        See :class:`cofactor.SessionKNN` for the equations.
    histories : CSR (n, n_items)
        Values are not read.
    positions : (nnz,) int32
        Of the last event of each item of a history, from 1, the oldest.
    k, exclude, allowed
        As in :func:`linear_top_k`, and so is the result.
    """
    n_items = len(past.item_weights)
    rows, scores = _lists(histories.n_rows, k, n_items, allowed)
    filters = _filters(histories.n_rows, n_items, exclude, allowed)
    given = (histories.indptr, histories.indices, positions)
    _native.session_top_k(*past, *knn, *given, *filters, rows, scores, resolve_threads(threads))
    return rows, scores


def session_scores(
    past: PastSessions,
    knn: SessionKnn,
    histories: CSR,
    positions: NDArray[np.int32],
    wanted: tuple[NDArray[np.int64], NDArray[np.int32]],
    *,
    threads: int | None = None,
) -> Float:
    """Scores of some items of every history, 0 where an item is not reached; ``wanted`` are offsets and items."""
    scores = np.empty(len(wanted[1]), np.float32)
    given = (histories.indptr, histories.indices, positions)
    _native.session_scores(*past, *knn, *given, *wanted, scores, resolve_threads(threads))
    return scores


def _lists(n: int, k: int, n_items: int, allowed: NDArray[np.int32] | None) -> tuple[NDArray[np.int32], Float]:
    """Uninitialised lists, k cut to the number of items to choose from."""
    k = max(1, min(k, n_items if allowed is None else len(allowed)))
    return np.empty((n, k), np.int32), np.empty((n, k), np.float32)


def _filters(
    n: int, n_items: int, exclude: CSR | None, allowed: NDArray[np.int32] | None
) -> tuple[NDArray[np.int64] | None, NDArray[np.int32] | None, NDArray[np.int32] | None]:
    if exclude is None:
        return None, None, allowed
    if exclude.shape != (n, n_items):
        raise ParameterError(f"exclude has shape {exclude.shape}; it must be {(n, n_items)}")
    return exclude.indptr, exclude.indices, allowed


def covisitation_kept(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    weights: NDArray[np.uint32] | None,
    most: int,
    n_items: int,
    *,
    threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], tuple[int, int, int]]:
    """How many events of each session take part in co-visitation: the latest ``most`` whose weight is not 0.

    Returns
    -------
    lengths : (n_sessions,) int64
        0 where fewer than two events are left.
    counts : (n_items,) int64
        Events of each item among them.
    work : (n_items,) int64
        Most neighbours that these can have, repeats counted.
    capped : (int, int, int)
        Sessions with more than ``most``, events left out by that, events of the longest session.
    """
    lengths, (counts, work) = np.empty(len(indptr) - 1, np.int64), np.zeros((2, n_items), np.int64)
    capped = _native.covisitation_kept(indptr, items, weights, most, lengths, counts, work, resolve_threads(threads))
    return lengths, counts, work, capped


def covisitation_records(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    times: NDArray[np.int64] | None,
    weights: NDArray[np.uint32] | None,
    *,
    starts: NDArray[np.int64],
    threads: int | None = None,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32] | None]:
    """The events that take part: item and weight, and, given times, seconds since the oldest.

    ``starts`` are the offsets of the lengths that :func:`covisitation_kept` gives.
    """
    out = np.empty((int(starts[-1]), 2), np.uint32)
    seconds = None if times is None else np.empty(len(out), np.uint32)
    oldest = 0 if times is None or not len(times) else int(times.min())
    _native.covisitation_records(indptr, items, times, weights, oldest, starts, out, seconds, resolve_threads(threads))
    return out, seconds


def covisitation_index(
    records: NDArray[np.uint32],
    seconds: NDArray[np.uint32] | None,
    sessions: NDArray[np.int64],
    *,
    gap: int | None,
    n_items: int,
    first: int,
    starts: NDArray[np.int64],
    threads: int | None = None,
) -> NDArray[np.uint32]:
    """What is near the events of the items from ``first`` on: records from and to, and a number for the session.

    Parameters
    ----------
    records, seconds
        As :func:`covisitation_records` gives them.
    sessions : (n_sessions + 1,) int64
        Where the records of each session start.
    gap : int, optional
        Most seconds between two events that are near each other; needs ``seconds``.
    starts : int64
        Offsets of the items' events.
    """
    if gap is not None and seconds is None:
        raise ValueError("a gap needs the seconds of the records")
    windows = np.empty((int(starts[-1]), 3), np.uint32)
    _native.covisitation_index(
        records, None if gap is None else seconds, sessions, 0 if gap is None else min(gap, _LONGEST_GAP),
        n_items, first, starts, windows, resolve_threads(threads),
    )  # fmt: skip
    return windows


def covisitation_rows(
    records: NDArray[np.uint32],
    *,
    once: bool,
    scale: float,
    work: NDArray[np.int64],
    first: int,
    items: tuple[int, int],
    starts: NDArray[np.int64],
    windows: NDArray[np.uint32],
    places: NDArray[np.int64],
    n_best: int,
    out: tuple[NDArray[np.int32], NDArray[np.int32], Float],
    workspace: tuple[NDArray[np.uint64], NDArray[np.uint32]],
    threads: int,
) -> None:
    """Count the neighbours of some items and keep the best.

    Parameters
    ----------
    once : bool
        Count a pair of items once a session, by the largest weight; otherwise every pair of events.
    scale : float
        Value of a weight of 1.
    work : (n_items,) int64
        As :func:`covisitation_kept` gives it.
    first, starts, windows
        As for :func:`covisitation_index`.
    items : (int, int)
        Begin and end.
    places : (n_items + 1,) int64
        Where rows of items are written; a row must have room for ``n_best`` neighbours, or for all it can have.
    out : lengths (n_items,), neighbours (places[-1],), values (places[-1],)
        Neighbours ascend inside a row; ties of values go to the lower item.
    workspace : (threads, n_items, 2) uint64 of zeros, and so left behind; (threads, n_items + 1) uint32
    """
    _native.covisitation_rows(
        records, once, scale, work, first, *items, starts, windows, places, n_best, *out, *workspace, threads,
    )  # fmt: skip


def covisitation_compact(
    places: NDArray[np.int64], lengths: NDArray[np.int32], neighbours: NDArray[np.int32], values: Float
) -> None:
    """Move rows of the given lengths together, in place; ``places`` become their offsets."""
    _native.covisitation_compact(places, lengths, neighbours, values)


class Similarity(NamedTuple):
    """What an inner product is divided by to become a similarity; an array left out is all zeros.

    ``dot / (row_scale column_scale + row_add + column_add - overlap dot + shrink)``: with norms as scales the cosine,
    with counts to add and an overlap of 1 Jaccard's.

    Parameters
    ----------
    row_scale, row_add : (n,) float32, optional
    column_scale, column_add : (n_columns,) float32, optional
    overlap, shrink : float
    """

    row_scale: Float | None = None
    column_scale: Float | None = None
    row_add: Float | None = None
    column_add: Float | None = None
    overlap: float = 0.0
    shrink: float = 0.0

    def arrays(self, n: int, n_columns: int) -> tuple[Float, Float, Float, Float, float, float]:
        """All parts, as the kernels take them."""
        sizes = (n, n_columns, n, n_columns)
        row_scale, column_scale, row_add, column_add = (
            np.zeros(size, np.float32) if part is None else np.ascontiguousarray(part, np.float32)
            for part, size in zip(self[:4], sizes, strict=True)
        )
        return row_scale, column_scale, row_add, column_add, self.overlap, self.shrink


def neighbours(
    a: CSR,
    k: int,
    similarity: Similarity,
    *,
    weights: Float | None = None,
    binary: bool = False,
    threads: int | None = None,
) -> CSR:
    """The k most similar other rows of every row of ``a``, by ``sum_u weights[u] a[i, u] a[j, u]``.

    Takes the sum over columns of n_u (n_u - 1) / 2 additions, n_u being the column's entries, n k entries of memory for
    the result and 64 MiB (or two rows of n a thread) for sums. Equal for any number of threads.

    Parameters
    ----------
    a : CSR (n, m)
    k : int
    similarity : Similarity
        Between rows.
    weights : (m,) float32, optional
        By default 1.
    binary : bool
        Take 1 for every value, which saves reading them.

    Returns
    -------
    CSR (n, n)
        Columns ascending. Only positive similarities; ties at the k-th place go to the lower row.
    """
    weights = np.ones(a.n_columns, np.float32) if weights is None else weights
    columns, scores = _lists(a.n_rows, k, max(a.n_rows - 1, 1), None)
    values = None if binary else a.values
    formula = similarity.arrays(a.n_rows, a.n_rows)
    _native.gram_neighbours(a.indptr, a.indices, values, weights, *formula, columns, scores, resolve_threads(threads))
    return _compressed(columns, scores, a.n_rows)


def product_neighbours(
    a: CSR,
    b: CSR,
    k: int,
    similarity: Similarity,
    *,
    groups: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
    threads: int | None = None,
) -> CSR:
    """The k best columns of every row of ``a @ b``, by similarity.

    Takes a multiply-add for every entry of ``a`` and entry of its row of ``b``; memory for the result and a row of sums
    a thread. Equal for any number of threads.

    Parameters
    ----------
    a : CSR (n, m)
    b : CSR (m, n_columns)
    k : int
    similarity : Similarity
        Of the rows of ``a`` with the columns of ``b``.
    groups : (n,) int32 and (n_columns,) int32, optional
        Rows and columns of equal numbers do not become neighbours.

    Returns
    -------
    CSR (n, n_columns)
        Columns ascending. Only positive similarities; ties at the k-th place go to the lower column.
    """
    if a.n_columns != b.n_rows:
        raise ParameterError(f"a has {a.n_columns} columns, but b has {b.n_rows} rows")
    columns, scores = _lists(a.n_rows, k, b.n_columns, None)
    _native.product_neighbours(
        a.indptr, a.indices, a.values, b.indptr, b.indices, b.values, *similarity.arrays(a.n_rows, b.n_columns),
        *(groups or (None, None)), columns, scores, resolve_threads(threads),
    )  # fmt: skip
    return _compressed(columns, scores, b.n_columns)


def _compressed(columns: NDArray[np.int32], scores: Float, n_columns: int) -> CSR:
    """Lists that end with -1, as sparse rows."""
    filled = columns >= 0
    return CSR(offsets(filled.sum(axis=1)), columns[filled], scores[filled], n_columns)


def slim_columns(
    user_items: CSR,
    item_users: CSR,
    begin: int,
    end: int,
    *,
    l1: float,
    l2: float,
    non_negative: bool,
    tolerance: float,
    iterations: int,
    gramian: Float | None = None,
    start: CSR | None = None,
    neighbours: int | None = None,
    top_n: int | None = None,
    max_active: int = 8192,
    threads: int | None = None,
) -> tuple[CSR, NDArray[np.uint8]]:
    """Columns ``begin`` to ``end`` of the weights of SLIM; :class:`cofactor.SLIM` has loss and parameters.

    Parameters
    ----------
    user_items : CSR (n_users, n_items)
        Positive values.
    item_users : CSR (n_items, n_users)
        The same, transposed.
    gramian : optional
        ``user_items.T @ user_items``, rows filled up with zeros to a multiple of 16 floats: quicker, by far where many
        items share users. Without it memory is O(nnz).
    start : CSR (n_items, n_items), optional
        Weights to start from, a row for every column of the weights.
    max_active : int
        Largest set of items to work on with ``gramian``; up to ``4 max_active^2`` bytes a thread, and 16 MiB.

    Returns
    -------
    weights : CSR (end - begin, n_items)
        A row for every column of the weights.
    status : (end - begin,) uint8
        0: within the tolerance; 1: not so after ``iterations`` sweeps; 2: more than ``max_active`` items were needed.
    """
    n, size = item_users.n_rows, end - begin
    squares = np.bincount(user_items.indices, np.square(user_items.values, dtype=np.float64), n).astype(np.float32)
    counts, status = np.zeros(size, np.int32), np.zeros(size, np.uint8)
    items, values = np.empty((size, n), np.int32), np.empty((size, n), np.float32)  # touched as far as they are filled
    _native.slim_columns(
        user_items.indptr, user_items.indices, user_items.values,
        item_users.indptr, item_users.indices, item_users.values, squares, gramian,
        None if start is None else start.indptr, None if start is None else start.indices,
        None if start is None else start.values,
        l1, l2, non_negative, tolerance, iterations, neighbours or 0, top_n or 0, max_active, begin,
        counts, items, values, status, resolve_threads(threads),
    )  # fmt: skip
    indptr = offsets(counts)
    at = np.arange(indptr[-1]) + np.repeat(np.arange(size) * n - indptr[:-1], counts)
    return CSR(indptr, items.ravel()[at], values.ravel()[at], n), status
