r"""Implicit alternating least squares in PyTorch: Gramians, principal axes and sweeps.

An exact sweep goes through the histories in chunks of nearly equal length (inside a power of two), padded with entries
of weight zero to the longest of the chunk, so that everything is a batched product. With the scaled rows Z of a history
(:math:`z_k = \sqrt{w_k} y_k`) and :math:`M = a_0 D + l I`, the exact solver takes the system ``Z'Z + a0 G + l I``, or
for short histories that of their entries (Woodbury), as ``native/als/cholesky.hpp`` does. A history longer than a chunk
is passed over piece by piece. Conjugate gradient is that of ``native/als/cg.hpp``, by products of sparse and dense
matrices over blocks of rows, which gather nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels.blas import limited
from cofactor.kernels.torch.cholesky import solve_systems
from cofactor.kernels.torch.place import sparse_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["als_bytes", "als_sweep", "gramian", "squared_norms", "to_principal_axes", "vectors"]

_ROUNDOFF = 1e-14  # squared relative improvement that float32 cannot see
_TINY = float(np.finfo(np.float32).tiny)


def gramian(place: Place, y: Tensor, *, threads: int | None = None) -> Tensor:
    """``y.T @ y``."""
    y = place.tensor(y)
    if y.shape[1] < 1:
        raise ValueError("y must have at least one factor")
    square = y.T @ y
    return (square + square.T) / 2  # products of BLAS need not be symmetric to the last bit


def squared_norms(place: Place, vectors: Tensor) -> Tensor:
    """Squared length of every row."""
    return place.tensor(vectors).square().sum(1)


def vectors(place: Place, n: int, factors: int, fill: Callable[[Float], object] | None = None) -> Tensor:
    """New vectors: zeros, or what ``fill`` writes into an array of NumPy, the same on every device."""
    import torch

    if fill is None:
        return torch.zeros((n, factors), dtype=torch.float32, device=place.device)
    first = np.zeros((n, factors), np.float32)
    fill(first)
    return place.tensor(first)


def to_principal_axes(place: Place, fixed: Tensor, *others: Tensor, threads: int | None = None) -> Tensor:
    """Rotate all in place so that ``fixed.T @ fixed`` is diagonal; the diagonal matrix, of NaN where that fails."""
    import torch

    square = gramian(place, fixed).double().cpu()
    n = len(square)
    if not square.isfinite().all():
        return torch.full((n,), torch.nan, device=place.device).diag()
    with limited(1):
        values, axes = np.linalg.eigh(square.numpy())  # the host's float64 on every device: their axes agree
    rotation = place.tensor(axes[:, ::-1].astype(np.float32))
    rows = max(place.chunk_floats // n, 1)
    for rotated in (fixed, *others):
        for part in rotated.split(rows):
            part.copy_(part @ rotation)
    return place.tensor(np.maximum(values[::-1], 1e-7 * values[-1]).astype(np.float32)).diag()


def als_bytes(place: Place, n_rows: int, factors: int, *, gather: str = "float32", threads: int | None = None) -> int:
    """Memory that sweeps over sides of at most ``n_rows`` take beside vectors and histories."""
    chunk = max(place.chunk_floats, 4 * factors**2)
    return 4 * 4 * chunk + (2 * n_rows * factors if gather == "bfloat16" else 0)


class _Sweep(NamedTuple):
    """What every chunk needs."""

    place: Place
    rows: HeldRows
    solved: Tensor
    fixed: Tensor
    gramian: Tensor  # a0 G
    diagonal: Tensor  # of G
    axes: Tensor | None  # the diagonal of a0 G, where it is all of it
    unobserved_weight: float
    alpha: float
    penalties: Tensor  # of every row
    cg_steps: int
    cg_tolerance: float


def als_sweep(
    place: Place,
    history: CSR | HeldRows,
    solved: Tensor,
    fixed: Tensor,
    fixed_gramian: Tensor,
    *,
    alpha: float,
    unobserved_weight: float,
    regularization: float,
    regularization_exponent: float,
    solver: str,
    cg_steps: int = 3,
    cg_tolerance: float = 1e-7,
    block_size: int = 32,
    gather: str = "float32",
    threads: int | None = None,
) -> tuple[float, int]:
    """Improve every row of ``solved`` in place with ``fixed`` held; the loss, and a row that failed or -1."""
    import torch

    rows, fixed, g = place.rows(history), place.tensor(fixed), place.tensor(fixed_gramian)
    _check(rows, solved, fixed, g, solver=solver, gather=gather)
    lengths = rows.lengths
    diagonal = g.diagonal()
    along_axes = not torch.count_nonzero(g.masked_fill(torch.eye(len(g), dtype=torch.bool, device=g.device), 0))
    if solver != "cholesky" and not along_axes:
        raise ValueError("solvers cg and subspace want a diagonal gramian: rotate both sides by to_principal_axes")
    if solver == "subspace":
        raise ParameterError("solver='subspace' is not there on this device, cholesky and cg are; device='cpu' has all")
    frequency = lengths.astype(np.float32) + np.float32(unobserved_weight) * np.float32(len(fixed))
    penalties = np.float32(regularization) * frequency ** np.float32(regularization_exponent)
    sweep = _Sweep(
        place=place,
        rows=rows,
        solved=solved,
        fixed=fixed.bfloat16().float() if gather == "bfloat16" and solver == "cg" else fixed,
        gramian=unobserved_weight * g,
        diagonal=diagonal,
        axes=unobserved_weight * diagonal if along_axes else None,
        unobserved_weight=unobserved_weight,
        alpha=alpha,
        penalties=place.tensor(penalties.astype(np.float32)),
        cg_steps=cg_steps,
        cg_tolerance=cg_tolerance,
    )
    solved[place.tensor(lengths == 0)] = 0
    losses = [torch.zeros((), dtype=torch.float64, device=place.device)]
    failed = torch.full((), -1, dtype=torch.int64, device=place.device)
    for loss, bad, numbers in (_exactly if solver == "cholesky" else _by_steps)(sweep):
        losses.append(loss)
        failed = torch.where(bad.any(), numbers[bad.to(torch.int8).argmax()], failed)
    row = int(failed)
    return (float("nan") if row >= 0 else float(torch.stack(losses).sum())), row


def _check(rows: HeldRows, solved: Tensor, fixed: Tensor, g: Tensor, *, solver: str, gather: str) -> None:
    n, factors = fixed.shape
    if solver not in ("cholesky", "cg", "subspace"):
        raise ValueError("solver must be cholesky, cg or subspace")
    if gather not in ("float32", "bfloat16"):
        raise ValueError("gather must be float32 or bfloat16")
    if len(solved) != rows.shape[0]:
        raise ValueError("solved must have one row per history")
    if solved.shape[1] != factors or factors < 1:
        raise ValueError("solved and fixed must have the same number of factors")
    if tuple(g.shape) != (factors, factors):
        raise ValueError("gramian must be factors x factors")
    if rows.shape[1] > n:
        raise ValueError("columns must be ascending and in range")


class _Chunk:
    """Some rows of about the same length, and the vectors of their histories, piece by piece."""

    def __init__(self, sweep: _Sweep, rows: Tensor, length: int) -> None:
        self.rows, self.length, self.sweep = rows, length, sweep
        self.piece = max(sweep.place.chunk_floats // (len(rows) * sweep.fixed.shape[1]), 1)
        self.begin = sweep.rows.indptr[rows]
        self.end = sweep.rows.indptr[rows + 1]
        self.penalty = sweep.penalties[rows][:, None]

    def pieces(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Vectors (n_rows, n, factors) float32 and weights (n_rows, n), zero where a history has ended."""
        for first in range(0, self.length, self.piece):
            yield self._gathered(first, min(self.length, first + self.piece))

    def _gathered(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        import torch

        held, n = self.sweep.rows, len(self.rows)
        at = self.begin[:, None] + torch.arange(first, last, device=self.begin.device)
        inside = at < self.end[:, None]
        at = torch.minimum(at, self.end[:, None] - 1).view(-1)
        room = self.sweep.place.room("gathered", (len(at), self.sweep.fixed.shape[1]))
        fixed = torch.index_select(self.sweep.fixed, 0, held.indices.index_select(0, at), out=room)
        weights = held.values.index_select(0, at).view(n, -1) * inside * self.sweep.alpha
        return fixed.view(n, last - first, -1), weights


def _chunks(sweep: _Sweep, lengths: np.ndarray, square: int) -> Iterator[_Chunk]:
    """All rows that are not empty, the shortest first; ``square``: what each factor of a row needs besides."""
    factors, most = sweep.fixed.shape[1], sweep.place.chunk_floats
    order = np.argsort(lengths, kind="stable")
    at = int(np.searchsorted(lengths[order], 1))
    while at < len(order):
        bound = 1 << int(lengths[order[at]] - 1).bit_length()  # of this power of two
        n = max(most // ((bound + square) * factors), 1)
        end = min(at + n, int(np.searchsorted(lengths, bound, side="right", sorter=order)))
        yield _Chunk(sweep, sweep.place.tensor(order[at:end]), int(lengths[order[end - 1]]))
        at = end


def _exactly(sweep: _Sweep) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Solve the rows chunk by chunk; their loss, and which of them have no unique solution."""
    for chunk in _chunks(sweep, sweep.rows.lengths, 2 * sweep.fixed.shape[1]):
        yield *_solved(sweep, chunk), chunk.rows


def _solved(sweep: _Sweep, chunk: _Chunk) -> tuple[Tensor, Tensor]:
    import torch

    factors = sweep.fixed.shape[1]
    few = sweep.axes is not None and sweep.unobserved_weight > 0 and chunk.length <= factors * 3 // 4
    if few and chunk.length <= chunk.piece:
        return _few(sweep, chunk)
    system = sweep.place.room("systems", (len(chunk.rows), factors, factors)).copy_(sweep.gramian)
    side: Tensor = 0
    weight: Tensor = 0
    for fixed, weights in chunk.pieces():
        scale = weights.sqrt()
        z = fixed.mul_(scale[:, :, None])
        system.baddbmm_(z.mT, z)
        side = side + torch.bmm(scale[:, None, :], z)[:, 0]
        weight = weight + weights.sum(dtype=torch.float64)
    system.diagonal(dim1=1, dim2=2).add_(chunk.penalty)
    x, failed = solve_systems(system, side[:, :, None])
    x = x[:, :, 0]
    sweep.solved[chunk.rows] = x
    loss = weight - (side.double() * x).sum()  # at the minimum
    return loss, failed | ~x.isfinite().all(1)


def _few(sweep: _Sweep, chunk: _Chunk) -> tuple[Tensor, Tensor]:
    """The same by the systems of the entries: (I + T T') a = s and x = M^-1/2 T' a with T = Z M^-1/2."""
    import torch

    m = sweep.axes + chunk.penalty
    root = m.rsqrt()[:, None, :]
    ((fixed, weights),) = chunk.pieces()
    scale = weights.sqrt()[:, :, None]
    t = fixed.mul_(scale).mul_(root)
    system = torch.bmm(t, t.mT, out=sweep.place.room("systems", (len(t), chunk.length, chunk.length)))
    system.diagonal(dim1=1, dim2=2).add_(1)
    a, failed = solve_systems(system, scale)
    x = torch.bmm(a.mT, t)[:, 0] * root[:, 0]
    sweep.solved[chunk.rows] = x
    loss = (scale.double() * a).sum()
    return loss, failed | ~((m > 0) & m.isfinite()).all(1) | ~x.isfinite().all(1)


def _by_steps(sweep: _Sweep) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
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


def _improved(sweep: _Sweep, begin: int, end: int) -> tuple[Tensor, Tensor]:
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
