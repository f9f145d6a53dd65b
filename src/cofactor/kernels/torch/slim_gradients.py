"""What X'X is to SLIM in PyTorch: the whole matrix at hand, or products with the interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cofactor.kernels.torch.place import sparse_tensor

if TYPE_CHECKING:
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["AtHand", "Gramian", "OfInteractions"]

_DENSE = 8  # one weight in so many is not zero: products of dense matrices are quicker


class Gramian(Protocol):
    """X'X, of whatever kind."""

    width: int
    """Numbers that a column of weights needs in between."""

    def rows(self, first: int, last: int) -> Tensor:
        """Some rows, (last - first, n_items)."""

    def times(self, weights: Tensor) -> Tensor:
        """``weights @ X'X`` of rows of weights, (n, n_items)."""

    def fit(self, sets: Tensor) -> bool:
        """Whether parts() has room for so many sets."""

    def parts(self, sets: Tensor) -> Tensor:
        """The square part of every set of items: (n, size, size) for sets (n, size)."""


class AtHand:
    """All of X'X, dense."""

    def __init__(self, gramian: Tensor, n_items: int) -> None:
        self._all, self.width = gramian, n_items

    def rows(self, first: int, last: int) -> Tensor:
        """Some rows."""
        return self._all[first:last, : self.width]

    def times(self, weights: Tensor) -> Tensor:
        """Rows of weights, sparse ones as such."""
        if _DENSE * int(weights.count_nonzero()) > weights.numel():
            return weights @ self._all[:, : self.width]
        return (_sparse(weights) @ self._all)[:, : self.width]

    def fit(self, sets: Tensor) -> bool:
        """Always."""
        return True

    def parts(self, sets: Tensor) -> Tensor:
        """One gathered float for each pair."""
        return self._all[sets[:, :, None], sets[:, None, :]]


class OfInteractions:
    """X'X by products with X, of which the parts are made that are needed."""

    def __init__(self, place: Place, users: HeldRows, items: HeldRows) -> None:
        self._place, self._items = place, items
        self._by_user, self._by_item = users.tensor(), items.tensor()
        self.width = max(users.shape)

    def rows(self, first: int, last: int) -> Tensor:
        """A sparse product."""
        return (self._items.part(slice(first, last)) @ self._by_user).to_dense()

    def times(self, weights: Tensor) -> Tensor:
        """What users would get, and that taken back to items."""
        return (self._by_item @ (self._by_user @ weights.T.contiguous())).T.contiguous()

    def fit(self, sets: Tensor) -> bool:
        """Whether the items of all sets have pairs enough for a chunk at most."""
        return len(sets) == 1 or len(sets.unique()) ** 2 <= self._place.chunk_floats

    def parts(self, sets: Tensor) -> Tensor:
        """The product of the items of all sets, and from it those of each."""
        import torch

        items, at = torch.unique(sets, return_inverse=True)
        entries, owner = self._items.entries_of(items)
        users, values = self._items.indices[entries].long(), self._items.values[entries]
        shape = (len(items), self._items.shape[1])
        some = torch.sparse_coo_tensor(torch.stack([owner, users]), values, shape, check_invariants=False)
        product = torch.sparse.mm(some, some.t()).to_dense()
        return product[at[:, :, None], at[:, None, :]]


def _sparse(weights: Tensor) -> Tensor:
    """A matrix without its zeros."""
    import torch

    rows, columns = weights.nonzero(as_tuple=True)
    indptr = torch.zeros(len(weights) + 1, dtype=torch.int32, device=weights.device)
    indptr[1:] = torch.bincount(rows, minlength=len(weights)).cumsum(0)
    return sparse_tensor(indptr, columns.int(), weights[rows, columns], weights.shape[1])
