"""Factorization machines of order 2 over pairs of a user and an item, with features of either side (Rendle 2010).

With features x of a side (its id, of weight 1, comes first), weights w and vectors v, the side's total is the vector
``sum_j x_j v_j`` and the bias ``sum_j x_j w_j + sum_{j < l} x_j x_l <v_j, v_l>``. A pair is predicted as ``offset``
plus both biases plus the inner product of both vectors, which is the machine over the features of both. So features are
looked at once for each user and item, never for each rating ("relation blocks", Rendle 2013).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arguments import FmSamples, FmSide, Table
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = ["fm_epoch", "fm_ratings", "fm_sweep"]


def fm_sweep(
    targets: CSR,
    own: FmSide,
    other: Float,
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
    """One coordinate after the other of one side, all else held; changes ``own`` in place.

    A coordinate whose derivatives h and residuals e (target less predicted) have the sums H of h h and E of h e has the
    normal conditional of precision ``a H + p`` and mean ``(a (E + v H) + p m) / (a H + p)``, where v is its value, a
    the precision of the noise, m and p are mean and precision of its prior. The ids of a row come first, coordinate by
    coordinate, then, for each coordinate, all features. O(nnz n_coordinates) in parallel, and O(entries of features
    n_coordinates) on one thread.

    Parameters
    ----------
    targets : CSR
        Own rows x other rows.
    own : FmSide
        Totals need not be right: they are made anew.
    other : (n_other, width) float32
        Totals of the other side.
    means, precisions : (n_groups, n_coordinates) float32
        Priors, weights first.
    offset, noise_precision : float
    weights, other_weights : (n,), (n_other,) float32, above 0, optional
        What the precision of the noise of each row's ratings is multiplied by; both count for a rating.
    seed : int
        Of the draws, which do not depend on the number of threads.
    sampled : bool
        Draw from the conditionals; otherwise take their means, which is coordinate descent.
    passes : int
        Over the coordinates of an id, before the next one.

    Returns
    -------
    residuals : (nnz,) float32
    row_sums : (n, 2) float64
        Of each row the sum of its residuals, and of their squares, times the weights of the other rows.
    """
    none = np.empty(0, np.float32)
    features, columns = own.features, own.columns
    by_column = (np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    if columns is not None:
        by_column = columns.indptr, columns.indices, columns.values
    residuals, row_sums = np.empty(targets.nnz, np.float32), np.zeros((targets.n_rows, 2))
    native.lib.fm_sweep(
        targets.indptr, targets.indices, targets.values, own.totals, own.ids, own.parts, features.indptr,
        features.indices, features.values, *by_column, own.groups, none if weights is None else weights, other,
        none if other_weights is None else other_weights, means, precisions, offset, noise_precision, seed, sampled,
        passes, residuals, row_sums, resolve_threads(threads),
    )  # fmt: skip
    return residuals, row_sums


def fm_epoch(
    targets: CSR,
    rows: Table,
    *,
    offset: float,
    weight_decay: float,
    batch_size: int,
    n_coordinates: int | None = None,
    seed: int = 0,
    rate: float = 1.0,
    logistic: bool = False,
    span: float = 0.0,
    threads: int | None = None,
) -> float:
    """One pass of gradient descent over the entries of ``targets``; changes ``rows`` in place.

    A machine of ids alone. Users come in random groups whose rows fill 4 MB, and the entries of a group's users in
    random order: what a group changes stays in the cache. Every row that a batch touches takes one step of its
    optimizer against the gradient of the batch's mean loss plus ``weight_decay / 2`` times the row's squared length;
    others stay as they are. The loss is the squared error of what is predicted, z, or, with ``span``, of
    ``span / (1 + exp(-z))``; with ``logistic`` it is ``log(1 + exp(-z))`` where the target is 1, and
    ``log(1 + exp(z))`` where it is 0.

    Parameters
    ----------
    targets : CSR (n_users, n_items)
    rows : Table
        Of users, then of items: a weight and a vector each, the width a multiple of 16.
    offset, weight_decay : float
    batch_size : int
        At most; batches of a group are of equal size.
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
    return native.lib.fm_epoch(
        targets.indptr, targets.indices, targets.values, targets.n_columns, *rows.slower(rate),
        rows.values.shape[1] if n_coordinates is None else n_coordinates, logistic, span, offset,
        weight_decay, batch_size, seed, resolve_threads(threads),
    )  # fmt: skip


def fm_ratings(users: Rows, items: Rows, samples: FmSamples, *, threads: int | None = None) -> tuple[Float, Float]:
    """Mean and variance, over the samples, of what each pair is rated; O(n_samples n_coordinates) a pair.

    Parameters
    ----------
    users, items : (n,) int32
        -1 for one that nobody knows.
    samples : FmSamples
        Without levels the rating is what is predicted. With them it is the k-th with the probability
        ``Phi(c_k - z) - Phi(c_{k-1} - z)``, z being what is predicted, and the variance is that of the rating itself.

    Returns
    -------
    means, variances : (n,) float32
    """
    means, variances = np.empty(len(users), np.float32), np.empty(len(users), np.float32)
    levels = np.zeros(1) if samples.levels is None else samples.levels
    cutpoints = np.empty(0) if samples.cutpoints is None else samples.cutpoints.ravel()
    native.lib.fm_ratings(
        users, items, *samples[:4], samples.offsets, cutpoints, levels, means, variances, resolve_threads(threads)
    )
    return means, variances
