"""Fallback: a chain of models, each filling the places that the ones before it left empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.kernels.arrays import TopK
from cofactor.kernels.csr import CSR
from cofactor.models.combined.combination import Combination

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cofactor.kernels.filters import Filters
    from cofactor.models.base.recommender import Recommender

__all__ = ["Fallback"]


class Fallback(Combination):
    """Lists of the first model, completed by the second, then the third ...

    Scores are the ones of the model that gave the item: compare them within a model only; ``rank`` is the order.
    Scores of given pairs (:meth:`predict`) and similar items come from the first model.

    Parameters
    ----------
    *models : Recommender
        At least two; :meth:`fit` fits them all on the same interactions. Fitted again, the chain has new ones in
        ``models``, and those given stay as they were.

    Examples
    --------
    >>> import cofactor as cf
    >>> model = cf.Fallback(cf.PersonalPopular(), cf.Popular())
    """

    def __init__(self, *models: Recommender) -> None:
        self.models = models

    def params(self) -> dict[str, Any]:
        """The models of the chain."""
        return {"models": self.models}

    def __repr__(self) -> str:
        return f"Fallback({', '.join(map(repr, self.models))})"

    def _top_k(self, users: NDArray[np.int32], k: int, filters: Filters) -> TopK:
        return self._chain(len(users), k, filters, lambda model, at, left: model._top_k(users[at], k, left))

    def _top_k_for(self, histories: CSR, k: int, filters: Filters) -> TopK:
        return self._chain(
            histories.n_rows,
            k,
            filters,
            lambda model, at, left: model._top_k_for(histories.take(at), k, left),
        )

    def _chain(
        self,
        n: int,
        k: int,
        filters: Filters,
        ask: Callable[[Recommender, NDArray[np.int64], Filters], TopK],
    ) -> TopK:
        n_items = self.interactions_.n_items
        k = min(k, filters.n_choices(n_items))
        top = TopK.empty(n, k)
        length = np.zeros(n, np.int64)
        for model in self.models:
            short = np.flatnonzero(length < k)
            if not len(short):
                break
            at, column = np.nonzero(top.rows[short] >= 0)
            got = CSR.from_pairs(at, top.rows[short][at, column], np.ones(len(at), np.float32), (len(short), n_items))
            more = ask(model, short, filters.take(short).excluding(got))
            for place in range(more.rows.shape[1]):
                given = (more.rows[:, place] >= 0) & (length[short] < k)
                to = short[given]
                top.rows[to, length[to]] = more.rows[given, place]
                top.scores[to, length[to]] = more.scores[given, place]
                length[to] += 1
        return top

    def _scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.models[0]._scores(users, items)

    def _similar_items(self, items: NDArray[np.int32], k: int) -> TopK:
        return self.models[0]._similar_items(items, k)
