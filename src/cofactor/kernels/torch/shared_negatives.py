"""Pairs against negatives that a whole batch shares, in PyTorch: what ``kernels/cpu/shared_negatives.py`` explains.

Batches and negatives are those of the CPU, drawn on the host. Scores of a batch are made in blocks of pairs that fit
into a chunk; every row that a batch names takes one step by the sum of its gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cofactor.kernels.cpu.shuffle import permuted_rows
from cofactor.kernels.torch.draws import drawn_items, mixed
from cofactor.kernels.torch.rows import Gradient, Named, check_tables, group_shares, side_of
from cofactor.kernels.torch.shared_losses import SharedLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor
    from cofactor.kernels.torch.rows import Side

__all__ = ["shared_negatives_epoch"]


class _Epoch(NamedTuple):
    """What every batch needs."""

    place: Place
    x: HeldRows
    users: Side
    items: Side
    vectors: Table
    biases: Table | None
    loss: SharedLoss
    cosine: bool
    exact: bool
    quantiles: Tensor | None
    log_q: Tensor | None
    groups: Tensor | None
    group_discounts: Tensor | None
    regularization: float
    bias_regularization: float
    update: dict[str, bool]


def shared_negatives_epoch(  # noqa: PLR0917 the kernel's arguments
    place: Place,
    x: CSR,
    vectors: Table,
    biases: Table | None = None,
    user_parts: CSR | None = None,
    item_parts: CSR | None = None,
    *,
    loss: str,
    score: str,
    sampler: str,
    negatives: int,
    batch_size: int,
    temperature: float = 1.0,
    positive_temperature: float = 1.0,
    margin: float = 0.0,
    negative_weight: float = 1.0,
    quantiles: Float | None = None,
    quantile_temperature: float = 1.0,
    alias: tuple[Float, Rows] | None = None,
    log_q: Float | None = None,
    groups: Rows | None = None,
    group_discounts: Float | None = None,
    regularization: float = 0.0,
    bias_regularization: float = 0.0,
    seed: int = 0,
    epoch: int = 0,
    rate: float = 1.0,
    update_users: bool = True,
    update_items: bool = True,
    threads: int | None = None,
) -> float:
    """One pass over the entries of ``x`` in random order; changes ``vectors`` and ``biases`` in place."""
    import torch

    (n_users, n_items), n_rows = x.shape, len(vectors.values)
    _check(loss, score, sampler, min(negatives, batch_size))
    _check_alias(sampler, alias, n_items)
    _check_arrays(x.shape, loss, quantiles, log_q)
    check_tables(x.shape, vectors, biases, groups, group_discounts)
    there = [None if a is None else place.tensor(a) for a in (quantiles, log_q, groups, group_discounts)]
    held = _Epoch(
        place=place,
        x=place.rows(x),
        users=side_of(place, n_users, 0, n_rows, user_parts),
        items=side_of(place, n_items, n_users, n_rows, item_parts),
        vectors=vectors.slower(rate),
        biases=None if biases is None else biases.slower(rate),
        loss=SharedLoss(loss, temperature, positive_temperature, margin, negative_weight, quantile_temperature),
        cosine=score == "cosine",
        exact=sampler == "exact",
        quantiles=there[0],
        log_q=there[1],
        groups=there[2],
        group_discounts=there[3],
        regularization=regularization,
        bias_regularization=bias_regularization,
        update={"update_users": update_users, "update_items": update_items},
    )
    nnz, key = held.x.csr.nnz, mixed(seed ^ mixed(epoch + 1))
    row = torch.repeat_interleave(held.x.indptr.diff())
    lost = torch.zeros((), dtype=torch.float64, device=place.device)
    for number, begin in enumerate(range(0, nnz, batch_size)):
        at = place.tensor(permuted_rows(nnz, key, begin, min(nnz, begin + batch_size)))
        items = held.x.indices[at].long()
        drawn = None if sampler == "in_batch" else place.tensor(drawn_items(negatives, n_items, key, number, alias))
        lost += _batch(held, row[at], items, held.x.values[at], items[:negatives] if drawn is None else drawn)
    return float(lost) / max(nnz, 1)


def _batch(e: _Epoch, users: Tensor, items: Tensor, weights: Tensor, negatives: Tensor) -> Tensor:
    """The summed loss of a batch, and a step of all that it names."""
    import torch

    named = e.users.named(users), e.items.named(items), e.items.named(negatives)
    made = [part.made(e.vectors.values) for part in named]
    (u, back_u), (v, back_v), (w, back_w) = (_scaled(part, cosine=e.cosine) for part in made)
    own, other = (None if e.biases is None else part.made(e.biases.values)[:, 0] for part in named[1:])
    n, by_u, by_w = len(users), torch.empty_like(u), torch.zeros_like(w)
    by_positive, by_other = torch.empty(n, device=u.device), torch.zeros(len(negatives), device=u.device)
    lost = torch.zeros((), dtype=torch.float64, device=u.device)
    seen, log_q = _Seen(e, negatives) if e.exact else None, None if e.log_q is None else e.log_q[negatives]
    step = max(e.place.chunk_floats // max(len(negatives), 1), 16)
    for first in range(0, n, step):
        some = slice(first, min(n, first + step))
        positive, scores = (u[some] * v[some]).sum(1), u[some] @ w.T
        if own is not None and other is not None:
            positive, scores = positive + own[some], scores.add_(other)
        counts = _counts(e, items[some], negatives)
        if seen is not None:
            counts.masked_fill_(seen.by(users[some]), 0)
        quantiles = None if e.quantiles is None else e.quantiles[users[some]]
        losses, by_own, by_scores = e.loss.of(positive, scores, counts, log_q, quantiles)
        lost += (weights[some] * losses).sum()
        share = weights[some] / n
        by_positive[some] = by_own * share
        by_scores = by_scores.mul_(share[:, None])
        by_u[some] = by_positive[some, None] * v[some] + by_scores @ w
        by_w += by_scores.T @ u[some]
        by_other += by_scores.sum(0)
    by_vectors = [back_u(by_u), back_v(by_positive[:, None] * u), back_w(by_w)]
    _step(e, named, (made, by_vectors), ([own, other], [by_positive, by_other]))
    return lost


def _step(
    e: _Epoch,
    named: tuple[Named, Named, Named],
    vectors: tuple[list[Tensor], list[Tensor]],
    biases: tuple[list[Tensor | None], list[Tensor]],
) -> None:
    """Move what users, items and negatives are made of; of vectors and biases: values, and gradients of the loss."""
    n_users, gradient = e.x.shape[0], Gradient()
    for part, own, by, moves in zip(named, *vectors, _moving(e), strict=True):
        if moves:
            gradient.add(part, by.add_(own, alpha=e.regularization / len(own)))
    gradient.step(e.vectors, n_users, **e.update)
    if e.biases is None or not e.update["update_items"]:
        return
    gradient = Gradient()
    for part, bias, by in zip(named[1:], *biases, strict=True):
        gradient.add(part, by.add_(bias, alpha=e.bias_regularization / len(by))[:, None])
    gradient.step(e.biases, n_users, **e.update)


def _moving(e: _Epoch) -> tuple[bool, bool, bool]:
    users, items = e.update["update_users"], e.update["update_items"]
    return users, items, items


def _scaled(vectors: Tensor, *, cosine: bool) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Vectors as they are multiplied, and a function from derivatives by these to derivatives by vectors."""
    if not cosine:
        return vectors, lambda d: d
    length = vectors.square().sum(1, keepdim=True).sqrt()
    inverse = (1 / length).masked_fill_(length == 0, 0)
    unit = vectors * inverse
    return unit, lambda d: inverse * (d - (d * unit).sum(1, keepdim=True) * unit)


