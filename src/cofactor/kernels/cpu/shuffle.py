"""A pass over rows in a random order that takes no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["gather", "permuted_rows"]


def permuted_rows(n: int, seed: int, begin: int, end: int, *, threads: int | None = None) -> NDArray[np.int64]:
    """Places ``begin`` to ``end`` of a random permutation of ``range(n)``, (end - begin,) int64.

    A Feistel network keyed by the seed (below 2^64): every place costs the same, wherever it is, and none is stored.
    """
    out = np.empty(end - begin, np.int64)
    native.lib.permuted_rows(n, seed, begin, out, resolve_threads(threads))
    return out


def gather(
    values: NDArray[Any],
    rows: NDArray[np.int64],
    *,
    out: NDArray[Any],
    threads: int | None = None,
) -> None:
    """``out[:] = values[rows]`` for values (n,) int32, int64 or float32, which need not lie together."""
    if values.dtype == np.float32:  # bits are bits
        values, out = values.view(np.int32), out.view(np.int32)
    kernel = native.lib.gather_int32 if values.dtype == np.int32 else native.lib.gather_int64
    kernel(values, rows, out, resolve_threads(threads))
