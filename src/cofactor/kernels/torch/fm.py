"""Factorization machines in PyTorch: epochs of gradient descent, and ratings; ``kernels/cpu/fm.py`` explains both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.cpu.shuffle import permuted_rows
from cofactor.kernels.torch.fm_losses import check_epoch, losses_of
from cofactor.kernels.torch.rows import step_rows

if TYPE_CHECKING:
    from cofactor.kernels.arguments import FmSamples, Table
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["fm_epoch", "fm_ratings"]


def fm_epoch(
    place: Place,
    targets: CSR | HeldRows,
    rows: Table,
    *,
    offset: float,
    weight_decay: float,
    batch_size: int,
    n_coordinates: int | None = None,
    seed: int = 0,
    rate: float = 1.0,
    logistic: bool = False,
    span: float = 0.0,
    threads: int | None = None,
) -> float:
    """One pass of gradient descent over the entries of ``targets``; changes ``rows`` in place.

    Entries come in a random order of all of them, and not user group by user group as on the CPU, whose caches ask for
    that: the same steps on other batches.
    """
    import torch

    width = rows.values.shape[1]
    n_coordinates = width if n_coordinates is None else n_coordinates
    held, table = place.rows(targets), rows.slower(rate)
    if len(rows.values) != sum(held.shape):
        raise ValueError("the table must have a row for every user and every item")
    check_epoch(held, rows, batch_size, n_coordinates, logistic=logistic, span=span)
    nnz, n_users = held.csr.nnz, held.shape[0]
    users = torch.repeat_interleave(held.indptr.diff())
    lost = torch.zeros((), dtype=torch.float64, device=place.device)
    for begin in range(0, nnz, batch_size):
        at = place.tensor(permuted_rows(nnz, seed, begin, min(nnz, begin + batch_size)))
        both = torch.stack([users[at], held.indices[at].long() + n_users])
        named, places = torch.unique(both, return_inverse=True)
        before = table.values[named]
        u, i = before[places[0]], before[places[1]]
        scores = offset + u[:, 0] + i[:, 0] + (u[:, 1:] * i[:, 1:]).sum(1)
        losses, slopes = losses_of(scores, held.values[at], logistic=logistic, span=span)
        lost += losses.sum(dtype=torch.float64)
        slopes = (slopes / len(at))[:, None]
        gradient = weight_decay * before
        for own, other in ((0, i), (1, u)):
            by = slopes * other
            by[:, 0] = slopes[:, 0]
            gradient.index_add_(0, places[own], by)
        step_rows(table, named, gradient, n_coordinates=n_coordinates)
    return float(lost) / max(nnz, 1)


def fm_ratings(
    place: Place, users: Rows, items: Rows, samples: FmSamples, *, threads: int | None = None
) -> tuple[Float, Float]:
    """Mean and variance, over the samples, of what each pair is rated; O(n_samples n_coordinates) a pair."""
    import torch

    if len(users) != len(items):
        raise ValueError("users, items, means and variances differ in length")
    n_samples = len(samples.offsets)
    sides = [
        place.tensor(np.vstack([known, unknown]))  # the last row is nobody's
        for known, unknown in ((samples.users, samples.unknown_user), (samples.items, samples.unknown_item))
    ]
    if not sides[0].shape[1] == sides[1].shape[1] or sides[0].shape[1] % n_samples:
        raise ValueError("rows of users and items differ in length, or hold not as many numbers in every sample")
    out = np.empty((2, len(users)), np.float32)
    step = max(place.chunk_floats // max(sides[0].shape[1], 1), 16)
    for begin in range(0, len(users), step):
        some = slice(begin, begin + step)
        u, i = (
            side[place.tensor(np.where(which[some] < 0, len(side) - 1, which[some]))].view(
                -1, n_samples, side.shape[1] // n_samples
            )
            for side, which in zip(sides, (users, items), strict=True)
        )
        scores = place.tensor(samples.offsets) + (u[:, :, 0] + i[:, :, 0] + (u[:, :, 1:] * i[:, :, 1:]).sum(2)).double()
        out[:, some] = torch.stack(_moments(place, scores, samples)).float().cpu().numpy()
    return out[0], out[1]


def _moments(place: Place, scores: Tensor, samples: FmSamples) -> tuple[Tensor, Tensor]:
    """Mean and variance of the ratings of scores (n, n_samples)."""
    import torch

    first, second = scores, scores.square()
    if samples.levels is not None and samples.cutpoints is not None:
        upto = torch.special.ndtr(place.tensor(samples.cutpoints).double() - scores[:, :, None])
        ends = torch.zeros_like(upto[:, :, :1])
        shares, levels = torch.cat([ends, upto, ends + 1], 2).diff(dim=2), place.tensor(samples.levels)
        first, second = shares @ levels, shares @ levels.square()
    mean = first.mean(1)
    return mean, (second.mean(1) - mean.square()).clamp(min=0)
