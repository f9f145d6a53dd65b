"""Positives against negatives of their own, in PyTorch: the batches of ``kernels/cpu/pairwise.py``.

Always as with ``deterministic`` there: every row that a batch touches takes one step by the sum of its gradients, all
from the parameters at the start of the batch. Negatives are drawn on the host, a whole epoch at once: 4 bytes each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.kernels.cpu.sampling import sample_negatives
from cofactor.kernels.cpu.shuffle import permuted_rows
from cofactor.kernels.torch.draws import first_number
from cofactor.kernels.torch.rows import Gradient, check_tables, group_shares, side_of

if TYPE_CHECKING:
    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor
    from cofactor.kernels.torch.rows import Named, Side

__all__ = ["pairwise_epoch"]


class _Epoch(NamedTuple):
    """What every batch needs."""

    x: HeldRows
    users: Side
    items: Side
    vectors: Table
    biases: Table | None
    loss: str
    margin: float
    ranks: Tensor  # what the k-th negative counts that is the first to violate ("warp")
    groups: Tensor | None
    group_discounts: Tensor | None
    regularization: float
    bias_regularization: float
    update: dict[str, bool]


def pairwise_epoch(  # noqa: PLR0917 the kernel's arguments
    place: Place,
    x: CSR,
    vectors: Table,
    biases: Table | None = None,
    user_parts: CSR | None = None,
    item_parts: CSR | None = None,
    *,
    loss: str,
    sampler: str,
    negatives: int = 1,
    max_trials: int = 30,
    alias: tuple[Float, Rows] | None = None,
    dislikes: CSR | None = None,
    dislike_share: float = 0.0,
    groups: Rows | None = None,
    group_discounts: Float | None = None,
    margin: float = 1.0,
    regularization: float = 0.0,
    bias_regularization: float = 0.0,
    seed: int = 0,
    epoch: int = 0,
    rate: float = 1.0,
    last_rate: float | None = None,
    deterministic: bool = False,
    batch_size: int = 1024,
    update_users: bool = True,
    update_items: bool = True,
    threads: int | None = None,
) -> tuple[float, int, int]:
    """One pass over the entries of ``x`` in random order; mean loss, entries skipped, violations."""
    import torch

    (n_users, n_items), n_rows = x.shape, len(vectors.values)
    n = max_trials if loss == "warp" else negatives
    _check(loss, sampler, n, batch_size, alias=alias)
    check_tables(x.shape, vectors, biases, groups, group_discounts)
    held, key = place.rows(x), first_number(seed, epoch)
    ranks = np.cumsum(1 / np.arange(1.0, max(n_items, 2)))
    e = _Epoch(
        x=held,
        users=side_of(place, n_users, 0, n_rows, user_parts),
        items=side_of(place, n_items, n_users, n_rows, item_parts),
        vectors=vectors,
        biases=biases,
        loss=loss,
        margin=margin,
        ranks=place.tensor(ranks[np.maximum((n_items - 1) // np.arange(1, n + 1), 1) - 1].astype(np.float32)),
        groups=None if groups is None else place.tensor(groups),
        group_discounts=None if group_discounts is None else place.tensor(group_discounts),
        regularization=regularization,
        bias_regularization=bias_regularization,
        update={"update_users": update_users, "update_items": update_items},
    )
    rows, nnz = held.csr.row_index(), held.csr.nnz
    drawn = sample_negatives(
        rows, n, x.shape, seen=held.csr if sampler == "exact" else None, alias=alias,
        dislikes=getattr(dislikes, "csr", dislikes), dislike_share=dislike_share, seed=key, threads=threads,
    )  # fmt: skip
    totals, skipped = torch.zeros(2, dtype=torch.float64, device=place.device), 0
    for begin in range(0, nnz, batch_size):
        at = permuted_rows(nnz, key, begin, min(nnz, begin + batch_size))
        kept = at[drawn[at, 0] >= 0]
        skipped += len(at) - len(kept)
        if len(kept):
            there = place.tensor(kept)
            items = torch.cat([held.indices[there].long()[:, None], place.tensor(drawn[kept]).long()], 1)
            done = (2 * begin + len(at)) / (2 * nnz)
            now = rate if last_rate is None else rate + (last_rate - rate) * done
            slower = e._replace(vectors=vectors.slower(now), biases=None if biases is None else biases.slower(now))
            totals += _batch(slower, place.tensor(rows[kept]).long(), items, held.values[there])
    return float(totals[0]) / max(nnz - skipped, 1), skipped, int(totals[1])


def _batch(e: _Epoch, users: Tensor, items: Tensor, weights: Tensor) -> Tensor:
    """Summed loss and violations of a batch, and a step of all that it moves; ``items``: the positive first."""
    import torch

    named, pointwise = (e.users.named(users), e.items.named(items.view(-1))), e.loss == "logistic"
    u, v = (part.made(e.vectors.values) for part in named)
    v = v.view(*items.shape, -1)
    scores = torch.bmm(v, u[:, :, None])[:, :, 0]
    b_u = b = None
    if e.biases is not None:
        b_u, b = (part.made(e.biases.values)[:, 0] for part in named)
        scores = scores + b.view(items.shape)
        scores = scores + b_u[:, None] if pointwise else scores
    chosen = _chosen(e, scores)
    share = chosen * group_shares(e.groups, e.group_discounts, items[:, 0], items[:, 1:])
    losses, by = _losses(e, scores, share)
    room = 0.0 if e.loss in ("bpr", "logistic") else e.margin
    wrong = ((scores[:, 1:] > scores[:, :1] - room) & (chosen != 0)).sum()
    by *= weights[:, None]
    _step(e, named, (u, v), (b_u, b), by)
    return torch.stack([(weights * losses).sum(), wrong.double()])


def _chosen(e: _Epoch, scores: Tensor) -> Tensor:
    """How often the loss counts each negative, (n, n_negatives), groups aside."""
    import torch

    others = scores[:, 1:]
    if e.loss == "adaptive_hinge":
        return torch.zeros_like(others).scatter_(1, others.argmax(1, keepdim=True), 1.0)
    if e.loss != "warp":
        return torch.ones_like(others)
    violated = ~(e.margin - scores[:, :1] + others <= 0)
    first = violated.to(torch.int8).argmax(1, keepdim=True)
    counts = e.ranks[first[:, 0]] * violated.any(1)
    return torch.zeros_like(others).scatter_(1, first, counts[:, None])


def _losses(e: _Epoch, scores: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (n,), float64, and their derivatives by all scores, for negatives that count their share."""
    import torch

    own, others = scores[:, :1], scores[:, 1:]
    softplus = torch.nn.functional.softplus
    if e.loss == "logistic":
        losses = softplus(-own[:, 0]).double() + (share * softplus(others)).sum(1, dtype=torch.float64)
        return losses, torch.cat([-torch.sigmoid(-own), share * torch.sigmoid(others)], 1)
    behind = others - own
    if e.loss == "bpr":
        pairs, slopes = softplus(behind), torch.sigmoid(behind)
    else:
        pairs, slopes = (e.margin + behind).clamp(min=0), (~(e.margin + behind <= 0)).float()
    by = share * slopes
    return (share * pairs).sum(1, dtype=torch.float64), torch.cat([-by.sum(1, keepdim=True), by], 1)


