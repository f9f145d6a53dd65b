"""Measuring lists that are arrays of row numbers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_flag, shown
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.errors import DataError, ParameterError
from cofactor.evaluation.known import context_of
from cofactor.evaluation.measure import DEFAULT_METRICS, Measurement, check_intervals, warn_of_short
from cofactor.kernels.csr import CSR
from cofactor.metrics import parse_all
from cofactor.metrics.hits import Relevance
from cofactor.metrics.kinds import Readings
from cofactor.metrics.listed import Ranked
from cofactor.metrics.matching import collect_hits, match_rows
from cofactor.metrics.of_lists import HitsReader, kept_places
from cofactor.models.base.held_out import entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from cofactor.kernels.arrays import Rows
    from cofactor.metrics.context import Context
    from cofactor.metrics.hits import Hits
    from cofactor.metrics.kinds import Metric

__all__ = ["evaluate_rows"]

_IDS = ("user_id", "item_id")


def evaluate_rows(
    lists: ArrayLike,
    test: Any,  # noqa: ANN401
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    users: ArrayLike | None = None,
    train: Any | None = None,  # noqa: ANN401
    n_items: int | None = None,
    per_user: bool = False,
    confidence: float = 0.95,
    n_bootstrap: int = 0,
    seed: int = 0,
) -> pl.DataFrame:
    """Measure lists of item rows against a matrix of held-out items: :func:`cofactor.evaluate` for arrays.

    No id is looked up, so that what it takes is a few steps for every place of the lists.

    Parameters
    ----------
    lists : (n, k) integer
        The rows of the listed items, best first; -1 for a place that is not filled, as ``model.top_k(rows, k).rows``
        of any model has them.
    test : (n_users, n_items) sparse matrix
        A CSR of cofactor or any sparse matrix of SciPy: what is relevant to each user. All values but zero count, and
        only ``ndcg_graded`` reads them.
    metrics : str or sequence of str
        As in ``evaluate``, but for errors of ratings, ``auc``, and what needs features.
    users : (n,) integer, optional
        The row of ``test`` that each list is for; by default list i is for row i, and there are as many.
    train : (n_users, n_items) sparse matrix, optional
        What ``novelty``, ``serendipity`` and other metrics compare with. For ``serendipity``, lists are taken to leave
        out what it holds.
    n_items : int, optional
        Size of the catalogue; by default the number of columns of ``test``.
    per_user, confidence, n_bootstrap, seed
        As in ``evaluate``; no intervals by default, as resampling takes longer than all else.

    Returns
    -------
    DataFrame
        As ``evaluate`` gives. Users are rows of ``test``; those with relevant items and without a list count as zero,
        and are in ``n_unknown_users``; those with a list and nothing to find are left out: ``n_untested_users``.

    Raises
    ------
    ParameterError
        An argument is not what it should be, or a metric needs what arrays do not tell.
    DataError
        A row is out of range, an item is listed twice for a user, a user has two lists, or nothing is relevant.

    Warns
    -----
    CofactorWarning
        The k of a metric is larger than the lists are long.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> test = sp.csr_array(np.array([[0, 1, 0], [1, 0, 1]]))
    >>> evaluate_rows([[1, 2], [1, 2]], test, ["mrr@2", "recall@2"])["value"].to_list()
    [0.75, 0.75]
    """
    wanted = parse_all(metrics)
    check_flag("per_user", per_user)
    check_intervals(confidence, n_bootstrap, seed)
    if n_items is not None:
        check_at_least("n_items", n_items, 1, whole=True)
    relevant = _matrix(test, "test")
    rows, items = _lists(lists, users, relevant)
    _check_metrics(wanted)
    warn_of_short(wanted, items.shape[1])
    context = _context(wanted, train, relevant, n_items)
    relevance = _relevance(relevant, gains=any(metric.needs.gains for metric in wanted))
    hits = _hits(rows, items, relevance, context, kept_places(wanted))
    readings = Readings(wanted, {HitsReader: hits})
    unlisted = len(relevance.users) - int((hits.n_listed > 0).sum())
    untested = int((np.diff(relevant.indptr)[rows] == 0).sum())
    counts = (unlisted, untested, relevance.n_pairs, 0, unlisted == len(relevance.users), 0.0)
    found = Measurement(relevance.users, readings.values(), *counts, readings=readings)
    return found.per_user() if per_user else found.summary(confidence=confidence, n_bootstrap=n_bootstrap, seed=seed)


def _matrix(given: Any, name: str) -> CSR:  # noqa: ANN401
    """A matrix of cofactor, from that of any library that has compressed sparse rows."""
    if isinstance(given, CSR):
        return given if given.values.all() else entries(given, given.values != 0)
    if not (hasattr(given, "tocsr") and hasattr(given, "shape")):
        raise ParameterError(f"{name} must be a sparse matrix, users in rows, got {shown(given)}")
    rows = given.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    if not rows.data.all():  # stored zeros are zeros, as everywhere in SciPy
        rows = rows.copy()
        rows.eliminate_zeros()
    arrays = (rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data.astype(np.float32))
    return CSR(*arrays, rows.shape[1])


def _lists(lists: ArrayLike, users: ArrayLike | None, relevant: CSR) -> tuple[Rows, Rows]:
    """The rows that lists are for, and the lists, checked."""
    items = np.asarray(lists)
    if items.ndim != 2 or not np.issubdtype(items.dtype, np.integer):
        raise ParameterError(
            f"lists must be a matrix of row numbers, a list in every row, got {items.dtype} of shape {items.shape}"
        )
    _check_range("lists", items, -1, relevant.n_columns, "items of test, or -1 for an empty place")
    if users is None:
        if len(items) != relevant.n_rows:
            raise ParameterError(
                f"there are {len(items):,} lists and test has {relevant.n_rows:,} rows; say which each is for: users="
            )
        rows = np.arange(len(items), dtype=np.int32)
    else:
        given = np.asarray(users)
        if given.shape != (len(items),) or not np.issubdtype(given.dtype, np.integer):
            raise ParameterError(
                f"users must be {len(items):,} row numbers of test, one for each list, got {shown(users)}"
            )
        _check_range("users", given, 0, relevant.n_rows, "rows of test")
        rows = given.astype(np.int32)
        if len(np.unique(rows)) < len(rows):
            twice = np.flatnonzero(np.bincount(rows) > 1)
            raise DataError(f"users: {len(twice):,} rows of test have more than one list, the first is {twice[0]}")
    return rows, np.ascontiguousarray(items, np.int32)


def _check_range(name: str, rows: NDArray[np.integer], least: int, n: int, told: str) -> None:
    if rows.size and (rows.min() < least or rows.max() >= n):
        bad = rows[(rows < least) | (rows >= n)].ravel()[0]
        raise DataError(f"{name}: {bad} is none of the {n:,} {told}")


def _check_metrics(wanted: Sequence[Metric]) -> None:
    if names := [m.name for m in wanted if m.kind.reader is not HitsReader or m.needs.complete]:
        raise ParameterError(f"{', '.join(names)}: lists of k places do not tell; use evaluate")
    if names := [m.name for m in wanted if m.needs.vectors or m.needs.categories]:
        raise ParameterError(f"{', '.join(names)} needs features by item id; use evaluate with item_features=")


def _context(wanted: Sequence[Metric], train: Any, relevant: CSR, n_items: int | None) -> Context:  # noqa: ANN401
    """What is known; row numbers are the ids."""
    known = None
    if train is not None:
        matrix = _matrix(train, "train")
        if matrix.shape != relevant.shape:
            raise ParameterError(
                f"train has shape {matrix.shape} and test {relevant.shape}; rows and columns are the same"
            )
        users, items = (IdMap(np.arange(n, dtype=np.int32)) for n in matrix.shape)
        known = Interactions(users, items, matrix.binary())
    context = context_of(SimpleNamespace(), wanted, train=known)
    return replace(context, n_items=relevant.n_columns if n_items is None else n_items)


def _relevance(relevant: CSR, *, gains: bool) -> Relevance:
    if not relevant.nnz:
        raise DataError("test: nothing is stored in it, so there is nothing to find")
    if gains and not (relevant.values > 0).all():
        n_bad = int((~(relevant.values > 0)).sum())
        raise DataError(
            f"test: {n_bad:,} values are not above 0, which ndcg_graded needs; leave out what is not relevant"
        )
    users, items = (pl.Series(np.arange(n, dtype=np.int32)) for n in relevant.shape)
    values = relevant.values.astype(np.float64) if gains else None
    relevance = Relevance(
        users.alias("user_id"), items.alias("item_id"), relevant.row_index(), relevant.indices, values
    )
    return relevance.only(relevance.n_relevant > 0)


def _hits(rows: Rows, items: Rows, relevance: Relevance, context: Context, keep: int) -> Hits:
    """The hits of all lists."""
    n, k = items.shape
    evaluated = relevance.users.to_numpy()
    of = np.full(max(int(rows.max(initial=-1)), int(evaluated[-1])) + 1, -1, np.int32)
    of[evaluated] = np.arange(len(evaluated), dtype=np.int32)
    lists = Ranked(of[rows], np.arange(n + 1) * k, items.ravel(), None, relevance.items)
    matched, repeated = match_rows(lists, relevance, keep=keep)
    if repeated >= 0:
        at = repeated // k
        raise DataError(f"lists: row {at} holds item {items.ravel()[repeated]} twice; a list has an item once")
    return collect_hits([matched], relevance, context)
