"""Epochs of factorization machines with features and context in PyTorch; ``kernels/cpu/fm_relations.py`` explains them.

Entries come in a random order of all of them, as in :func:`cofactor.kernels.torch.fm.fm_epoch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cofactor.errors import DataError
from cofactor.kernels.cpu.shuffle import permuted_rows
from cofactor.kernels.torch.fm_losses import check_epoch, losses_of
from cofactor.kernels.torch.rows import step_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cofactor.kernels.arguments import FmRelations, Table
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["fm_relations_epoch"]


def fm_relations_epoch(
    place: Place,
    targets: CSR | HeldRows,
    rows: Table,
    relations: FmRelations,
    *,
    offset: float,
    weight_decay: float,
    batch_size: int,
    batches: int = 1,
    n_coordinates: int | None = None,
    seed: int = 0,
    rate: float = 1.0,
    logistic: bool = False,
    span: float = 0.0,
    threads: int | None = None,
) -> float:
    """One pass of gradient descent over the entries of ``targets``; changes ``rows`` in place."""
    import torch

    n_coordinates = rows.values.shape[1] if n_coordinates is None else n_coordinates
    held, table = place.rows(targets), rows.slower(rate)
    check_epoch(held, rows, batch_size, n_coordinates, logistic=logistic, span=span)
    sides = _sides(place, held, rows, relations, batches)
    nnz, n_ids = held.csr.nnz, sum(held.shape)
    users, codes = torch.repeat_interleave(held.indptr.diff()), place.tensor(relations.categories)
    options: dict[str, Any] = {"weight_decay": weight_decay, "n_coordinates": n_coordinates, "n_ids": n_ids}
    options["rates"] = place.tensor(relations.rates)
    lost = torch.zeros((), dtype=torch.float64, device=place.device)
    for begin in range(0, nnz, batch_size * batches):
        every = place.tensor(permuted_rows(nnz, seed, begin, min(nnz, begin + batch_size * batches)))
        of_all = torch.stack([users[every], held.indices[every].long() + held.shape[0]])
        of_all = torch.cat([of_all, codes[:, every].long() + n_ids])
        blocks = [_Block.of(place, side, table.values, which) for side, which in zip(sides, of_all, strict=False)]
        n_batches = 0
        for start in range(0, len(every), batch_size):
            own, values = of_all[:, start : start + batch_size], held.values[every[start : start + batch_size]]
            sums, scores = _predicted(table.values, own, blocks)
            losses, slopes = losses_of(scores + offset, values, logistic=logistic, span=span)
            lost += losses.sum(dtype=torch.float64)
            by = (slopes / len(values))[:, None] * sums
            for block, which in zip(blocks, own, strict=False):
                if block.side.features.shape[1]:
                    block.gradients.index_add_(0, block.places(which), by)
            named, places = torch.unique(own, return_inverse=True)
            gradient = torch.zeros((len(named), by.shape[1]), device=place.device)
            for at in places:
                gradient.index_add_(0, at, by)
            _step(table, named, gradient, gradient[:, 0], **options)
            n_batches += 1
        for block in blocks:
            if block.side.features.shape[1]:
                _step(table, *block.for_features(place, 1 / n_batches), **options)
    return float(lost) / max(nnz, 1)


class _Side(NamedTuple):
    """Users, or items."""

    features: HeldRows
    first: int  # of its rows
    first_feature: int


class _Block(NamedTuple):
    """Users, or items, of some batches."""

    side: _Side
    rows: Tensor  # ascending
    sums: Tensor  # of their features, a bias and a vector each
    gradients: Tensor  # by these

    @classmethod
    def of(cls, place: Place, side: _Side, values: Tensor, which: Tensor) -> _Block:
        """Those of some ratings."""
        import torch

        rows = torch.unique(which)
        sums, gradients = torch.zeros((2, len(rows), values.shape[1]), device=place.device)
        squares = torch.zeros(len(rows), device=place.device)
        for owner, features, x in _entries(place, side, rows, values.shape[1]):
            found = values[features]
            sums.index_add_(0, owner, x[:, None] * found)
            squares.index_add_(0, owner, x * x * found[:, 1:].square().sum(1))
        sums[:, 0] += (sums[:, 1:].square().sum(1) - squares) / 2
        return cls(side, rows, sums, gradients)

    def places(self, which: Tensor) -> Tensor:
        """Of some of the rows."""
        import torch

        return torch.searchsorted(self.rows, which.contiguous())

    def for_features(self, place: Place, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of features, ``scale`` times the sums of their gradients, and of the slopes."""
        import torch

        width = self.gradients.shape[1]
        parts = list(_entries(place, self.side, self.rows, width))
        found = [features for _, features, _ in parts]
        named = torch.unique(torch.cat(found)) if found else self.rows[:0]
        gradient = torch.zeros((len(named), width), device=place.device)
        slopes = torch.zeros(len(named), device=place.device)
        for owner, features, x in parts:
            at, by = torch.searchsorted(named, features), self.gradients[owner]
            gradient.index_add_(0, at, scale * x[:, None] * by)
            slopes.index_add_(0, at, scale * x * x * by[:, 0])
        return named, gradient, slopes


