"""The coordinates of features that rows of a factorization machine share, in PyTorch.

As in ``native/fm/feature_step.hpp`` a change of a feature touches five numbers of each of its rows. Features come in
the order of the CPU, but those that have no row in common with one another take their steps together: a column of
categories is one step, whatever the number of them, and a set of items as many as an item of it has others before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.kernels.torch.draws import normals
from cofactor.kernels.torch.fm_sides import row_ranges
from cofactor.kernels.torch.place import sparse_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.fm_sides import Swept
    from cofactor.kernels.torch.place import HeldRows, Tensor

__all__ = ["change_features"]

# Numbers of a row: ratings, sums of residuals and of those times q; of q and of its square; its coordinate; and the
# changes of its bias and its coordinate that are not yet in its residuals.
_N, _E, _EQ, _Q, _QQ, _TOTAL, _BIAS_CHANGE, _CHANGE = range(8)


class _Together(NamedTuple):
    """Features without a row in common, and their entries."""

    features: Tensor
    owner: Tensor  # of each entry, its place among the features
    rows: Tensor
    values: Tensor


def change_features(swept: Swept, columns: HeldRows, residuals: Tensor) -> None:
    """One coordinate after the other of all features; changes parts, totals and ``residuals`` in place."""
    import torch

    own, c = swept.own, swept.n_coordinates
    together = _scheduled(columns)
    draws = torch.zeros((len(own.parts), c), dtype=torch.float64, device=residuals.device)
    if swept.sampled:  # not the numbers of the ids
        draws = swept.place.tensor(normals(~swept.seed, np.arange(draws.numel())).reshape(-1, c))
    constant = _of_the_other_side(swept)
    state = torch.zeros((len(own.totals), 8), device=residuals.device)
    for at in range(c + 1):
        sums = _written(swept, residuals, state, at)
        own.totals[:, 0] += state[:, _BIAS_CHANGE]
        if at > 1:
            own.totals[:, at - 1] += state[:, _CHANGE]
        if at == c:
            return
        state[:, [_E, _EQ]], state[:, _N] = sums, constant[:, 0]
        state[:, _Q], state[:, _QQ] = constant[:, 1 + at], constant[:, 1 + c + at]
        if swept.weights is not None:
            state[:, :_TOTAL] *= swept.weights[:, None]
        state[:, _TOTAL] = own.totals[:, at]
        state[:, _BIAS_CHANGE:] = 0
        for some in together:
            (_change_coordinates if at else _change_weights)(swept, some, state, draws, at)


def _scheduled(columns: HeldRows) -> list[_Together]:
    """Features by the step that each takes part in, the first one after those of all before it that it meets."""
    import torch

    order, ends = _steps(columns.csr)
    together = []
    for first, last in zip([0, *ends], ends, strict=False):
        features = torch.from_numpy(order[first:last]).to(columns.indices.device)
        at, owner = columns.entries_of(features)
        together.append(_Together(features, owner, columns.indices[at].long(), columns.values[at]))
    return together


def _steps(columns: CSR) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Features, step after step, and where each step ends."""
    step, after = np.zeros(columns.n_rows, np.int64), np.zeros(columns.n_columns, np.int64)
    for feature, (begin, end) in enumerate(zip(columns.indptr[:-1].tolist(), columns.indptr[1:].tolist(), strict=True)):
        if begin < end:
            rows = columns.indices[begin:end]
            step[feature] = now = after[rows].max()
            after[rows] = now + 1
    return np.argsort(step, kind="stable"), np.cumsum(np.bincount(step))


def _of_the_other_side(swept: Swept) -> Tensor:
    """Of each row the sums over its ratings of 1, all q and all q^2, (n, 1 + 2 n_coordinates)."""
    import torch

    parts = []
    other = swept.other[:, : swept.n_coordinates]
    q = torch.cat([torch.ones_like(other[:, :1]), other, other.square()], 1)
    for some, entries in row_ranges(swept):
        weights = swept.weights_of(entries)
        if weights is None:
            weights = torch.ones(entries.stop - entries.start, device=q.device)
        parts.append(_matrix(swept, some, entries, weights) @ q)
    return torch.cat(parts)


