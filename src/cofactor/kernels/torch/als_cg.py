"""The conjugate gradient of ALS, by products of sparse and dense matrices over blocks of rows, which gather nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.torch.place import sparse_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cofactor.kernels.torch.als_chunks import Sweep
    from cofactor.kernels.torch.place import Tensor

__all__ = ["by_steps"]

_ROUNDOFF = 1e-14  # squared relative improvement that float32 cannot see
_TINY = float(np.finfo(np.float32).tiny)


def by_steps(sweep: Sweep) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Improve blocks of rows by conjugate gradient; their loss, and which of their rows are not positive definite."""
    import torch

    factors = sweep.fixed.shape[1]
    indptr = sweep.rows.csr.indptr
    costs = indptr + 8 * factors * np.arange(len(indptr))  # floats, up to every row
    begin, n = 0, len(indptr) - 1
    while begin < n:
        within = int(np.searchsorted(costs, costs[begin] + sweep.place.chunk_floats, side="right")) - 1
        end = min(max(within, begin + 1), n)
        loss, bad = _improved(sweep, begin, end)
        yield loss, bad, torch.arange(begin, end, device=sweep.place.device)
        begin = end


def _improved(sweep: Sweep, begin: int, end: int) -> tuple[Tensor, Tensor]:
    import torch

    assert sweep.axes is not None
    entries, double = slice(*(int(sweep.rows.csr.indptr[at]) for at in (begin, end))), torch.float64
    weights, indices = sweep.rows.values[entries] * sweep.alpha, sweep.rows.indices[entries]
    offsets = (sweep.rows.indptr[begin : end + 1] - entries.start).int()
    lengths = offsets.diff().long()
    matrix = sparse_tensor(offsets, indices, weights.clone(), len(sweep.fixed))
    columns = sweep.fixed.T

    def scores(p: Tensor) -> Tensor:
        """Every entry's score, in the place of the matrix's values."""
        return torch.sparse.sampled_addmm(matrix, p, columns, beta=0.0, out=matrix).values()

    def by_row(values: Tensor) -> Tensor:
        return torch.segment_reduce(values.double(), "sum", lengths=lengths, initial=0)

    x, penalty = sweep.solved[begin:end], sweep.penalties[begin:end, None]
    plain, gap, weight = sweep.axes + penalty, 1 - scores(x), by_row(weights)
    density = max(sweep.unobserved_weight, 0.0) + (weight / len(sweep.fixed)).float()[:, None]
    preconditioner = (density * sweep.diagonal + penalty).masked_fill_((lengths == 0)[:, None], 1)
    loss = by_row(weights * gap * gap) + (x * plain * x).sum(1, dtype=double)
    matrix.values().copy_(weights * gap)
    r = matrix @ sweep.fixed - plain * x
    p = r / preconditioner
    rz = (r * p).sum(1)
    done, bad, gained = ~(rz > _TINY), rz.isnan(), torch.zeros_like(loss)
    for step in range(sweep.cg_steps):
        if step > 3 and bool((done | bad).all()):
            break
        scores(p).mul_(weights)
        q = torch.addmm(plain * p, matrix, sweep.fixed)
        curvature = (p * q).sum(1)
        bad |= ~done & ~(curvature > 0)
        length = torch.where(done | bad, 0, rz / curvature)
        x.addcmul_(length[:, None], p)
        r.addcmul_(length[:, None], q, value=-1)
        z = r / preconditioner
        after = (r * z).sum(1)
        p = z.addcmul_((after / rz).nan_to_num()[:, None], p)
        gain = length.double() * rz
        loss, gained = loss - gain, gained + gain
        explained = torch.maximum(weight - loss, gained)
        done |= ~(after > _TINY) | (gain <= max(sweep.cg_tolerance**2, _ROUNDOFF) * explained)
        rz = after
    return loss.sum(), bad
