"""What a sweep over one side of a factorization machine needs, brought to where PyTorch computes and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from cofactor.kernels.arguments import FmSide
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["Swept", "row_ranges"]


class HeldSide(NamedTuple):
    """An ``FmSide`` where the kernels compute."""

    totals: Tensor
    ids: Tensor
    parts: Tensor
    features: HeldRows
    columns: HeldRows | None
    groups: Tensor


class Swept(NamedTuple):
    """One side and all that is held beside it."""

    place: Place
    targets: HeldRows
    own: HeldSide
    other: Tensor  # (n_other, width)
    means: Tensor  # (n_groups, n_coordinates)
    precisions: Tensor
    weights: Tensor | None
    other_weights: Tensor | None
    offset: float = 0.0
    noise_precision: float = 1.0
    seed: int = 0
    sampled: bool = True

    @property
    def n_coordinates(self) -> int:
        """Of a row: a weight, and a vector."""
        return int(self.means.shape[1])

    @classmethod
    def checked(
        cls,
        place: Place,
        targets: CSR | HeldRows,
        own: FmSide,
        other: Float | Tensor,
        *,
        priors: tuple[Float, Float],
        weights: tuple[Float | None, Float | None],
    ) -> Self:
        """All of it, held; ``weights``: of the own rows and of the other ones.

        Raises
        ------
        ValueError
            Something does not fit together.
        """
        rows = _held("targets", place, targets)
        features = _held("a feature is out of range", place, own.features)
        columns = None if own.columns is None else _held("a row of columns is out of range", place, own.columns)
        totals, ids, parts, groups = map(place.tensor, (own.totals, own.ids, own.parts, own.groups))
        side = HeldSide(totals, ids, parts, features, columns, groups)
        means, precisions = map(place.tensor, priors)
        _check_side(rows, side, len(means))
        if means.shape != precisions.shape:
            raise ValueError("means and precisions differ")
        if not (means.shape[0] >= 1 and 1 <= means.shape[1] <= side.totals.shape[1]):
            raise ValueError("means must be groups x coordinates")
        if other.shape[1] != side.totals.shape[1]:
            raise ValueError("widths must agree")
        if rows.shape[1] > len(other):
            raise ValueError("columns must be ascending and in range")
        own_weights, other_weights = (None if part is None else place.tensor(part) for part in weights)
        if own_weights is not None and len(own_weights) != len(side.totals):
            raise ValueError("weights must hold a number for every row, or none")
        if other_weights is not None and len(other_weights) != len(other):
            raise ValueError("other_weights must be as other, or none")
        if other_weights is not None and not bool((other_weights > 0).all()):
            raise ValueError("weights must be above 0")
        return cls(place, rows, side, place.tensor(other), means, precisions, own_weights, other_weights)

    def weights_of(self, entries: slice) -> Tensor | None:
        """Of some ratings those of the other rows."""
        if self.other_weights is None:
            return None
        return self.other_weights.index_select(0, self.targets.indices[entries])


def _held(what: str, place: Place, rows: CSR | HeldRows) -> HeldRows:
    try:
        return place.rows(rows)
    except DataError as error:
        raise ValueError(f"{what}: {error}") from error


def _check_side(targets: HeldRows, own: HeldSide, n_groups: int) -> None:
    n, width = own.totals.shape
    features, columns = own.features, own.columns
    if n != targets.shape[0]:
        raise ValueError("totals must have a row for every row of targets")
    if len(own.ids) != n or features.shape[0] != n:
        raise ValueError("ids and features must have n rows")
    if own.ids.shape[1] != width or own.parts.shape[1] != width:
        raise ValueError("widths must agree")
    if width % 16 or not width:
        raise ValueError("the width must be a multiple of 16")
    if len(own.groups) != len(own.parts):
        raise ValueError("groups must hold a number for every feature")
    if columns is not None and columns.shape[0]:
        if columns.shape[0] != len(own.parts):
            raise ValueError("columns need a row for every feature")
        if len(columns.indices) != len(features.indices):
            raise ValueError("features and columns must hold the same entries")
        if columns.shape[1] > n:
            raise ValueError("a row of columns is out of range")
    if features.shape[1] > len(own.parts):
        raise ValueError("a feature is out of range")
    groups = own.groups
    if len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < n_groups:
        raise ValueError("a group has no prior")


def row_ranges(swept: Swept) -> Iterator[tuple[slice, slice]]:
    """Rows one after the other whose ratings fill a chunk, and where these are."""
    indptr = swept.targets.csr.indptr
    first, n = 0, len(indptr) - 1
    while first < n:
        most = indptr[first] + swept.place.chunk_floats
        last = max(int(np.searchsorted(indptr, most, side="right")) - 1, first + 1)
        yield slice(first, last), slice(int(indptr[first]), int(indptr[last]))
        first = last
