"""Vectors as indexes hold them, checked, and what their metrics make of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.checks import check_choice, shown
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cofactor.kernels.arrays import Float, Rows, TopK

__all__ = ["METRICS", "Space", "as_vectors", "fingerprint"]

METRICS = ("inner_product", "cosine", "euclidean")

_LARGEST = 1e18  # of a number: squares, and sums of them, stay inside float32
_PIECE = 1 << 16  # rows in hand


def as_vectors(name: str, given: ArrayLike) -> Float:
    """Vectors (n, factors) as float32, the caller's own array where it is that.

    Raises
    ------
    ParameterError
        No matrix of numbers.
    DataError
        A number is NaN, infinite or too large; the message names the row.
    """
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise ParameterError(f"{name} must be numbers (n, factors), got {shown(given)}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.shape[1]:
        raise ParameterError(f"{name} must be numbers (n, factors), got {array.dtype} of shape {array.shape}")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(array, np.float32)
    for at in range(0, len(vectors), _PIECE):
        piece = vectors[at : at + _PIECE]
        if piece.min() >= -_LARGEST and piece.max() <= _LARGEST:  # False of NaN, too
            continue
        row = int(np.flatnonzero(~(np.abs(piece) <= _LARGEST).all(axis=1))[0])
        raise DataError(
            f"{name}: row {at + row} holds a number that is NaN, infinite or above {_LARGEST:g}; leave such vectors "
            "out, or divide all by a number"
        )
    return vectors


def fingerprint(vectors: Float) -> str:
    """What tells vectors from others: the sha256 of their numbers and shape."""
    digest = hashlib.sha256(repr(vectors.shape).encode())
    digest.update(np.ascontiguousarray(vectors).data)
    return digest.hexdigest()


class Space(NamedTuple):
    """Vectors whose inner products, with a bias added, rank as a metric does.

    Cosine: vectors of length 1; zero vectors are left out. Euclidean: ``-|q - y|^2 / 2`` is ``q . y - |y|^2 / 2`` and
    something that all items have; both are counted from the mean of the items, which keeps the numbers small.
    """

    metric: str
    items: Float
    bias: Float | None = None
    left_out: Rows | None = None  # ascending
    centre: Float | None = None
    given: Float | None = None  # as they were

    @classmethod
    def of(cls, vectors: Float, metric: str) -> Space:
        """The space of item vectors."""
        check_choice("metric", metric, METRICS)
        if metric == "cosine":
            unit, zero = _unit(vectors)
            return cls(metric, unit, left_out=zero if len(zero) else None)
        if metric == "euclidean" and len(vectors):
            centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
            items = vectors - centre
            bias = -0.5 * np.einsum("ij,ij->i", items, items)
            return cls(metric, items, bias=bias, centre=centre, given=vectors)
        return cls(metric, vectors)

    def queries(self, vectors: Float) -> Float:
        """Queries as they are compared with items."""
        if self.metric == "cosine":
            return _unit(vectors)[0]
        return vectors if self.centre is None else vectors - self.centre

    def finished(self, vectors: Float, top: TopK) -> TopK:
        """Lists with the scores of the metric: of ``euclidean`` minus the distance."""
        if self.metric == "cosine":
            nothing = ~vectors.any(axis=1)
            top.rows[nothing], top.scores[nothing] = -1, -np.inf
        if self.given is None:
            return top
        for at in range(0, len(vectors), 1024):
            rows, piece = top.rows[at : at + 1024], vectors[at : at + 1024]
            away = self.given[rows] - piece[:, None, :]
            scores = -np.sqrt(np.einsum("ijk,ijk->ij", away, away, dtype=np.float64)).astype(np.float32)
            scores[rows < 0] = -np.inf
            order = np.lexsort((np.where(rows < 0, len(self.given), rows), -scores), axis=1)
            top.rows[at : at + 1024] = np.take_along_axis(rows, order, axis=1)
            top.scores[at : at + 1024] = np.take_along_axis(scores, order, axis=1)
        return top


def _unit(vectors: Float) -> tuple[Float, Rows]:
    """Vectors of length 1, and which are zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)
    return unit, np.flatnonzero(norms[:, 0] == 0).astype(np.int32)
