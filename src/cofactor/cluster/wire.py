"""The form in which rows travel from worker to worker: float32, or half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float

__all__ = ["WIRES", "Sent", "received", "sent"]

WIRES = ("float32", "float16")
_LARGEST = 2.0**15  # of what is sent in 16 bits, below the 65504 that float16 holds
_PIECE = 1 << 16  # rows that are turned at once


class Sent(NamedTuple):
    """Rows on their way: (n, factors) float32 or float16, and a power of two that they are multiplied by."""

    rows: NDArray[np.floating]
    scale: float


def sent(rows: Float, wire: str) -> Sent:
    """Rows in the form of a wire.

    float16 has 11 bits, so a relative error of 2^-11 at most, from 2^-14 on. The scale, by the largest number of these
    rows, makes that 2^-28 of the largest; what is smaller is off by 2^-39 of it at most.
    """
    if wire == "float32":
        return Sent(rows, 1.0)
    largest = float(np.abs(rows).max(initial=0))
    scale = 2.0 ** (np.floor(np.log2(_LARGEST / largest))) if 0 < largest < np.inf else 1.0
    out = np.empty(rows.shape, np.float16)
    for at in range(0, len(rows), _PIECE):
        piece = slice(at, at + _PIECE)
        np.multiply(rows[piece], np.float32(scale), out=out[piece], casting="unsafe")
    return Sent(out, 1 / scale)


def received(parts: Sequence[Sent]) -> Float:
    """All rows as one (n, factors) float32 array."""
    if len(parts) == 1 and parts[0].rows.dtype == np.float32:
        only: Float = parts[0].rows
        return only
    out = np.empty((sum(len(part.rows) for part in parts), parts[0].rows.shape[1]), np.float32)
    at = 0
    for part in parts:
        into = out[at : at + len(part.rows)]
        np.copyto(into, part.rows)
        if part.scale != 1:
            into *= np.float32(part.scale)
        at += len(part.rows)
    return out
