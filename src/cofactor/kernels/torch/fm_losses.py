"""Losses that machines descend on by batches, and checks of what they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cofactor.kernels.arguments import Table
    from cofactor.kernels.torch.place import HeldRows, Tensor

__all__ = ["check_epoch", "losses_of"]


def losses_of(scores: Tensor, targets: Tensor, *, logistic: bool, span: float) -> tuple[Tensor, Tensor]:
    """Losses, and their derivatives by the scores."""
    import torch

    if span > 0:
        shares = torch.sigmoid(scores.double())
        error = span * shares - targets
        return error.square(), (2 * span * error * shares * (1 - shares)).float()
    if not logistic:
        error = scores - targets
        return error.double().square(), 2 * error
    away = torch.where(targets > 0.5, -scores, scores)
    return torch.nn.functional.softplus(away.double()), torch.sigmoid(scores) - targets


def check_epoch(
    targets: HeldRows, rows: Table, batch_size: int, n_coordinates: int, *, logistic: bool, span: float
) -> None:
    """Raise unless what an epoch is given can be used."""
    width = rows.values.shape[1]
    if not 1 <= n_coordinates <= width:
        raise ValueError("n_coordinates must be in [1, width]")
    if width % 16:
        raise ValueError("rows must be padded")
    if batch_size < 1:
        raise ValueError("batch_size must be at least 1")
    if not span >= 0 or (logistic and span > 0):
        raise ValueError("span must be at least 0, and 0 with logistic")
    if logistic and not np.isin(targets.csr.values, (0, 1)).all():
        raise ValueError("targets must be 0 or 1")
    if span > 0 and not ((targets.csr.values >= 0) & (targets.csr.values <= np.float32(span))).all():
        raise ValueError("targets must be in [0, span]")
