"""The elastic nets of SLIM in PyTorch: the working sets of ``native/slim/columns.cpp``, of many columns at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.kernels.arrays import width_of
from cofactor.kernels.csr import CSR, offsets
from cofactor.kernels.torch.slim_gradients import AtHand, OfInteractions
from cofactor.kernels.torch.slim_sets import Penalty, Sets
from cofactor.kernels.torch.topk import best_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.torch.place import HeldRows, Place, Tensor
    from cofactor.kernels.torch.slim_gradients import Gramian

__all__ = ["slim_columns"]

_FIRST = 128  # items of the first working set; as many as have weights join later
_CLOSER = 0.25  # sweeps end when the farthest step is that part of what is allowed
_LOOSE = 0.1  # while others have to join: that part of the farthest of them
_TILES = 4  # numbers of a chunk for each of a tile (columns, n_items), which needs eight such arrays at a time


class _Rules(NamedTuple):
    penalty: Penalty
    tolerance: float
    iterations: int
    neighbours: int  # 0: all
    most: int


def slim_columns(
    place: Place,
    user_items: CSR | HeldRows,
    item_users: CSR | HeldRows,
    begin: int,
    end: int,
    *,
    l1: float,
    l2: float,
    non_negative: bool,
    tolerance: float,
    iterations: int,
    gramian: Tensor | None = None,
    start: CSR | None = None,
    neighbours: int | None = None,
    top_n: int | None = None,
    max_active: int = 8192,
    threads: int | None = None,
) -> tuple[CSR, NDArray[np.uint8]]:
    """Columns ``begin`` to ``end`` of the weights of SLIM; ``kernels/cpu/slim.py`` explains all.

    Without ``gramian`` the parts of it that working sets need are made for each chunk of columns.
    """
    import torch

    users, items = place.rows(user_items), place.rows(item_users)
    n = items.shape[0]
    _check(users, items, slice(begin, end), start, gramian)
    if not (l1 >= 0 and l2 >= 0 and tolerance > 0 and iterations >= 1 and max_active >= 1):
        raise ValueError("options out of range")
    x = users.csr
    squares = np.bincount(x.indices, np.square(x.values, dtype=np.float64), n).astype(np.float32)
    gram: Gramian = OfInteractions(place, users, items) if gramian is None else AtHand(place.tensor(gramian), n)
    rules = _Rules(
        Penalty(l1, l2, non_negative), tolerance, iterations, neighbours or 0, n if gramian is None else max_active
    )
    tile = max(place.chunk_floats // (_TILES * max(gram.width, 1)), 1)
    counts, found, status = [], [], [np.empty(0, np.uint8)]
    for first in range(begin, end, tile):
        last = min(end, first + tile)
        columns = _Columns(place, gram, place.tensor(squares), rules, slice(first, last))
        if start is not None:
            columns.take_over(start)
        columns.descend()
        weights = columns.weights
        if top_n:
            weights = _heaviest(weights, top_n)
        row, item = weights.nonzero(as_tuple=True)
        counts.append(torch.bincount(row, minlength=last - first).cpu().numpy())
        found.append((item.int().cpu().numpy(), weights[row, item].cpu().numpy()))
        status.append(columns.status.cpu().numpy())
    indptr = offsets(np.concatenate([np.zeros(0, np.int64), *counts]))
    indices = np.concatenate([np.zeros(0, np.int32), *(part[0] for part in found)])
    return CSR(indptr, indices, np.concatenate([np.zeros(0, np.float32), *(part[1] for part in found)]), n), (
        np.concatenate(status)
    )


class _Columns:
    """Columns [first, last): weights (columns, n_items), their gradients, and what each works on."""

    def __init__(self, place: Place, gram: Gramian, squares: Tensor, rules: _Rules, columns: slice) -> None:
        import torch

        self._place, self._gram, self._rules, self._first = place, gram, rules, columns.start
        first, last = columns.start, columns.stop
        self._squares, self._curvature = squares, (squares + rules.penalty.l2).masked_fill_(squares == 0, 1)
        self._targets = gram.rows(first, last)
        self._gradients = self._targets.clone()
        self._candidates = self._chosen(torch.arange(first, last, device=squares.device))
        self.weights = torch.zeros_like(self._gradients)
        self._held = torch.zeros_like(self._candidates)
        self._allowed = rules.tolerance**2 * squares[first:last]
        self._left = torch.full((last - first,), rules.iterations, device=squares.device)
        self.status = torch.zeros(last - first, dtype=torch.uint8, device=squares.device)

    def _chosen(self, itself: Tensor) -> Tensor:
        """Which items may get a weight.

        With X >= 0 and w >= 0 no weight makes another item's gradient larger: what is not above l1 never gets one.
        """
        import torch

        targets, penalty, n = self._targets, self._rules.penalty, self._rules.neighbours
        reached = targets > 0 if penalty.non_negative or n else (self._squares > 0).expand_as(targets).clone()
        reached[torch.arange(len(itself), device=itself.device), itself] = False
        reached &= (self._squares[itself] > 0)[:, None]
        if n:
            cosine = (targets / self._squares.sqrt()).masked_fill_(~reached, -torch.inf)
            reached = _at(best_columns(cosine, min(n, targets.shape[1]))[0], targets.shape[1])
        return reached & (targets > penalty.l1) if penalty.non_negative else reached

    def take_over(self, start: CSR) -> None:
        """Begin with those of the given weights that may stay."""
        given = start.take(np.arange(self._first, self._first + len(self.weights)))
        row, item = self._place.tensor(given.row_index()).long(), self._place.tensor(given.indices).long()
        self.weights[row, item] = self._place.tensor(given.values)
        self.weights.masked_fill_(~self._candidates, 0)
        if self._rules.penalty.non_negative:
            self.weights.relu_()
        self._held = self.weights != 0
        self._gradients -= self._gram.times(self.weights)

    def descend(self) -> None:
        """Solve for the weights of the items at work, let those join that then violate the conditions, and again."""
        at = self._candidates.any(1).nonzero()[:, 0]
        at = at[self._few_enough(at)]
        while len(at):
            far = self._rules.penalty.distance(self.weights[at], self._gradients[at], self._curvature)
            far.masked_fill_(~self._candidates[at], 0)
            unmet = far.amax(1) > self._allowed[at]
            self.status[at[unmet & (self._left[at] <= 0)]] = 1
            going = unmet & (self._left[at] > 0)
            at, far = at[going], far[going]
            if not len(at):
                return
            outside = far.masked_fill_(self._held[at], 0)
            self._join(at, outside)
            least = _CLOSER * self._allowed[at].maximum(_LOOSE * outside.amax(1))
            few = self._few_enough(at)
            at, least = at[few], least[few]
            sizes = self._held[at].sum(1)
            for some in self._chunks(at, sizes):
                self._solve(at[some], least[some], int(sizes[some].max()))
            self._gradients[at] = self._targets[at] - self._gram.times(self.weights[at])

    def _join(self, at: Tensor, outside: Tensor) -> None:
        """The candidates that are farthest from their optimum, where that is not within the tolerance."""
        import torch

        far = outside.masked_fill(outside <= self._allowed[at, None], -torch.inf)
        most = (self.weights[at] != 0).sum(1).clamp_(min=_FIRST)
        rows, _ = best_columns(far, min(int(most.max()), far.shape[1]))
        rows[torch.arange(rows.shape[1], device=rows.device) >= most[:, None]] = -1
        self._held[at] |= _at(rows, far.shape[1])

    def _few_enough(self, at: Tensor) -> Tensor:
        few = self._held[at].sum(1) <= self._rules.most
        self.status[at[~few]] = 2
        return few

    def _chunks(self, at: Tensor, sizes: Tensor) -> list[Tensor]:
        """Places among ``at`` of columns with working sets of like size, whose parts of X'X fit into a chunk."""
        import torch

        order, chunks, begin = sizes.argsort(), [], 0
        while begin < len(order):
            rest = sizes[order[begin:]]  # ascending: as many as the size of the last one leaves room for
            floats = rest.square() * torch.arange(1, len(rest) + 1, device=rest.device)
            n = max(int((floats <= self._place.chunk_floats).sum()), 1)
            while n > 1 and not self._gram.fit(self._sets(at[order[begin : begin + n]], int(rest[n - 1]))[0]):
                n //= 2
            chunks.append(order[begin : begin + n])
            begin += n
        return chunks

    def _sets(self, at: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Items at work, ascending, and which places hold one; others name item 0."""
        import torch

        row, item = self._held[at].nonzero(as_tuple=True)
        counts = torch.bincount(row, minlength=len(at))
        place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
        items = torch.zeros((len(at), size), dtype=torch.int64, device=row.device)
        items[row, place] = item
        return items, torch.arange(size, device=row.device) < counts[:, None]

    def _solve(self, at: Tensor, least: Tensor, size: int) -> None:
        import torch

        items, there = self._sets(at, size)
        parts = self._gram.parts(items)
        parts *= there[:, :, None] & there[:, None, :]
        weights = self.weights[at].gather(1, items) * there
        gradients = self._gradients[at].gather(1, items) * there
        targets = gradients + torch.bmm(parts, weights[:, :, None])[:, :, 0]
        sets, left = Sets(parts, targets, weights, self._rules.penalty), self._left[at]
        weights = sets.descend(least, left)
        self._left[at] = left
        row = at[:, None].expand_as(items)
        self.weights[row[there], items[there]] = weights[there]


def _at(rows: Tensor, n: int) -> Tensor:
    """Which of n items rows of them name, -1 for none."""
    import torch

    out = torch.zeros((len(rows), n + 1), dtype=torch.bool, device=rows.device)
    out.scatter_(1, torch.where(rows < 0, n, rows), value=True)
    return out[:, :n].contiguous()


def _heaviest(weights: Tensor, n: int) -> Tensor:
    import torch

    heavy = weights.abs().masked_fill_(weights == 0, -torch.inf)
    kept = _at(best_columns(heavy, min(n, weights.shape[1]))[0], weights.shape[1])
    return weights * kept


def _check(users: HeldRows, items: HeldRows, columns: slice, start: CSR | None, gramian: Tensor | None) -> None:
    n = items.shape[0]
    if users.csr.nnz != items.csr.nnz:
        raise ValueError("both ways of a matrix must have as many entries")
    if gramian is not None and tuple(gramian.shape) != (n, width_of(n)):
        raise ValueError("gramian must have one padded row per item")
    if not 0 <= columns.start <= columns.stop <= n:
        raise ValueError("there are no such columns")
    if start is not None and start.n_rows != n:
        raise ValueError("start must have one row per item")
