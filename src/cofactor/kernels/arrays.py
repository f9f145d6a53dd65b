"""Names of the arrays that kernels take and give, how wide rows are, and the ranked lists that they give."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Float", "Ranks", "Rows", "TopK", "aligned_zeros", "width_of"]

_LANES = 16  # floats of the widest vector registers
_LINE, _PAGE = 64, 1 << 21  # bytes of a cache line and of a large page

Float: TypeAlias = NDArray[np.float32]
"""Vectors, matrices and scores."""

Rows: TypeAlias = NDArray[np.int32]
"""Row numbers of users or items."""


def width_of(n: int) -> int:
    """Of rows of ``n`` numbers, padded with zeros as kernels want them."""
    return -(-n // _LANES) * _LANES


def aligned_zeros(n: int, width: int) -> Float:
    """Zeros (n, width) float32 that begin at a cache line: rows as wide as ``width_of`` says cross none needlessly.

    Large ones begin and end with large pages, where the system has them: rows in random order need too many small ones.
    """
    size = 4 * n * width
    unit = _PAGE if size > _PAGE // 2 else _LINE
    room = np.zeros((-(-size // unit) + 1) * unit // 4, np.float32)
    skip = -room.ctypes.data % unit // 4
    return room[skip : skip + n * width].reshape(n, width)


class TopK(NamedTuple):
    """Ranked lists of row numbers (n, k) int32, best first, -1 where a list ends, and their scores (n, k) float32.

    Places that are not filled have a score of minus infinity.
    """

    rows: Rows
    scores: Float

    @classmethod
    def empty(cls, n: int, k: int) -> Self:
        """Lists of ``n`` with ``k`` places, none of them filled."""
        return cls(np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32))

    @classmethod
    def stacked(cls, parts: list[TopK]) -> TopK:
        """The lists of all parts, one after the other; the parts have equal k."""
        return TopK(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))) if parts else cls.empty(0, 1)


class Ranks(NamedTuple):
    """Where wanted items stand in complete lists, those that hold every item they may.

    Parameters
    ----------
    rank : (n_wanted,) int32
        Place in the list, from 1; 0 where the list does not hold the item.
    middle_rank : (n_wanted,) float64
        Mean place of the item and those next to it that have its score; 0 where the list does not hold it.
    n_listed : (n,) int64
        Length of each list.
    """

    rank: Rows
    middle_rank: NDArray[np.float64]
    n_listed: NDArray[np.int64]

    @classmethod
    def stacked(cls, parts: list[Ranks]) -> Ranks:
        """The ranks of all parts, one after the other; there is at least one."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
