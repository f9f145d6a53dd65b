"""Losses of pairs against negatives that a batch shares, and their derivatives; ``kernels/cpu`` has the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cofactor.kernels.torch.place import Tensor

__all__ = ["SharedLoss"]


class SharedLoss(NamedTuple):
    """A loss and its parameters."""

    name: str
    temperature: float
    positive_temperature: float
    margin: float
    negative_weight: float
    quantile_temperature: float

    def of(
        self, positive: Tensor, scores: Tensor, counts: Tensor, log_q: Tensor | None, quantiles: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (n,) of scores (n,) and (n, n_negatives), float64, and the derivatives by both, float32."""
        if self.name == "ccl":
            return self._cosine_contrastive(positive, scores, counts)
        return self._softmax(positive, scores, counts, log_q, quantiles)

    def _cosine_contrastive(self, positive: Tensor, scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        import torch

        total = counts.sum(1, dtype=torch.float64)
        share = torch.where(total > 0, self.negative_weight / total, 0.0)
        over = (scores - self.margin).clamp_(min=0)
        losses = (1 - positive.double()).clamp(min=0) + share * (counts * over).sum(1, dtype=torch.float64)
        by_positive = torch.where(positive < 1, -1.0, 0.0)
        return losses, by_positive, share.float()[:, None] * counts * (over > 0)

    def _softmax(
        self, positive: Tensor, scores: Tensor, counts: Tensor, log_q: Tensor | None, quantiles: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        import torch

        z = scores / self.temperature
        if log_q is not None:
            z -= log_q
        z.masked_fill_(counts <= 0, -torch.inf)
        own = positive / self.temperature
        most = z.amax(1)
        if self.name != "bsl":
            most = torch.maximum(most, own)
        some = most > -torch.inf
        most = torch.where(most == -torch.inf, 0, most)
        e = (z - most[:, None]).exp_().mul_(counts)
        total, first = e.sum(1, dtype=torch.float64), (own - most).double()
        if self.name == "bsl":
            total = torch.where(total > 0, total, total.isnan() * total + 1)
            losses = torch.where(some, most + total.log() - positive.double() / self.positive_temperature, 0.0)
            by_positive = torch.where(some, -1 / self.positive_temperature, 0.0)
            losses = losses + 0 * positive.double()  # what is no number stays none
            return losses, by_positive, e / (total.float() * self.temperature)[:, None]
        losses = torch.where(first == 0, total.log1p(), (total + first.exp()).log() - first)
        by_scores = e / ((total + first.exp()).float() * self.temperature)[:, None]
        by_positive = -by_scores.sum(1)
        if quantiles is None:
            return losses, by_positive, by_scores
        weight = torch.sigmoid((positive - quantiles) / self.quantile_temperature)
        slope = weight * (1 - weight) / self.quantile_temperature
        return weight * losses, weight * by_positive + slope * losses.float(), weight[:, None] * by_scores
