"""Pairs of items that follow each other, in PyTorch: the blocks of ``kernels/cpu/item_pairs.py`` on one thread.

A row that comes several times in a block takes one step for each of its places, in turn: as many rounds as the most
frequent item of the block has places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cofactor.kernels.cpu.shuffle import permuted_rows
from cofactor.kernels.torch.draws import Stream, drawn_items, first_number
from cofactor.kernels.torch.rows import step_rows

if TYPE_CHECKING:
    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.torch.place import Place, Tensor

__all__ = ["item_pairs_epoch"]

_PIECE = 1 << 13  # pairs that a pool of negatives is drawn for


class _Epoch(NamedTuple):
    """What every block needs."""

    vectors: Table
    offset: int  # of the rows of next items
    softmax: bool
    in_batch: bool
    log_q: Tensor | None
    regularization: float
    learn: bool


def item_pairs_epoch(
    place: Place,
    items: Rows,
    next_items: Rows,
    weights: Float | None,
    vectors: Table,
    *,
    n_items: int,
    loss: str = "logistic",
    sampler: str = "in_batch",
    negatives: int = 1,
    alias: tuple[Float, Rows] | None = None,
    log_q: Float | None = None,
    shared: bool = True,
    regularization: float = 0.0,
    batch_size: int = 256,
    seed: int = 0,
    epoch: int = 0,
    rate: float = 1.0,
    learn: bool = True,
    threads: int | None = None,
) -> tuple[float, float]:
    """One pass over pairs in random order; changes ``vectors`` in place; mean loss, and accuracy."""
    import torch

    if (sampler == "popularity") != (alias is not None):
        raise ValueError("the popularity sampler, and no other, has an alias table")
    there = [None if part is None else place.tensor(part) for part in (items, next_items, weights, log_q)]
    e = _Epoch(
        vectors.slower(rate), 0 if shared else n_items, loss == "softmax", sampler == "in_batch", there[3],
        regularization, learn,
    )  # fmt: skip
    _check(e, there, n_items, loss, sampler, negatives, batch_size)
    key, n = first_number(seed, epoch), len(items)
    i, j = (place.tensor(part).long() for part in (items, next_items))
    w = torch.ones(n, device=place.device) if there[2] is None else there[2]
    totals = torch.zeros(3, dtype=torch.float64, device=place.device)  # loss; pairs above their negative, and compared
    for begin in range(0, n, _PIECE):
        order = place.tensor(permuted_rows(n, key, begin, min(n, begin + _PIECE)))
        pool = None if e.in_batch else place.tensor(drawn_items(len(order), n_items, key, begin, alias))
        shifts = Stream(key, ~begin)
        for at in range(0, len(order), batch_size):
            block = order[at : at + batch_size]
            of = j[block] if pool is None else pool[at : at + batch_size]
            others = len(block) - e.in_batch
            m = min(negatives, others)
            shift = shifts.below(others - m + 1) + e.in_batch if others else 0
            totals += _block(e, (i[block], j[block], w[block]), of, shift, m)
    total, above, compared = map(float, totals)
    return total / max(float(w.sum(dtype=torch.float64)), 1e-30), above / max(compared, 1)


def _block(e: _Epoch, pairs: tuple[Tensor, Tensor, Tensor], of: Tensor, shift: int, m: int) -> Tensor:
    """Summed loss of a block, and of how many pairs how many are above their first negative; steps of its rows."""
    import torch

    (i, j, w), n = pairs, len(of)
    values: Tensor = e.vectors.values
    at = (torch.arange(n, device=of.device)[:, None] + shift + torch.arange(m, device=of.device)) % n
    k = of[at]
    vi, vj, v_of = values[i], values[j + e.offset], values[of + e.offset]
    vk = v_of[at]
    s = torch.cat([(vi * vj).sum(1, keepdim=True), torch.bmm(vk, vi[:, :, None])[:, :, 0]], 1)
    if e.log_q is not None:
        s -= e.log_q[torch.cat([j[:, None], k], 1)]
    s[:, 1:].masked_fill_(k == j[:, None], -torch.inf)
    losses, g = _losses(s, softmax=e.softmax)
    real = s[:, 1] > -torch.inf if m else torch.zeros(n, dtype=torch.bool, device=of.device)
    above = real & (s[:, 0] > s[:, min(1, m)])
    if e.learn:
        _step(e, (i, j, of), (vi, vj, v_of), g.mul_(w[:, None]), at)
    return torch.stack([(w * losses).sum(), above.sum().double(), real.sum().double()])


def _losses(s: Tensor, *, softmax: bool) -> tuple[Tensor, Tensor]:
    """Losses, float64, and their derivatives by the scores: of the pair, then of its negatives."""
    import torch

    if softmax:
        logs = s.double().log_softmax(1)
        g = logs.exp()
        g[:, 0] = -g[:, 1:].sum(1)
        return -logs[:, 0], g.float()
    softplus = torch.nn.functional.softplus
    g = torch.cat([-torch.sigmoid(-s[:, :1]), torch.sigmoid(s[:, 1:])], 1)  # less than roundoff of 1 moves Adam, too
    return softplus(-s[:, 0].double()) + softplus(s[:, 1:].double()).sum(1), g


def _step(
    e: _Epoch, rows: tuple[Tensor, Tensor, Tensor], vectors: tuple[Tensor, Tensor, Tensor], g: Tensor, at: Tensor
) -> None:
    """The steps of items, next items and drawn negatives, pair by pair."""
    import torch

    (i, j, of), (vi, vj, v_of), others = rows, vectors, g[:, 1:]
    by_i = g[:, :1] * vj + torch.bmm(others[:, None, :], v_of[at])[:, 0] + e.regularization * vi
    by_j = g[:, :1] * vi + e.regularization * vj
    by_of = torch.zeros_like(vi).index_add_(
        0, at.reshape(-1), (others[:, :, None] * vi[:, None]).reshape(-1, vi.shape[1])
    )
    if e.in_batch:
        named, by = [i, j + e.offset], [by_i, by_j + by_of]
    else:
        named, by = [i, j + e.offset, of + e.offset], [by_i, by_j, by_of + e.regularization * v_of]
    row, gradient = torch.stack(named, 1).view(-1), torch.stack(by, 1).view(-1, vi.shape[1])
    ordered, place = row.sort(stable=True)
    _, counts = torch.unique_consecutive(ordered, return_counts=True)
    turn = torch.arange(len(row), device=row.device) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    for round_ in range(int(counts.max()) if len(counts) else 0):
        now = place[turn == round_]
        step_rows(e.vectors, row[now], gradient[now])


def _check(  # noqa: PLR0917 one of each
    e: _Epoch, given: list[Tensor | None], n_items: int, loss: str, sampler: str, negatives: int, batch_size: int
) -> None:
    items, next_items, weights, log_q = given
    if loss not in ("logistic", "softmax"):
        raise ValueError("loss must be logistic or softmax")
    if sampler not in ("in_batch", "uniform", "popularity"):
        raise ValueError("sampler must be in_batch, uniform or popularity")
    if items is None or next_items is None or not len(items) == len(next_items):
        raise ValueError("items and next_items must be of one length")
    if weights is not None and len(weights) != len(items):
        raise ValueError("items, next_items and weights must be of one length")
    if len(e.vectors.values) != n_items + e.offset:
        raise ValueError("vectors must have a row for every item, or two")
    if log_q is not None and len(log_q) != n_items:
        raise ValueError("log_q must have one number for every item")
    if not 2 <= batch_size <= _PIECE or not 1 <= negatives <= batch_size - e.in_batch:
        raise ValueError("a block has 2 to 8,192 pairs and must hold the negatives of one")
    for part in (items, next_items):
        if len(part) and not 0 <= int(part.min()) <= int(part.max()) < n_items:
            raise ValueError("items must be below n_items")
