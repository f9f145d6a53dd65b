"""What tells the rows of a matrix from others: their pairs exactly, their weights but for the last bits.

Sums of floats hang, in their last bits, on the order in which threads come to them: they differ from one reading of a
log to the next. So a checksum is made of the pairs alone. Of the weights there are projections: sums of the bits of
float32, which as whole numbers are a logarithm, by coefficients at random. Where the last bits of n weights differ, a
projection differs by sqrt(n) of them; where one weight is another, by that. All is by blocks of rows, which depend on
the data alone: it is the same for any number of workers.
"""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.kernels.csr import CSR

__all__ = ["Block", "alike", "digest", "sketched"]

_PIECE = 1 << 16  # entries at once: they stay in cache
_PROJECTIONS = 2
_BITS_OFF = 64  # of the last bits of a weight, that two readings may differ by: 8e-6 of it
_SIGMAS = 4.0


class Block(NamedTuple):
    """What is told of a block of rows: a checksum of its pairs, their number, and projections of their weights."""

    pairs: int
    n: int
    weights: tuple[float, ...]


def sketched(matrix: CSR, blocks: NDArray[np.int64]) -> list[Block]:
    """What is told of rows ``blocks[i]`` to ``blocks[i + 1]`` of a matrix of positive weights, for every i."""
    found = []
    for begin, end in pairwise(blocks):
        first, last = int(matrix.indptr[begin]), int(matrix.indptr[end])
        lengths = np.diff(matrix.indptr[begin : end + 1]).astype("<i8", copy=False)
        pairs = crc32(matrix.indices[first:last].astype("<i4", copy=False).data, crc32(lengths.data))
        found.append(Block(pairs, last - first, _projected(matrix.values[first:last])))
    return found


@cache
def _coefficients() -> NDArray[np.float64]:
    """Whole numbers from -2^15 to 2^15: (projections, entries of a piece)."""
    raw = np.asarray(np.random.PCG64(0).random_raw(_PROJECTIONS * _PIECE // 4))  # the same in every version of NumPy
    return raw.astype("<u8").view("<i2").reshape(_PROJECTIONS, _PIECE).astype(np.float64)


def _projected(weights: NDArray[np.float32]) -> tuple[float, ...]:
    found = np.zeros(_PROJECTIONS)
    for at in range(0, len(weights), _PIECE):
        bits = weights[at : at + _PIECE].view(np.int32).astype(np.float64)
        found += _coefficients()[:, : len(bits)] @ bits
    return tuple(found.tolist())


def digest(blocks: Sequence[Block]) -> str:
    """One digest of the pairs of all blocks."""
    return hashlib.sha256(repr([block.pairs for block in blocks]).encode()).hexdigest()


def alike(blocks: Sequence[Block], weights: object) -> bool:
    """Whether the weights are those that projections were made of once, but for their last bits."""
    there = [list(block.weights) for block in blocks]
    if not isinstance(weights, list) or list(map(_length, weights)) != list(map(_length, there)):
        return False
    off = np.abs(np.array(there) - np.array(weights, np.float64)).max(axis=1)
    coefficient = 2**15 / np.sqrt(3)  # of one, the root of the mean square
    allowed = _SIGMAS * _BITS_OFF * coefficient * np.sqrt([block.n for block in blocks])
    return bool((off <= allowed).all())


def _length(row: object) -> int:
    return len(row) if isinstance(row, list) else -1