def _matrix(swept: Swept, some: slice, entries: slice, values: Tensor) -> Tensor:
    """Some rows of the targets with other values."""
    indptr = (swept.targets.indptr[some.start : some.stop + 1] - entries.start).int()
    return sparse_tensor(indptr, swept.targets.indices[entries], values, len(swept.other))


def _written(swept: Swept, residuals: Tensor, state: Tensor, at: int) -> Tensor:
    """Write what has changed into the residuals; their sums of each row, and those times q of coordinate ``at``."""
    import torch

    c, sums = swept.n_coordinates, []
    before = swept.other[:, max(at - 1, 0)].contiguous()
    changes = state[:, _BIAS_CHANGE:].T.contiguous()
    now = torch.stack([torch.ones_like(before), swept.other[:, min(at, c - 1)]], 1)
    for some, entries in row_ranges(swept):
        left, items = residuals[entries], swept.targets.indices[entries]
        row = torch.repeat_interleave(swept.targets.indptr[some.start : some.stop + 1].diff())
        bias, by = (part[some].index_select(0, row) for part in changes)
        left -= bias
        if at > 1:
            left.addcmul_(by, before.index_select(0, items), value=-1)
        weights = swept.weights_of(entries)
        sums.append(_matrix(swept, some, entries, left if weights is None else left * weights) @ now)
    return torch.cat(sums)


def _summed(some: _Together, values: Tensor) -> Tensor:
    """Sums over the entries of each feature, (n_features, columns)."""
    import torch

    out = torch.zeros((len(some.features), values.shape[1]), dtype=torch.float64, device=values.device)
    return out.index_add_(0, some.owner, values.double())


def _drawn(swept: Swept, some: _Together, draws: Tensor, at: int, sums: Tensor) -> Tensor:
    """Draw a coordinate of some features, and say by how much each changes; sums are those of h h and h e."""
    import torch

    own, a, groups = swept.own, swept.noise_precision, swept.own.groups[some.features]
    value = own.parts[some.features, at]
    (hh, he), v = sums.unbind(1), value.double()
    means, precisions = (prior[groups, at].double() for prior in (swept.means, swept.precisions))
    precision = a * hh + precisions
    mean = (a * (he + v * hh) + means * precisions) / precision
    drawn = mean + draws[some.features, at] * precision.rsqrt() if swept.sampled else mean
    now = torch.where(precision > 0, drawn, v).float()  # else nothing is known: it stays
    own.parts[some.features, at] = now
    return now - value


def _change_weights(swept: Swept, some: _Together, state: Tensor, draws: Tensor, at: int) -> None:
    import torch

    rows, x = state[some.rows], some.values
    sums = _summed(some, torch.stack([x * x * rows[:, _N], x * rows[:, _E]], 1))
    change = _drawn(swept, some, draws, at, sums)
    by = change[some.owner] * x
    rows[:, _BIAS_CHANGE] += by
    rows[:, _E] -= by * rows[:, _N]
    state[some.rows] = rows


def _change_coordinates(swept: Swept, some: _Together, state: Tensor, draws: Tensor, at: int) -> None:
    import torch

    rows, x = state[some.rows], some.values
    n, e, eq, q, qq, total, bias_change, _ = rows.unbind(1)
    s = total - x * swept.own.parts[some.features, at][some.owner]
    own = s * n + q  # sums of the derivatives, less x
    sums = _summed(some, torch.stack([x * x * (s * (own + q) + qq), x * (s * e + eq)], 1))
    change = _drawn(swept, some, draws, at, sums)
    by = change[some.owner] * x
    e -= by * own
    eq -= by * (s * q + qq)
    bias_change += by * s
    rows[:, _TOTAL] += by
    rows[:, _CHANGE] += by
    state[some.rows] = rows
