"""Dense linear algebra in float32 by the BLAS and LAPACK that SciPy brings."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import scipy

from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

T = TypeVar("T")

__all__ = ["gram", "invert", "limited", "matmul"]

# How OpenBLAS, as SciPy's and NumPy's wheels and as distributions build it, names its two functions.
_NAMES = ("scipy_openblas_{}_num_threads", "scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads")
_BLOCK = 512  # rows swept at once
_STRIP = 512  # rows of a product
_LONG_STRIP = 8192  # columns that one part of a Gram matrix sums over


@contextlib.contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Run SciPy's and NumPy's products on that many threads, where their BLAS is OpenBLAS; others do as they like.

    The number is the whole process's while it lasts: another thread's products are meant too, and the last of several
    that overlap puts back what the first had found.
    """
    limit = _LIMITS.enter(resolve_threads(threads))
    try:
        yield
    finally:
        _LIMITS.leave(limit)


def matmul(a: NDArray[np.float32], b: NDArray[np.float32], *, threads: int | None = None) -> NDArray[np.float32]:
    """``a @ b`` in strips of one BLAS thread each, so that the number of threads changes no digit.

    Parameters
    ----------
    a : (n, m) float32
    b : (m, p) float32
    """
    out = np.empty((len(a), b.shape[1]), np.float32)
    strips = [slice(*strip) for strip in _strips(0, max(out.shape))]
    if len(a) > b.shape[1]:
        _shared_out(lambda s: np.matmul(a[s], b, out=out[s]), strips, threads)
    else:
        _shared_out(lambda s: np.matmul(a, b[:, s], out=out[:, s]), strips, threads)
    return out


def gram(rows: NDArray[np.float32], *, threads: int | None = None) -> NDArray[np.float32]:
    """``rows @ rows.T`` for few long rows, (n, m) float32: sums over strips of columns, added up in order."""
    n, m = rows.shape
    strips = [slice(begin, min(m, begin + _LONG_STRIP)) for begin in range(0, m, _LONG_STRIP)]
    total = np.zeros((n, n), np.float32)
    for part in _shared_out(lambda s: rows[:, s] @ rows[:, s].T, strips, threads):
        total += part
    return total


def _shared_out(work: Callable[[slice], T], strips: list[slice], threads: int | None) -> list[T]:
    """What the work gives for every strip, in order; each on one BLAS thread."""
    n = min(resolve_threads(threads), len(strips))
    with limited(1):
        if n <= 1:
            return [work(strip) for strip in strips]
        with ThreadPoolExecutor(n) as pool:
            return list(pool.map(work, strips))


