"""How different the items of a list are, and whether their categories are those of the user's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy

from cofactor.data.features import Features
from cofactor.data.ids import IdMap
from cofactor.data.tables import cast_ids
from cofactor.errors import DataError, ParameterError
from cofactor.metrics.numbered import numbered, rows_among

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cofactor.metrics.listed import Listed

    Values = NDArray[np.float64]

__all__ = ["calibration", "category_column", "intra_list_diversity"]

_USERS = 8192  # at a time: what is added up for each of them has a number for every factor or category
_SMOOTHING = 0.01


def intra_list_diversity(lists: Listed, k: int) -> Values:
    r"""Mean distance of two items of a list, 1 less the cosine of their vectors.

    .. math:: \frac{2}{n (n - 1)} \sum_{i < j} 1 - \cos(v_i, v_j)

    n is the number of places that are filled; a list of less than two items has no value. The vectors are the features
    of ``item_features`` (see :class:`cofactor.Features`), or, without any, the ``item_factors_`` of the model: compare
    models by features, since each model's own vectors lie in a space of its own. The distance to an item without
    features is 1. ``IntraListDiversity`` of RecTools is the same mean, of the distances that it is given.

    Computed from the sum of a list's vectors, in O(k factors) a user.
    """
    vectors, used = _unit_vectors(lists)
    values = np.full(lists.n_users, np.nan)
    for users, matrix in _pieces(lists):
        total = matrix @ vectors
        squares = (total * total).sum(axis=1)
        n = np.diff(matrix.indptr).astype(np.float64)
        cosines = squares - matrix @ used
        with np.errstate(invalid="ignore", divide="ignore"):
            values[users] = np.where(n > 1, 1 - cosines / (n * (n - 1)), np.nan)
    return values


def calibration(lists: Listed, k: int) -> Values:
    r"""How far the categories of a list are from those of the user's history: the divergence of Kullback and Leibler.

    .. math:: \sum_g p_g \ln \frac{p_g}{(1 - \alpha)\, q_g + \alpha\, p_g}, \quad \alpha = 0.01

    :math:`p` and :math:`q` are the shares of the categories in the training data and in the list; an item of several
    categories counts for each of them in equal parts, one without any for none. The lower the better, 0 where both are
    equal. A user without categories in either has no value. Steck, Calibrated recommendations (2018), with all
    items of a history and of a list alike.
    """
    categories, of_train = _shares(lists)
    history = lists.train.user_items.to_scipy()
    history.data = np.ones_like(history.data, np.float64)
    values = np.full(lists.n_users, np.nan)
    for users, matrix in _pieces(lists):
        rows = lists.train_users[users]
        before = _distribution(history[np.maximum(rows, 0)] @ of_train)
        after = _distribution(matrix @ categories)
        mixed = (1 - _SMOOTHING) * after + _SMOOTHING * before
        with np.errstate(invalid="ignore", divide="ignore"):
            terms = np.where(before > 0, before * np.log(before / mixed), 0.0)
        known = (rows >= 0) & (before.sum(axis=1) > 0) & (after.sum(axis=1) > 0)
        values[users] = np.where(known, terms.sum(axis=1), np.nan)
    return values


def category_column(features: pl.DataFrame, category: str | None) -> str:
    """The column with categories: the one that is asked for, or the only one that is text, a flag or a list of text.

    Raises
    ------
    ParameterError
        There is no such column, or there are several and none is asked for.
    """
    columns = [name for name in features.columns if name != "item_id"]
    if category is not None:
        if category not in columns:
            raise ParameterError(f"category={category!r} is no column of item_features; there are {', '.join(columns)}")
        return category
    kinds = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.List)
    found = [name for name in columns if isinstance(features.schema[name], kinds)]
    if len(found) != 1:
        what = f"{len(found)} columns of categories ({', '.join(found)})" if found else "no column of categories"
        raise ParameterError(f"item_features has {what}; say which one calibration looks at: category='<column>'")
    return found[0]


def _pieces(lists: Listed) -> Iterator[tuple[slice, Any]]:
    """Some users at a time, with a sparse matrix that has a 1 for every item of their lists."""
    indptr = np.searchsorted(lists.user, np.arange(lists.n_users + 1))
    for start in range(0, lists.n_users, _USERS):
        stop = min(start + _USERS, lists.n_users)
        places = slice(indptr[start], indptr[stop])
        shape = (stop - start, len(lists.ids))
        ones = np.ones(places.stop - places.start)
        yield (
            slice(start, stop),
            scipy.sparse.csr_array((ones, lists.item[places], indptr[start : stop + 1] - places.start), shape),
        )


def _unit_vectors(lists: Listed) -> tuple[Any, Values]:
    """A vector of length 1 for each item, zeros where there is none; and which is which, as 1 and 0."""
    context = lists.context
    if context.item_features is not None:
        ids = IdMap.from_values(lists.ids)
        encoded = Features.from_frame(context.item_features).encode(context.item_features, ids)
        features = scipy.sparse.csr_array(encoded.to_scipy().astype(np.float64))[ids.rows(lists.ids)]
        scale = _inverse(np.sqrt((features * features).sum(axis=1)))
        return scipy.sparse.diags_array(scale) @ features, (scale > 0).astype(np.float64)
    if context.item_vectors is None or context.vector_items is None:
        raise ParameterError("intra_list_diversity needs vectors of items: give item_features=")
    known = context.vector_items
    rows = rows_among(known, cast_ids(lists.ids.alias(known.name), known.dtype, "recommendations"))
    vectors = np.where(rows[:, None] >= 0, context.item_vectors[rows], 0).astype(np.float64)
    scale = _inverse(np.linalg.norm(vectors, axis=1))
    return vectors * scale[:, None], (scale > 0).astype(np.float64)


def _inverse(norms: Values) -> Values:
    """1 over each, and 0 where that is not possible."""
    out: Values = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    return out


def _shares(lists: Listed) -> tuple[Any, Any]:
    """Shares of the categories of each listed item, and of each item of the training data, as sparse matrices."""
    features = lists.context.item_features
    if features is None:
        raise ParameterError("calibration needs categories of items: give item_features=")
    column = category_column(features, lists.context.category)
    table = features.select("item_id", pl.col(column).alias("category"))
    if isinstance(table.schema["category"], pl.List):
        table = table.explode("category")
    table = table.drop_nulls().unique()
    if table.is_empty():
        raise DataError(f"item_features: column {column!r} has no category of any item")
    ids, item = numbered(table["item_id"])
    category = table["category"].cast(pl.String).rank("dense").to_numpy().astype(np.int64) - 1
    shape = (len(ids) + 1, int(category.max()) + 1)
    matrix = scipy.sparse.csr_array((1 / np.bincount(item)[item], (item, category)), shape=shape)
    wanted = (
        cast_ids(some.alias("item_id"), ids.dtype, "item_features") for some in (lists.ids, lists.train.items.ids)
    )
    listed, trained = (matrix[rows_among(ids, some) % shape[0]] for some in wanted)
    return listed, trained


def _distribution(counts: Any) -> Values:  # noqa: ANN401
    """Rows that add up to 1, or are zeros."""
    dense = np.asarray(counts.toarray(), np.float64)
    sums = dense.sum(axis=1, keepdims=True)
    shares: Values = np.divide(dense, sums, out=np.zeros_like(dense), where=sums > 0)
    return shares
