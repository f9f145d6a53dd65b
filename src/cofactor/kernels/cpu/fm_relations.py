"""Factorization machines by batches whose users and items have features, and whose ratings have context.

The machine of :mod:`cofactor.kernels.cpu.fm`, Rendle 2010, equation 1, over all features of a rating: its user and its
item with the features of either, and its categories of context. Each of these is a side with a bias and a vector, and
a rating is ``offset`` plus all biases plus the inner products of all pairs of vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.kernels.arguments import FmRelations, Table
    from cofactor.kernels.csr import CSR

__all__ = ["fm_relations_epoch"]


def fm_relations_epoch(
    targets: CSR,
    rows: Table,
    relations: FmRelations,
    *,
    offset: float,
    weight_decay: float,
    batch_size: int,
    batches: int = 1,
    n_coordinates: int | None = None,
    seed: int = 0,
    rate: float = 1.0,
    logistic: bool = False,
    span: float = 0.0,
    threads: int | None = None,
) -> float:
    """One pass of gradient descent over the entries of ``targets``; changes ``rows`` in place.

    Batches and losses are those of :func:`cofactor.kernels.cpu.fm.fm_epoch`. Every id and category that a batch has
    takes one step of its optimizer against the gradient of the batch's mean loss plus ``weight_decay / 2`` times the
    row's squared length. Features take a step after every ``batches`` batches, by the mean of the gradients, and what
    the features of a user or an item add up to stays as it is in between: it is made once for everybody in these
    batches, not for every rating ("relation blocks", Rendle 2013). With w and v of a feature, x of those whom it
    belongs to, g the slopes of the losses of their ratings and S the sums of all vectors of these ratings, its
    gradients are the sums of x g, and of ``x g S - x x g v``. Vectors of categories and features step by
    ``relations.rates`` times the rate; their weights, and all ids, by the rate. O(width) for each id and category of a
    rating, and O(features width) for everybody in a block.

    Parameters
    ----------
    targets : CSR (n_users, n_items)
    rows : Table
        As many as ``relations.n_rows``, a weight and a vector each, the width a multiple of 16.
    relations : FmRelations
    offset, weight_decay : float
    batch_size : int
        At most; batches of a group are of equal size.
    batches : int
        Between two steps of features; a group of users ends with one, too.
    n_coordinates : int, optional
        Numbers of a row, without what it is padded with (``"row_adam"``); by default its width.
    seed : int
        Of the order; the result does not depend on the number of threads.
    rate : float
        What the learning rate is multiplied by.
    logistic : bool
        Targets are 0 or 1.
    span : float
        Above 0, targets are from 0 to it. Not together with ``logistic``.

    Returns
    -------
    float
        Mean loss, of each entry as it was when its batch came.
    """
    users, items = relations.users, relations.items
    return native.lib.fm_relations_epoch(
        targets.indptr, targets.indices, targets.values, targets.n_columns, users.indptr, users.indices, users.values,
        users.n_columns, items.indptr, items.indices, items.values, items.n_columns,
        np.ascontiguousarray(relations.categories, np.int32), relations.n_categories, relations.rates, batches,
        *rows.slower(rate), rows.values.shape[1] if n_coordinates is None else n_coordinates, logistic, span, offset,
        weight_decay, batch_size, seed, resolve_threads(threads),
    )  # fmt: skip
