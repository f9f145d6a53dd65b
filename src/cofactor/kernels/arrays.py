"""Names of the arrays that kernels take and give, and the ranked lists that they give."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Float", "Rows", "TopK"]

Float: TypeAlias = NDArray[np.float32]
"""Vectors, matrices and scores."""

Rows: TypeAlias = NDArray[np.int32]
"""Row numbers of users or items."""


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
