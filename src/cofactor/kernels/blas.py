"""Dense linear algebra in float32 by the BLAS and LAPACK that SciPy brings."""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import blas, lapack

from cofactor.kernels.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["invert", "limited"]

# How OpenBLAS, as SciPy's and NumPy's wheels and as distributions build it, names its two functions.
_NAMES = ("scipy_openblas_{}_num_threads", "scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads")


@contextlib.contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Run SciPy's and NumPy's products on that many threads, where their BLAS is OpenBLAS; others do as they like.

    The number is the whole process's while it lasts: another thread's products are meant too.
    """
    wanted = resolve_threads(threads)
    before = [(set_threads, get_threads()) for get_threads, set_threads in _controls()]
    for set_threads, _ in before:
        set_threads(wanted)
    try:
        yield
    finally:
        for set_threads, number in before:
            set_threads(number)


@cache
def _controls() -> list[tuple[Any, Any]]:
    """(get, set) of the number of threads, of every OpenBLAS that SciPy and NumPy use."""
    found = []
    for module in (blas._fblas, np.linalg._umath_linalg):  # type: ignore[attr-defined]
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
    """Invert a symmetric positive definite matrix in place, by its Cholesky factor.

    n^3 / 2 multiply-adds for a (n, n), a third of them for the factor, and no memory beside ``a``. Always float32: the
    float64 ``potrf`` of SciPy 1.17 ends the process beyond 16,300 rows on two threads.

    Parameters
    ----------
    a : (n, n) float32, C-contiguous
        Its lower triangle is read and becomes that of the inverse; what lies above is not touched.

    Returns
    -------
    bool
        False if ``a`` is not positive definite in float32; it is useless then.
    """
    assert a.dtype == np.float32
    assert a.flags.c_contiguous
    columns = a.T  # LAPACK's order, in which the lower triangle of a is the upper one
    with limited(threads):
        columns, info = lapack.spotrf(columns, lower=0, overwrite_a=1, clean=0)
        if info == 0:
            columns, info = lapack.spotri(columns, lower=0, overwrite_c=1)
    assert np.shares_memory(columns, a)
    return bool(info == 0)
