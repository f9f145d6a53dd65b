"""Walks of three steps over users and items, popular items marked down (Paudel et al. 2017).

From an item h of the history the walk goes to one of its users, and from there to one of that user's items i, each with
probability proportional to weight. Scores are ``sum_h weight(user, h) W[h, i]`` with

    W[h, i] = sum_u p(h -> u)^alpha p(u -> i)^alpha / n_i^beta,

n_i being the users of item i (their equations 2 and 5; like Dacrema et al. 2021, histories are not normalised, which
changes no ranking, and only the nearest items are kept, whose weights may be made to add up to one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_flag
from cofactor.kernels.arguments import Similarity
from cofactor.models.base.fitting import in_one_step
from cofactor.models.base.item_weights import ItemWeightModel, most_similar_items
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from cofactor.data.interactions import Interactions
    from cofactor.kernels.arrays import Float, Rows, TopK
    from cofactor.kernels.csr import CSR

__all__ = ["RP3beta"]

_LEAST = 1e-30  # sum of weights of a user or an item that has none


class RP3beta(ItemWeightModel):
    """Rank items by the chance of a random walk from the history to them, less for popular ones.

    Only items that a walk reaches come back: lists may be shorter than k. A walk does not end where it began.

    Similar items are those where a walk from the item most likely ends, W[h, i] of all items whatever ``neighbours``
    are kept for scores, before ``normalize``.

    Parameters
    ----------
    alpha : float
        Power of the probabilities of a step.
    beta : float
        Power of the number of users that an item has, by which its chance is divided; 0 is P3alpha.
    neighbours : int
        How many are kept of every item; all that are reached where it has fewer.
    neighbours_of : {"scored", "history"}
        Keep the neighbours of every item that may be scored, or of every item of a history.
    normalize : bool
        Divide the weights of every item of a history by their sum, so that all have as much to say; else those that
        have many near items among the ones scored say more.
    threads : int, optional
    device : {"cpu", "torch", "cuda"}

    Attributes
    ----------
    item_weights_ : CSR (n_items, n_items)
        Row: item of the history, column: scored item.
    """

    item_weights_: CSR

    def __init__(
        self,
        alpha: float = 0.7,
        beta: float = 0.3,
        neighbours: int = 100,
        *,
        neighbours_of: Literal["scored", "history"] = "scored",
        normalize: bool = False,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.neighbours = neighbours
        self.neighbours_of = neighbours_of
        self.normalize = normalize
        self.threads = threads
        self.device = device

    @in_one_step
    def fit(self, interactions: Interactions, *, progress: bool | None = None) -> Self:
        """Find every item's neighbours; ``progress`` changes nothing. Cost and errors are those of ``ItemKNN.fit``."""
        self._check()
        n = interactions.n_items
        require_memory(
            (32 if self.normalize else 24) * n * min(self.neighbours, n),
            f"RP3beta with {self.neighbours} neighbours of {n:,} items",
            "fewer neighbours, or filter rare items",
        )  # fmt: skip
        walk = self._walk(interactions.item_users)
        of_scored = self.neighbours_of == "scored"
        scales = (walk.arriving, walk.leaving) if of_scored else (walk.leaving, walk.arriving)
        near = self._kernels().neighbours(
            walk.powers, self.neighbours, Similarity(*scales),
            weights=walk.passing, binary=walk.binary, threads=self.threads,
        )  # fmt: skip
        weights = near.transposed() if of_scored else near
        self.item_weights_ = _normalized(weights) if self.normalize else weights
        return self

    def _check(self) -> None:
        check_at_least("alpha", self.alpha, 0)
        check_at_least("beta", self.beta, 0)
        check_at_least("neighbours", self.neighbours, 1, whole=True)
        check_choice("neighbours_of", self.neighbours_of, ("scored", "history"))
        check_flag("normalize", self.normalize)
        resolve_threads(self.threads)

    def _walk(self, x: CSR) -> _Walk:
        binary = bool((x.values == 1).all())
        of_user = np.bincount(x.indices, x.values, minlength=x.n_columns)
        return _Walk(
            x.with_values(x.values if binary else x.values**self.alpha),
            binary,
            (np.maximum(x.row_sums(), _LEAST) ** self.alpha).astype(np.float32),
            (np.maximum(of_user, _LEAST) ** -float(self.alpha)).astype(np.float32),
            (np.maximum(np.diff(x.indptr), 1) ** float(self.beta)).astype(np.float32),
        )

    def _similar_items(self, items: Rows, k: int) -> TopK:
        walk = self._walk(self.interactions_.item_users)
        asked = walk.powers.take(items).scaled(columns=walk.passing)
        chance = Similarity(walk.leaving[items], walk.arriving)
        return most_similar_items(self._kernels(), items, asked, walk.powers, chance, k=k, threads=self.threads)


class _Walk(NamedTuple):
    """The parts of W: powers of weights, items in rows, and what they are divided by or, at users, multiplied by."""

    powers: CSR
    binary: bool
    leaving: Float
    passing: Float
    arriving: Float


def _normalized(weights: CSR) -> CSR:
    """Rows divided by their sums."""
    sums = weights.row_sums().astype(np.float32)[weights.row_index()]
    return weights.with_values(weights.values / sums)