class _Limits:
    """The numbers of threads asked for at this moment, the latest of which holds, and what was there before."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active: dict[object, int] = {}
        self.before: list[int] = []

    def enter(self, threads: int) -> object:
        limit = object()
        with self.lock:
            if not self.active:
                self.before = [get_threads() for get_threads, _ in _controls()]
            self.active[limit] = threads
            self._set([threads] * len(self.before))
        return limit

    def leave(self, limit: object) -> None:
        with self.lock:
            del self.active[limit]
            latest = next(reversed(self.active.values()), None)
            self._set(self.before if latest is None else [latest] * len(self.before))

    def _set(self, numbers: list[int]) -> None:
        for (_, set_threads), number in zip(_controls(), numbers, strict=True):
            set_threads(number)


_LIMITS = _Limits()


@cache
def _controls() -> list[tuple[Any, Any]]:
    """(get, set) of the number of threads, of every OpenBLAS that SciPy and NumPy use."""
    found = []
    for module in (scipy.linalg.blas._fblas, np.linalg._umath_linalg):  # type: ignore[attr-defined]
        try:
            library = ctypes.CDLL(module.__file__)
        except (OSError, TypeError):
            continue
        for name in _NAMES:
            get, change = (getattr(library, name.format(verb), None) for verb in ("get", "set"))
            if get is not None and change is not None:
                found.append((get, change))
                break
    return found


def invert(a: NDArray[np.float32], *, threads: int | None = None) -> bool:
    """Invert a symmetric positive definite matrix in place, n^3 / 2 multiply-adds for a (n, n).

    The symmetric sweep (Gauss-Jordan) in blocks of rows: the block on the diagonal is inverted by its Cholesky factor,
    all the rest is matrix products on the array itself. ``potrf`` and ``potri`` of the whole would be as many
    operations, but OpenBLAS's, on two threads, write beyond their buffers when matrices are large, and end the process:
    float64 from 16,300 rows on, float32 below 30,000 (SciPy 1.17).

    Parameters
    ----------
    a : (n, n) float32, C-contiguous
        Its lower triangle is read and becomes that of the inverse; what lies above is of no meaning before and after.

    Returns
    -------
    bool
        False if ``a`` is not positive definite in float32; it is useless then.

    Notes
    -----
    Memory beside ``a``: two matrices of n x 512. Ctrl-C ends it between two blocks.
    """
    n = len(a)
    # Strips side by side, on one BLAS thread each, do not wait for each other as the threads of one product do.
    with limited(1), ThreadPoolExecutor(resolve_threads(threads)) as pool:
        for begin in range(0, n, _BLOCK):
            end = min(n, begin + _BLOCK)
            panel = np.zeros((n, end - begin), np.float32)  # the block's columns of the other rows
            panel[:begin] = a[begin:end, :begin].T
            panel[end:] = a[end:, begin:end]
            inverse = _small_inverse(a[begin:end, begin:end])
            if inverse is None:
                return False
            product = np.zeros_like(panel)
            sweep = partial(_sweep, a, (begin, end), (panel, product), inverse)
            longest_first = reversed([*_strips(0, begin), *_strips(end, n)])
            for _ in pool.map(sweep, longest_first):
                pass
            a[begin:end, :begin] = product[:begin].T
            a[end:, begin:end] = product[end:]
            np.negative(inverse, out=a[begin:end, begin:end])
        for begin in range(0, n, _BLOCK):
            np.negative(a[begin : begin + _BLOCK], out=a[begin : begin + _BLOCK])
    return True


def _sweep(
    a: NDArray[np.float32],
    block: tuple[int, int],
    panels: tuple[NDArray[np.float32], NDArray[np.float32]],
    inverse: NDArray[np.float32],
    rows: tuple[int, int],
) -> None:
    """Set a strip's rows of ``product = panel @ inverse``; subtract these times the panel from its rows of ``a``."""
    panel, product = panels
    np.matmul(panel[slice(*rows)], inverse, out=product[slice(*rows)])
    begin, end = block
    _subtract_product(a, rows, (0, min(begin, rows[1])), product, panel)
    _subtract_product(a, rows, (end, rows[1]), product, panel)


def _small_inverse(a: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Inverse of a block, of which the lower triangle is read; None if it is not positive definite."""
    columns, info = scipy.linalg.lapack.spotrf(np.ascontiguousarray(a).T, lower=0, overwrite_a=1, clean=1)
    if info == 0:
        columns, info = scipy.linalg.lapack.spotri(columns, lower=0, overwrite_c=1)
    if info != 0:
        return None
    lower = np.tril(columns.T)
    return np.asarray(lower + np.tril(lower, -1).T)


def _strips(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Rows in strips: what a strip computes above the diagonal is for nothing."""
    for first in range(begin, end, _STRIP):
        yield first, min(end, first + _STRIP)


def _subtract_product(
    a: NDArray[np.float32],
    rows: tuple[int, int],
    columns: tuple[int, int],
    left: NDArray[np.float32],
    right: NDArray[np.float32],
) -> None:
    """``a[rows, columns] -= left[rows] @ right[columns].T``; NumPy would need room for the product."""
    (top, bottom), (first, last), depth = rows, columns, left.shape[1]
    if first >= last:
        return
    sizes = [ctypes.byref(ctypes.c_int(size)) for size in (last - first, bottom - top, depth, depth, depth, len(a))]
    minus, one = (ctypes.byref(ctypes.c_float(x)) for x in (-1, 1))
    at = [array.ctypes.data + 4 * offset for array, offset in (
        (right, first * depth), (left, top * depth), (a, top * len(a) + first)
    )]  # fmt: skip
    _sgemm()(b"T", b"N", *sizes[:3], minus, at[0], sizes[3], at[1], sizes[4], one, at[2], sizes[5])


@cache
def _sgemm() -> Any:  # noqa: ANN401
    """SciPy's own matrix product, in Fortran's order of arguments: any leading dimensions, nothing copied."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__["sgemm"]
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    number, any_pointer = ctypes.POINTER(ctypes.c_int), ctypes.c_void_p
    scalar = ctypes.POINTER(ctypes.c_float)
    kinds: list[Any] = [ctypes.c_char_p, ctypes.c_char_p, number, number, number, scalar]
    kinds += [any_pointer, number, any_pointer, number, scalar, any_pointer, number]
    return ctypes.CFUNCTYPE(None, *kinds)(pointer(capsule, name(capsule)))