def _step(
    e: _Epoch,
    named: tuple[Named, Named],
    vectors: tuple[Tensor, Tensor],
    biases: tuple[Tensor | None, Tensor | None],
    by: Tensor,
) -> None:
    """Move what has a derivative ``by`` (n, 1 + n_negatives) the scores."""
    import torch

    pointwise = e.loss == "logistic"
    (users, items), (u, v), (b_u, b) = named, vectors, biases
    user, entry = (by != 0).any(1).nonzero()[:, 0], by.view(-1).nonzero()[:, 0]
    times = by.shape[1] if pointwise else 1
    by_u = torch.bmm(by[:, None, :], v)[:, 0] + times * e.regularization * u
    of_entry, n = by.view(-1)[entry], by.shape[1]
    by_v = of_entry[:, None] * u[entry // n] + e.regularization * v.view(-1, v.shape[2])[entry]
    gradient = Gradient()
    gradient.add(users.take(user), by_u[user])
    gradient.add(items.take(entry), by_v)
    gradient.step(e.vectors, e.x.shape[0], **e.update)
    if e.biases is None or b is None or b_u is None:
        return
    gradient = Gradient()
    if pointwise:
        gradient.add(users.take(user), (by.sum(1) + times * e.bias_regularization * b_u)[user, None])
    gradient.add(items.take(entry), (of_entry + e.bias_regularization * b[entry])[:, None])
    gradient.step(e.biases, e.x.shape[0], **e.update)


def _check(loss: str, sampler: str, n: int, batch_size: int, *, alias: tuple[Float, Rows] | None) -> None:
    if loss not in ("bpr", "hinge", "adaptive_hinge", "warp", "logistic"):
        raise ValueError("loss must be bpr, hinge, adaptive_hinge, warp or logistic")
    if sampler == "popularity" and alias is None:
        raise ValueError("the popularity sampler needs an alias table")
    if not 1 <= n < 1 << 16:
        raise ValueError("negatives must be at least 1 and below 2^16")
    if batch_size < 1 or batch_size * (n + 2) >= 1 << 31:
        raise ValueError("batch_size must be at least 1, and so must be room for 2^31 vectors")
