"""The form in which rows travel from worker to worker: float32, or half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float

__all__ = ["WIRES", "Sent", "received", "sent"]

WIRES = ("float32", "float16")
_LARGEST = 2.0**15  # of what is sent in 16 bits, below the 65504 that float16 holds
_PIECE = 1 << 16  # rows that are turned at once


class Sent(NamedTuple):
    """Rows on their way: (n, factors) float16, and a power of two that they are multiplied by."""

    rows: NDArray[np.float16]
    scale: float


def sent(rows: Float) -> Sent:
    """Rows in 16 bits.

    float16 has 11 bits, so a relative error of 2^-11 at most, from 2^-14 on. The scale, by the largest number of these
    rows, makes that 2^-28 of the largest; what is smaller is off by 2^-39 of it at most.
    """
    largest = float(np.abs(rows).max(initial=0))
    scale = 2.0 ** (np.floor(np.log2(_LARGEST / largest))) if 0 < largest < np.inf else 1.0
    out = np.empty(rows.shape, np.float16)
    for at in range(0, len(rows), _PIECE):
        piece = slice(at, at + _PIECE)
        np.multiply(rows[piece], np.float32(scale), out=out[piece], casting="unsafe")
    return Sent(out, 1 / scale)


def received(part: Sent) -> Float:
    """Rows as (n, factors) float32 again."""
    rows = part.rows.astype(np.float32)
    rows *= np.float32(part.scale)
    return rows
