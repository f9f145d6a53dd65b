"""Blend: several models vote on one list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice
from cofactor.errors import ParameterError
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.models.combined.combination import Combination, check_weights_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Rows, TopK
    from cofactor.models.base.recommender import Recommender


__all__ = ["Blend"]

_FIRST_RANKS = 60  # damps the difference between the first ranks (Cormack et al.)


class Blend(Combination):
    """One list out of the lists of several models, by their weighted ranks or scores.

    Every model gives its ``depth`` best items for a user, after all filters. An item's score is the sum over the models
    that list it of ``weight x points``, with points by

    - rank: ``1 / (60 + rank)``, the reciprocal rank fusion of Cormack, Clarke & Büttcher (SIGIR 2009), which needs no
      comparable scores;
    - score: ``(s - low) / (high - low)``, where low and high are the least and the highest score of the model's list
      for that user; 1 where they are equal. The last of a list gets nothing, as if it were not on it.

    Scores depend therefore on what else is left to choose from, and :meth:`predict` gives 0 to what no model has among
    its ``depth`` best. Similar items are blended in the same way.

    Parameters
    ----------
    *models : Recommender
        At least two; :meth:`fit` fits them all on the same interactions, :meth:`fitted` takes them as they are. Fitted
        again, the blend has new ones in ``models``, and those given stay as they were.
    weights : sequence of numbers, optional
        One positive weight for each model; equal ones unless given.
    by : {"rank", "score"}
    depth : int
        Length of the lists that are blended, or k where that is longer.

    Examples
    --------
    >>> import cofactor as cf
    >>> model = cf.Blend(cf.PersonalPopular(), cf.ImplicitALS(), weights=[3, 1])
    """

    def __init__(
        self,
        *models: Recommender,
        weights: Sequence[float] | None = None,
        by: Literal["rank", "score"] = "rank",
        depth: int = 200,
    ) -> None:
        self.models = models
        self.weights = weights
        self.by = by
        self.depth = depth

    @classmethod
    def fitted(
        cls,
        *models: Recommender,
        weights: Sequence[float] | None = None,
        by: Literal["rank", "score"] = "rank",
        depth: int = 200,
    ) -> Self:
        """Blend models that are fitted already, for instance on different weights of the same log.

        What a user has seen is what the first model was fitted on.

        Raises
        ------
        ParameterError
            The models were trained on different users or items.
        """
        blend = cls(*models, weights=weights, by=by, depth=depth)
        blend._check()
        first = models[0]
        for other in models[1:]:
            _check_same_catalogue(first, other)
        blend.interactions_ = first._fitted()
        return blend

    def params(self) -> dict[str, Any]:
        """The models and how they are blended."""
        weights = list(self.weights) if isinstance(self.weights, list | tuple | np.ndarray) else self.weights
        return {"models": self.models, "weights": weights, "by": self.by, "depth": self.depth}

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.params().items() if name != "models")
        return f"Blend({''.join(f'{model!r}, ' for model in self.models)}{given})"

    def _check(self) -> None:
        check_choice("by", self.by, ("rank", "score"))
        check_at_least("depth", self.depth, 1, whole=True)
        check_weights_of(self.models, self.weights)
        super()._check()

    def _top_k(self, users: Rows, k: int, filters: Filters) -> TopK:
        return self._blended(len(users), k, lambda model, depth: model._top_k(users, depth, filters))

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._blended(histories.n_rows, k, lambda model, depth: model._top_k_for(histories, depth, filters))

    def _blended(self, n: int, k: int, ask: Callable[[Recommender, int], TopK]) -> TopK:
        votes = self._votes(n, max(self.depth, k), ask)
        itself = CSR.one_each(np.arange(n, dtype=np.int32), n)
        return self._kernels().linear_top_k(itself, votes, k, threads=1)

    def _votes(self, n: int, depth: int, ask: Callable[[Recommender, int], TopK]) -> CSR:
        """What all models together give to each item, (n, n_items)."""
        n_items = self.interactions_.n_items
        keys, points = [], []
        weights = [1.0] * len(self.models) if self.weights is None else self.weights
        for model, weight in zip(self.models, weights, strict=True):
            top = ask(model, min(depth, n_items))
            row, column = np.nonzero(top.rows >= 0)
            keys.append(row * np.int64(n_items) + top.rows[row, column])
            points.append(weight * _points(top, self.by)[row, column])
        pairs, at = np.unique(np.concatenate(keys), return_inverse=True)
        rows, items = np.divmod(pairs, max(n_items, 1))
        return CSR.from_pairs(rows, items, np.bincount(at, np.concatenate(points), len(pairs)), (n, n_items))

    def _scores(self, users: Rows, items: Rows) -> NDArray[np.float32]:
        asked, at = np.unique(users, return_inverse=True)
        votes = self._votes(len(asked), self.depth, lambda model, depth: model._top_k(asked, depth, NO_FILTERS))
        return votes.lookup(at, items)

    def _similar_items(self, items: Rows, k: int) -> TopK:
        return self._blended(len(items), k, lambda model, depth: model._similar_items(items, depth))


def _points(top: TopK, by: str) -> NDArray[np.float64]:
    """What each place of the lists is worth, (n, k); places that are not filled are not read."""
    n, k = top.rows.shape
    if by == "rank":
        return np.broadcast_to(1 / (_FIRST_RANKS + 1.0 + np.arange(k)), (n, k))
    filled = top.rows >= 0
    scores = top.scores.astype(np.float64)
    high = np.where(filled, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    low = np.where(filled, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    differ = high > low
    return np.where(filled & differ, (scores - np.where(differ, low, 0)) / np.where(differ, high - low, 1), 1.0)


def _check_same_catalogue(one: Recommender, other: Recommender) -> None:
    x, y = one._fitted(), other._fitted()
    for what, mine, theirs in (("items", x.items, y.items), ("users", x.users, y.users)):
        if mine != theirs:
            raise ParameterError(
                f"Blend needs models trained on the same users and items: {one!r} knows {len(mine):,} {what}, "
                f"{other!r} knows {len(theirs):,}, and they are not the same; fit both on the same interactions, "
                "or on the same log with other weights. A model with features knows what they tell of besides: fit the "
                "other on its interactions_"
            )