def _counts(e: _Epoch, items: Tensor, negatives: Tensor) -> Tensor:
    """How much each negative counts for each pair, (n, n_negatives), what users have seen aside."""
    counts = (items[:, None] != negatives).float()
    return counts * group_shares(e.groups, e.group_discounts, items, negatives)


class _Seen:
    """Which of the negatives of a batch each user has."""

    def __init__(self, e: _Epoch, negatives: Tensor) -> None:
        import torch

        self.rows = e.x
        items, self.column = torch.unique(negatives, return_inverse=True)
        self.n = len(items)
        self.place_of = torch.full((e.x.shape[1],), -1, dtype=torch.int64, device=items.device)
        self.place_of[items] = torch.arange(self.n, device=items.device)

    def by(self, users: Tensor) -> Tensor:
        """(n, n_negatives), true where a user has the item."""
        import torch

        at, owner = self.rows.entries_of(users)
        found = self.place_of[self.rows.indices[at].long()]
        there = found >= 0
        table = torch.zeros((len(users), self.n), dtype=torch.bool, device=users.device)
        table[owner[there], found[there]] = True
        return table[:, self.column]


def _check(loss: str, score: str, sampler: str, least: int) -> None:
    if loss not in ("softmax", "bsl", "ccl", "softmax@k"):
        raise ValueError("loss must be softmax, bsl, ccl or softmax@k")
    if score not in ("cosine", "dot"):
        raise ValueError("score must be cosine or dot")
    if sampler not in ("exact", "uniform", "popularity", "in_batch"):
        raise ValueError("sampler must be exact, uniform, popularity or in_batch")
    if least < 1:
        raise ValueError("batch_size and negatives must be at least 1")


def _check_alias(sampler: str, alias: tuple[Float, Rows] | None, n_items: int) -> None:
    if alias is None if sampler == "popularity" else sampler == "in_batch" and alias is not None:
        raise ValueError("the popularity sampler needs an alias table, in_batch has none")
    if alias is not None:
        keep, other = alias
        if not len(keep) == len(other) == n_items or (len(other) and not 0 <= other.min() <= other.max() < n_items):
            raise ValueError("keep and alias must hold items, one for each")


def _check_arrays(shape: tuple[int, int], loss: str, quantiles: Float | None, log_q: Float | None) -> None:
    n_users, n_items = shape
    if (quantiles is not None) != (loss == "softmax@k"):
        raise ValueError("softmax@k, and no other loss, has quantiles")
    if log_q is not None and loss == "ccl":
        raise ValueError("ccl estimates no sum over items and has no log_q")
    for name, array, n, what in (("quantiles", quantiles, n_users, "user"), ("log_q", log_q, n_items, "item")):
        if array is not None and len(array) != n:
            raise ValueError(f"{name} must have one number for every {what}")
