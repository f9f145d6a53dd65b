"""What workers hold, brought to the driver piece by piece, into files without a name."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.cluster.engine import require_ray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.cluster.pool import Pool

__all__ = ["collected", "mapped"]

_PIECE = 1 << 23  # numbers that come to the driver at once


def mapped(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Zeros in a file that goes with the array."""
    with tempfile.TemporaryFile(prefix="cofactor-") as file:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if not size:
            return np.zeros(shape, dtype)
        file.truncate(size)
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


def collected(
    pool: Pool,
    method: str,
    *given: Any,  # noqa: ANN401
    sizes: Sequence[int],
    width: int = 0,
    dtype: type[np.generic] = np.float32,
) -> NDArray[Any]:
    """What ``method(*given, begin, end)`` of all workers gives, one after the other, some at a time.

    ``sizes``: how many rows each has. ``width``: numbers of a row, 0 for a flat array.
    """
    ray, at = require_ray(), 0
    out = mapped((sum(sizes), width) if width else (sum(sizes),), dtype)
    piece = max(1, _PIECE // max(1, width))
    for handle, size in zip(pool.handles, sizes, strict=True):
        for begin in range(0, size, piece):
            end = min(begin + piece, size)
            out[at + begin : at + end] = ray.get(getattr(handle, method).remote(*given, begin, end))
        at += size
    return out
