"""Coordinate descent on the working sets of many columns of SLIM at once, in PyTorch.

A step minimises the loss over the weight at one place of every set, and changes the gradients of each by a row of its
part of X'X. Every few sweeps the weights that are not zero are solved for at once, signs held, as on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cofactor.kernels.torch.place import Tensor

__all__ = ["Penalty", "Sets"]

_SWEEPS, _PER_SWEEP = 2, 256  # before all weights are solved for: two, and one more for so many weights
_MOST_SOLVED = 2048


class Penalty(NamedTuple):
    """What weights cost, and whether they may be negative."""

    l1: float
    l2: float
    non_negative: bool

    def distance(self, weights: Tensor, gradients: Tensor, curvature: Tensor) -> Tensor:
        """Twice what the step of each coordinate, taken alone, would take off the loss."""
        import torch

        d = gradients - self.l2 * weights
        outward = torch.relu((d if self.non_negative else d.abs()) - self.l1)
        return torch.where(weights == 0, outward, d - self.l1 * weights.sign()).square_().div_(curvature)


class Sets:
    """Weights of some columns, each over a set of as many items; places that are not filled have no square."""

    def __init__(self, parts: Tensor, targets: Tensor, weights: Tensor, penalty: Penalty) -> None:
        self._parts, self._targets, self._weights, self._penalty = parts, targets, weights, penalty
        self._squares = parts.diagonal(dim1=1, dim2=2).contiguous()
        curvature = self._squares + penalty.l2
        self._curvature = curvature.masked_fill_(curvature == 0, 1)
        self._gradients = self._gradients_at(weights)
        self._line_up()

    def descend(self, least: Tensor, left: Tensor) -> Tensor:
        """The weights once no step of a whole sweep is above ``least`` (n,); takes the sweeps of each off ``left``."""
        import torch

        out, at, pause = self._weights.clone(), torch.arange(len(left), device=left.device), 0
        going = torch.ones_like(at, dtype=torch.bool)
        while True:
            left[at] -= going.long()
            going = (self._sweep() > least[at]) & (left[at] > 0)
            n = int(going.sum())
            if 2 * n <= len(at):
                out[at] = self._weights
                if n == 0:
                    return out
                at = at[going]
                self._take(going)
                going = going[going]
            pause -= 1
            if pause < 0:
                support = int((self._weights != 0).sum(1).max())
                pause = _SWEEPS + support // _PER_SWEEP
                if not self._solve_support(support):
                    pause *= 2

    def _take(self, some: Tensor) -> None:
        self._parts, self._targets, self._weights = self._parts[some], self._targets[some], self._weights[some]
        self._squares, self._curvature, self._gradients = (
            part[some] for part in (self._squares, self._curvature, self._gradients)
        )
        self._line_up()

    def _line_up(self) -> None:
        """What the step at each place reads and writes: views, which take as long as a step to make."""
        import torch

        self._steps = torch.empty_like(self._weights)
        arrays = (self._gradients, self._weights, self._squares, 1 / self._curvature, self._steps, self._parts)
        self._places = list(zip(*(x.unbind(1) for x in arrays), strict=True))

    def _gradients_at(self, weights: Tensor) -> Tensor:
        import torch

        return torch.baddbmm(self._targets[:, :, None], self._parts, weights[:, :, None], alpha=-1)[:, :, 0]

    def _sweep(self) -> Tensor:
        """A step for every place, one after the other; the largest distance of each set, (n,)."""
        import torch

        l1, non_negative, gradients = self._penalty.l1, self._penalty.non_negative, self._gradients
        for gradient, weight, square, by, step, row in self._places:
            best = torch.addcmul(gradient, square, weight)
            best = best.sub_(l1).relu_() if non_negative else torch.nn.functional.softshrink(best, l1)
            torch.sub(best.mul_(by), weight, out=step)
            weight.add_(step)
            gradients.addcmul_(row, step[:, None], value=-1)
        return self._steps.square().mul_(self._curvature).amax(1)

    def _solve_support(self, size: int) -> bool:
        """Move the weights that are not zero to where the loss is least, those that change their sign to zero.

        Columns whose loss that does not lower stay; whether any moved.
        """
        import torch

        self._gradients.copy_(self._gradients_at(self._weights))
        if not 0 < size <= _MOST_SOLVED:
            return False
        weights = self._weights
        there, at = (weights != 0).sort(dim=1, descending=True, stable=True)
        there, at = there[:, :size], at[:, :size]
        n = len(at)
        rows = self._parts.gather(1, at[:, :, None].expand(n, size, weights.shape[1]))
        system = rows.gather(2, at[:, None, :].expand(n, size, size))
        system *= there[:, :, None] & there[:, None, :]
        system.diagonal(dim1=1, dim2=2).add_(torch.where(there, self._penalty.l2, 1.0))
        old = weights.gather(1, at)
        slope = self._gradients.gather(1, at) - self._penalty.l2 * old - self._penalty.l1 * old.sign()
        root, info = torch.linalg.cholesky_ex(system)
        moved = old + torch.cholesky_solve((slope * there)[:, :, None], root)[:, :, 0]
        tried = weights.scatter(1, at, moved.masked_fill_(moved * old <= 0, 0))
        gradients = self._gradients_at(tried)
        better = (info == 0) & (self._losses(tried, gradients) < self._losses(weights, self._gradients))
        self._weights[better], self._gradients[better] = tried[better], gradients[better]
        return bool(better.any())

    def _losses(self, weights: Tensor, gradients: Tensor) -> Tensor:
        w, l1 = weights.double(), self._penalty.l1
        return (w * (self._penalty.l2 * w - self._targets - gradients) / 2 + l1 * w.abs()).sum(1)
