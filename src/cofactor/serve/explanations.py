"""Why an item scores what it scores: what each item of a history adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.csr import CSR
from cofactor.models.base.item_weights import ItemWeightModel
from cofactor.models.factors.als import ImplicitALS
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.models.base.recommender import Recommender

__all__ = ["contributions"]


def contributions(model: Recommender, history: CSR, item: int) -> NDArray[np.float64]:
    """What each entry of a history of one row adds to the score of an item; (nnz,), and the sum is the score.

    Of models of item weights, the summands of the score. Of ``ImplicitALS`` the decomposition of Hu, Koren & Volinsky
    2008, section 5, which is exact for the fold-in.

    Raises
    ------
    RequestError
        422: the scores of such a model are no sum over the history.
    """
    if isinstance(model, ImplicitALS):
        return model._contributions(history.indices, history.values, item)
    if isinstance(model, ItemWeightModel) and hasattr(model, "item_weights_"):  # EASE of users has none
        weighed, weights = model._weighed(history), model.item_weights_
        rows, columns = weighed.indices, np.full(weighed.nnz, item, np.int32)
        found = weights.lookup(rows, columns) if isinstance(weights, CSR) else weights[rows, columns]
        return weighed.values.astype(np.float64) * found
    raise RequestError(
        422,
        "cannot_explain",
        f"the scores of {type(model).__name__} are no sum over the history; ImplicitALS and models of item weights "
        "such as EASE, SLIM and ItemKNN can be explained",
        "model",
    )
