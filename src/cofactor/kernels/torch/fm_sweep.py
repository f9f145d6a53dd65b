"""Sweeps over the coordinates of one side of a factorization machine in PyTorch; ``kernels/cpu/fm.py`` explains them.

The ids of all rows are stepped side by side. Of the ratings of a row its coordinates need no more than the products of
all derivatives, ``H'H``, and those with the residuals, ``H'e``: a step of one coordinate then changes the latter by a
row of the former, and not every residual as on the CPU. Draws are the CPU's, made on the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.kernels.torch.draws import normals
from cofactor.kernels.torch.fm_features import change_features
from cofactor.kernels.torch.fm_sides import Swept, row_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.kernels.arguments import FmSide
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.torch.place import HeldRows, Place, Tensor

__all__ = ["fm_sweep"]


def fm_sweep(  # noqa: PLR0917 the kernel's arguments
    place: Place,
    targets: CSR | HeldRows,
    own: FmSide,
    other: Float | Tensor,
    means: Float,
    precisions: Float,
    *,
    offset: float = 0.0,
    noise_precision: float = 1.0,
    weights: Float | None = None,
    other_weights: Float | None = None,
    seed: int = 0,
    sampled: bool = True,
    passes: int = 1,
    threads: int | None = None,
) -> tuple[Float, NDArray[np.float64]]:
    """One coordinate after the other of one side, all else held; changes ``own`` in place."""
    import torch

    priors, both = (means, precisions), (weights, other_weights)
    swept = Swept.checked(place, targets, own, other, priors=priors, weights=both)
    swept = swept._replace(offset=offset, noise_precision=noise_precision, seed=seed, sampled=sampled)
    if passes < 1:
        raise ValueError("passes must be at least 1")
    _add_up(swept)
    residuals = torch.empty(len(swept.targets.indices), device=place.device)
    others = _Others.of(swept)
    for chunk in _chunks(swept):
        _step(swept, chunk, passes, residuals, others)
    columns = swept.own.columns
    if columns is not None and columns.shape[0]:
        change_features(swept, columns, residuals)
    return residuals.cpu().numpy(), _row_sums(swept, residuals)


def _add_up(swept: Swept) -> None:
    """The totals of all rows, from their parameters."""
    own, c = swept.own, swept.n_coordinates
    own.totals.copy_(own.ids)
    if not len(own.features.indices):
        return
    square = own.parts[:, 1:c].square().sum(1, keepdim=True)
    features = own.features.tensor()
    own.totals.add_(features @ own.parts)
    squares = own.ids[:, 1:c].double().square().sum(1)
    values = features.values()
    weighed = own.features._replace(values=values.square())
    squares += (weighed.tensor() @ square)[:, 0]
    own.totals[:, 0] += (own.totals[:, 1:c].double().square().sum(1) - squares).mul_(0.5).float()


def _chunks(swept: Swept) -> Iterator[tuple[Tensor, int]]:
    """Rows of about the same number of ratings, the fewest first, and the largest number."""
    lengths, c = swept.targets.lengths, swept.n_coordinates
    order = np.argsort(lengths, kind="stable")
    at = 0
    while at < len(order):
        bound = 1 << max(int(lengths[order[at]]) - 1, 0).bit_length()  # of this power of two
        n = max(swept.place.chunk_floats // ((bound + 2 * c) * c), 1)
        end = min(at + n, int(np.searchsorted(lengths, bound, side="right", sorter=order)))
        yield swept.place.tensor(order[at:end]), int(lengths[order[end - 1]])
        at = end


class _Others(NamedTuple):
    """What a rating's other row says, times the root of its weight; the last one is nobody's, of weight 0."""

    derivatives: Tensor  # (n_other + 1, n_coordinates): 1, and the vector
    biases: Tensor
    roots: Tensor

    @classmethod
    def of(cls, swept: Swept) -> Self:
        import torch

        n, c = len(swept.other), swept.n_coordinates
        derivatives = torch.zeros((n + 1, c), device=swept.other.device)
        roots, biases = torch.zeros_like(derivatives[:, 0]), torch.zeros_like(derivatives[:, 0])
        roots[:n] = 1 if swept.other_weights is None else swept.other_weights.sqrt()
        torch.mul(swept.other[:, :c], roots[:n, None], out=derivatives[:n])
        biases[:n] = derivatives[:n, 0]
        derivatives[:, 0] = roots
        return cls(derivatives, biases, roots)


class _Piece(NamedTuple):
    """Some ratings of each row of a chunk, n of them; all that is theirs is times the roots of their weights."""

    at: Tensor  # which entries those inside are
    inside: Tensor  # (rows, n)
    roots: Tensor  # 0 past a row's end
    derivatives: Tensor  # (rows, n, n_coordinates)
    residuals: Tensor


def _pieces(swept: Swept, rows: Tensor, length: int, others: Tensor, by: _Others) -> Iterator[_Piece]:
    import torch

    held, c, n = swept.targets, swept.n_coordinates, len(rows)
    totals = swept.own.totals[rows, :c]
    base, totals[:, 0] = totals[:, :1] + swept.offset, 0
    begin, end = held.indptr[rows][:, None], held.indptr[rows + 1][:, None]
    step = max(swept.place.chunk_floats // (n * c), 1)
    for first in range(0, length, step):
        at = begin + torch.arange(first, min(length, first + step), device=rows.device)
        inside = at < end
        at = torch.minimum(at, end - 1).clamp_(min=0)
        items = torch.where(inside, held.indices[at], len(swept.other)).view(-1)
        roots = by.roots.index_select(0, items).view(n, -1)
        room = swept.place.room("gathered", (len(items), c))
        h = torch.index_select(by.derivatives, 0, items, out=room).view(n, -1, c)
        residuals = (held.values[at] - base).mul_(roots).sub_(by.biases.index_select(0, items).view(n, -1))
        residuals -= torch.bmm(h, totals[:, :, None])[:, :, 0]
        if len(swept.own.features.indices):
            h[:, :, 1:].addcmul_(roots[:, :, None], others[:, None])
        yield _Piece(at[inside], inside, roots, h, residuals)


def _step(swept: Swept, chunk: tuple[Tensor, int], passes: int, residuals: Tensor, by: _Others) -> None:
    """All coordinates of the ids of some rows, and what their ratings then leave."""
    import torch

    (rows, length), own, c = chunk, swept.own, swept.n_coordinates
    others = own.totals[rows, 1:c] - own.ids[rows, 1:c]
    products = swept.place.room("products", (len(rows), c, c)).zero_()
    sides = torch.zeros((len(rows), c), device=rows.device)
    kept: list[_Piece] = []
    n_pieces = 0
    for piece in _pieces(swept, rows, length, others, by):
        kept, n_pieces = [piece], n_pieces + 1
        h = piece.derivatives
        products.baddbmm_(h.mT, h)
        sides += torch.bmm(piece.residuals[:, None], h)[:, 0]
    before = own.ids[rows, :c]
    change = _changed(swept, rows, products, sides, passes) - before
    for piece in kept if n_pieces == 1 else _pieces(swept, rows, length, others, by):
        left = torch.baddbmm(piece.residuals[:, :, None], piece.derivatives, change[:, :, None], alpha=-1)[:, :, 0]
        residuals[piece.at] = left[piece.inside] / piece.roots[piece.inside]
    own.ids[rows, :c] = before + change
    change[:, 0] += (change[:, 1:] * others).sum(1)
    own.totals[rows, :c] += change


def _changed(swept: Swept, rows: Tensor, products: Tensor, sides: Tensor, passes: int) -> Tensor:
    """The coordinates of some rows after all steps; ``sides`` is used up."""
    import torch

    c, priors = swept.n_coordinates, swept.precisions[0]
    noise = torch.full((len(rows), 1), swept.noise_precision, device=rows.device)
    if swept.weights is not None:
        noise *= swept.weights[rows][:, None]
    precision = noise * products.diagonal(dim1=1, dim2=2) + priors
    known = precision > 0  # else nothing is known: it stays
    by_ratings, by_prior = (torch.where(known, part / precision, 0.0) for part in (noise, priors))
    drawn = torch.zeros_like(precision)
    if swept.sampled:
        drawn = torch.where(known, _normals_of(swept, rows) * precision.rsqrt(), 0.0)
    now = swept.own.ids[rows, :c]
    changes = torch.empty((c, len(rows)), device=rows.device)
    for _ in range(passes):
        toward = drawn + by_prior * (swept.means[0] - now)
        parts = toward.unbind(1), by_ratings.expand_as(toward).unbind(1), sides.unbind(1), products.unbind(1)
        for change, *from_prior, side, row in zip(changes, *parts, strict=True):
            torch.addcmul(from_prior[0], from_prior[1], side, out=change)
            sides.addcmul_(row, change[:, None], value=-1)
        now = now + changes.T
    return now


def _normals_of(swept: Swept, rows: Tensor) -> Tensor:
    """A number for every coordinate of the ids of some rows."""
    places = rows.cpu().numpy()[:, None] * swept.n_coordinates + np.arange(swept.n_coordinates)
    return swept.place.tensor(normals(swept.seed, places)).float()


def _row_sums(swept: Swept, residuals: Tensor) -> NDArray[np.float64]:
    """Of each row the sum of its residuals, and of their squares, times the weights of the other rows."""
    import torch

    out = torch.zeros((swept.targets.shape[0], 2), dtype=torch.float64, device=residuals.device)
    for some, entries in row_ranges(swept):
        e, indptr = residuals[entries].double(), swept.targets.indptr[some.start : some.stop + 1] - entries.start
        weights = swept.weights_of(entries)
        for column, values in enumerate((e, e.square())):
            sums = torch.zeros(len(e) + 1, dtype=torch.float64, device=e.device)
            torch.cumsum(values if weights is None else values * weights, 0, out=sums[1:])
            out[some, column] = sums[indptr].diff()
    sums_of_rows: NDArray[np.float64] = out.cpu().numpy()
    return sums_of_rows