def _sides(place: Place, targets: HeldRows, rows: Table, relations: FmRelations, batches: int) -> list[_Side]:
    """Users and items, with features that fit."""
    if batches < 1:
        raise ValueError("batches must be at least 1")
    try:
        users, items = place.rows(relations.users), place.rows(relations.items)
    except DataError as error:
        raise ValueError(f"columns must be ascending inside a row and in range: {error}") from error
    if (users.shape[0], items.shape[0]) != targets.shape:
        raise ValueError("features must have a row for every user, and for every item")
    codes = place.tensor(relations.categories)
    if codes.shape[1] != targets.csr.nnz:
        raise ValueError("categories must have a column for every target")
    if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < relations.n_categories):
        raise ValueError("a category is out of range")
    if len(relations.rates) != relations.n_categories + users.shape[1] + items.shape[1]:
        raise ValueError("rates must hold a number for every category and every feature")
    first = sum(targets.shape) + relations.n_categories
    if len(rows.values) != first + users.shape[1] + items.shape[1]:
        raise ValueError("the table must have a row for every user, item, category and feature")
    return [_Side(users, 0, first), _Side(items, targets.shape[0], first + users.shape[1])]


def _entries(place: Place, side: _Side, rows: Tensor, width: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Features of some rows in pieces: the place of the row of each, its own row, and its weight."""
    at, owner = side.features.entries_of(rows - side.first)
    size = max(place.chunk_floats // width, 1)
    for some, of in zip(at.split(size), owner.split(size), strict=True):
        yield of, side.features.indices[some].long() + side.first_feature, side.features.values[some]


def _predicted(values: Tensor, which: Tensor, blocks: list[_Block]) -> tuple[Tensor, Tensor]:
    """Of ratings the sums of all vectors they are made of, a 1 before each; and what is predicted of them."""
    scores = 0.0
    sums = None
    for side, rows in enumerate(which):
        total = values[rows]
        if side < len(blocks) and blocks[side].side.features.shape[1]:
            more = blocks[side].sums[blocks[side].places(rows)]
            among = (total[:, 1:] * more[:, 1:]).sum(1)
            total = total + more
            total[:, 0] += among
        scores = scores + total[:, 0]
        if sums is not None:
            scores = scores + (sums[:, 1:] * total[:, 1:]).sum(1)
        sums = total if sums is None else sums + total
    sums[:, 0] = 1  # type: ignore[index]
    return sums, scores


def _step(
    table: Table, named: Tensor, sums: Tensor, slopes: Tensor, *, weight_decay: float, n_coordinates: int, n_ids: int,
    rates: Tensor,
) -> None:  # fmt: skip
    """One step of each row, by the sums of its derivatives times slopes, and by those of the slopes."""
    own = table.values[named]
    gradient = sums + (weight_decay - slopes)[:, None] * own
    gradient[:, 0] = sums[:, 0] + weight_decay * own[:, 0]
    step_rows(table, named, gradient, n_coordinates=n_coordinates)
    shared = named >= n_ids
    named, before = named[shared], own[shared, 1:]
    table.values[named, 1:] = before + rates[named - n_ids][:, None] * (table.values[named, 1:] - before)
