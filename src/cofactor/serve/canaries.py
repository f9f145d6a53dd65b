"""Whether a model may take the place of another: what it has lost, and whether the same users get lists from it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from cofactor.data.histories import Histories
from cofactor.errors import CofactorError
from cofactor.kernels.csr import CSR
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import TopK
    from cofactor.models.base.recommender import Recommender

__all__ = ["check_model"]

_log = logging.getLogger(__name__)

_K = 10


def check_model(model: Recommender, serving: Recommender | None, *, canaries: int, most_lost: float) -> None:
    """Refuse a model that has lost too much.

    Parameters
    ----------
    model : Recommender
        The one that is to be served.
    serving : Recommender or None
        The one whose place it takes.
    canaries : int
        How many users of the training data of ``serving`` are tried, evenly spread. Those whom ``model`` does not know
        are tried by their history.
    most_lost : float
        Which share of the items, and of the canaries with a list, may go.

    Raises
    ------
    RequestError
        409: too many items are gone, ids are of another type, a score is not finite, or too many canaries who get a
        list now would get none.
    """
    before = model if serving is None else serving
    if serving is not None:
        _check_items(model, serving, most_lost)
    rows = np.unique(np.linspace(0, before.interactions_.n_users - 1, canaries).astype(np.int32))
    had = _has_list(before, before, rows)
    has = had if serving is None else _has_list(model, before, rows)
    lost = int((had & ~has).sum())
    if not had.any():
        if serving is None:
            raise _refused(f"none of {len(rows)} users of its training data gets a list")
        return
    if lost > most_lost * had.sum():
        raise _refused(
            f"{lost} of {int(had.sum())} users who get a list from the current model get none from it; at most "
            f"{most_lost:.0%} may"
        )


def _check_items(model: Recommender, serving: Recommender, most_lost: float) -> None:
    for what, ids, former in (
        ("item", model.interactions_.items, serving.interactions_.items),
        ("user", model.interactions_.users, serving.interactions_.users),
    ):
        if ids.dtype.is_integer() != former.dtype.is_integer():
            raise _refused(f"its {what} ids are of type {ids.dtype}, those of the current model {former.dtype}")
    former = serving.interactions_.items
    gone = model.interactions_.items.rows(former.ids, "items") < 0
    if gone.sum() > most_lost * len(former):
        raise _refused(
            f"it lacks {int(gone.sum()):,} of the {len(former):,} items of the current model ({gone.mean():.0%}), such "
            f"as {former.ids[int(gone.argmax())]!r}; at most {most_lost:.0%} may go"
        )


def _has_list(model: Recommender, before: Recommender, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which users of ``before`` get a list from ``model``, all of whose scores must be finite."""
    x = model.interactions_
    known = rows if model is before else x.users.rows(before.interactions_.users.take(rows), "users")
    has = np.zeros(len(rows), bool)
    here = np.flatnonzero(known >= 0)
    if len(here):
        has[here] = _served(model.top_k(known[here], _K, exclude_seen=False))
    if len(away := np.flatnonzero(known < 0)):
        try:
            has[away] = _served(model.top_k_for(_histories(model, before, rows[away]), _K, exclude_seen=False))
        except CofactorError as error:  # a model that cannot serve those it does not know
            _log.warning("canaries without a list: %s", error)
    return has


def _histories(model: Recommender, before: Recommender, rows: NDArray[np.int32]) -> CSR:
    """What users of ``before`` had, over the items of ``model``."""
    theirs, x = before.interactions_.user_items.take(rows), model.interactions_
    items = x.items.rows(before.interactions_.items.take(theirs.indices), "items")
    there = items >= 0
    csr = CSR.from_pairs(theirs.row_index()[there], items[there], theirs.values[there], (len(rows), x.n_items))
    if not model.ordered:
        return csr
    places = (np.arange(csr.nnz) - np.repeat(csr.indptr[:-1], np.diff(csr.indptr)) + 1).astype(np.int32)
    return Histories(csr.indptr, csr.indices, csr.values, csr.n_columns, places)


def _served(top: TopK) -> NDArray[np.bool_]:
    if not np.isfinite(top.scores[top.rows >= 0]).all():
        raise _refused("it gives scores that are not finite")
    return np.asarray((top.rows >= 0).any(axis=1))


def _refused(why: str) -> RequestError:
    return RequestError(409, "model_refused", f"the model was refused, and the current one stays: {why}")
