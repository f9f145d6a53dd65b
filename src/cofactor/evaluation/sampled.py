"""Candidates that are drawn: held-out items among a few negatives, and the names of what is measured so.

Metrics of sampled candidates are not those of the whole catalogue, and may order models differently: Krichene and
Rendle (2020), On Sampled Metrics for Item Recommendation. They are here to be compared with papers that have them, and
their names say what they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_choice, shown, warn
from cofactor.data.interactions import Interactions
from cofactor.data.sampling import negatives
from cofactor.data.tables import TableLike, cast_ids, pairs_of
from cofactor.data.user_items import UserItems
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.metrics import Metric

__all__ = ["SampledCandidates", "labelled", "sampled_candidates", "without_label"]

_ROUNDS = 30  # of drawing; who lacks items then has the rest listed


@dataclass(frozen=True, eq=False, repr=False)
class SampledCandidates:
    """Held-out items and the negatives drawn for their users; ``evaluate`` takes them as ``candidates``.

    Parameters
    ----------
    table : DataFrame
        ``user_id``, ``item_id``, distinct.
    n : int
        Negatives of each user.
    sampler : {"uniform", "popularity"}
    """

    table: pl.DataFrame
    n: int
    sampler: str

    def pairs(self) -> pl.DataFrame:
        """The table."""
        return self.table

    @property
    def label(self) -> str:
        """What stands behind the name of a metric that is measured on them."""
        by = " by popularity" if self.sampler == "popularity" else ""
        return f"(sampled{by}, {self.n} negative{'s' * (self.n != 1)})"

    def __repr__(self) -> str:
        users = self.table["user_id"].n_unique()
        return f"SampledCandidates: {self.table.height:,} of {users:,} users {self.label}"


def labelled(metric: Metric, candidates: TableLike) -> Metric:
    """The metric by the name under which its value is found, where ``candidates`` are what it is measured on."""
    if isinstance(candidates, SampledCandidates) and metric.needs.lists:
        return replace(metric, name=f"{metric.name} {candidates.label}")
    return metric


def without_label(name: str) -> str:
    """The metric alone."""
    return name.partition(" (sampled")[0]


def sampled_candidates(
    train: Any,  # noqa: ANN401
    test: TableLike,
    n: int = 99,
    *,
    sampler: Literal["uniform", "popularity"] = "uniform",
    seed: int = 0,
) -> SampledCandidates:
    """Draw distinct negatives for every user of a test: items that the user has neither in train nor in test.

    ``evaluate`` and ``compare`` with ``candidates=`` rank these and the held-out items alone, and name their metrics as
    in ``recall@10 (sampled, 99 negatives)``: such numbers are higher than those of the whole catalogue, and may order
    models differently.

    Parameters
    ----------
    train : Interactions, Ratings, fitted model, or Events
        Whose items are the catalogue.
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
    n : int
        Negatives of each user.
    sampler : {"uniform", "popularity"}
        Each item as likely, or in proportion to its number of users.
    seed : int

    Returns
    -------
    SampledCandidates

    Raises
    ------
    DataError
        Ids of the test are of another type, or there is no row.
    ParameterError
        A parameter is none of the possible ones.

    Warns
    -----
    CofactorWarning
        Users have not so many items left to draw: all of these are taken.

    Examples
    --------
    >>> import cofactor as cf
    >>> x = cf.datasets.synthetic(100, 500, 2_000, seed=0)
    >>> test = pl.DataFrame({"user_id": x.users.ids[:3], "item_id": x.items.ids[:3]})
    >>> candidates = sampled_candidates(x, test, 20)
    >>> cf.evaluate(cf.Popular().fit(x), test, "hit_rate@5", candidates=candidates)["metric"].item()
    'hit_rate@5 (sampled, 20 negatives)'
    """
    check_at_least("n", n, 1, whole=True)
    check_choice("sampler", sampler, ("uniform", "popularity"))
    check_at_least("seed", seed, 0, whole=True)
    x = _matrix(train)
    pairs = pairs_of(test).unique(maintain_order=True)
    users = pairs["user_id"].unique().sort()
    rows = x.users.rows(users)
    known = np.flatnonzero(rows >= 0)
    relevant = _keys(pairs, users.gather(known), x)
    drawing: Any = {"sampler": "popularity", "power": 1.0} if sampler == "popularity" else {"sampler": "exact"}
    keys = _drawn(x, rows[known], relevant, n, **drawing, seed=seed)
    at, item = np.divmod(keys, x.n_items)
    lacking = int((np.bincount(at, minlength=len(known)) < n).sum())
    if lacking:
        warn(f"sampled_candidates: {lacking:,} users have fewer than n={n} items left to draw; all of these are taken")
    drawn = pl.DataFrame({"user_id": users.gather(known[at]), "item_id": x.items.ids.gather(item)})
    items = cast_ids(pairs["item_id"], x.items.dtype, "train")
    if items.null_count():
        raise DataError(
            f"test: item {pairs['item_id'].filter(items.is_null())[0]!r} is beyond what ids of train can be"
        )
    return SampledCandidates(pl.concat([pairs.with_columns(items), drawn]), n, sampler)


def _matrix(train: Any) -> UserItems:  # noqa: ANN401
    x = getattr(train, "interactions_", train)
    x = x if isinstance(x, UserItems) or not hasattr(x, "interactions") else x.interactions()
    if not isinstance(x, UserItems):
        raise ParameterError(f"train must be Interactions, Ratings, a fitted model or Events, got {shown(train)}")
    return x


def _keys(pairs: pl.DataFrame, users: pl.Series, x: UserItems) -> NDArray[np.int64]:
    """The test pairs of known users and items, ascending: position of the user * n_items + row of the item."""
    numbered = pl.DataFrame({"user_id": users, "at": np.arange(len(users))})
    found = pairs.join(numbered, on="user_id")
    item = x.items.rows(found["item_id"]).astype(np.int64)
    return np.unique(found["at"].to_numpy()[item >= 0] * x.n_items + item[item >= 0])


def _drawn(
    x: UserItems,
    rows: NDArray[np.int32],
    relevant: NDArray[np.int64],
    n: int,
    **drawing: Any,  # noqa: ANN401
) -> NDArray[np.int64]:
    """Keys of n distinct negatives a user, or of all that there are, in the order of users."""
    matrix = x if isinstance(x, Interactions) else Interactions(x.users, x.items, x.user_items.binary())
    kept = np.empty(0, np.int64)
    todo = np.arange(len(rows))
    for turn in range(_ROUNDS):
        items = negatives(matrix, rows[todo], n + n // 4 + 2, first=turn << 40, **drawing)
        keys = (todo[:, None] * x.n_items + items)[items >= 0]
        if drawing["sampler"] == "popularity":  # which looks at nobody's history
            at, item = np.divmod(keys, x.n_items)
            keys = keys[~x.user_items.contains(rows[at], item.astype(np.int32))]
        kept = _first(np.concatenate([kept, keys[~_among(keys, relevant)]]), n, x.n_items)
        todo = np.flatnonzero(np.bincount(kept // x.n_items, minlength=len(rows)) < n)
        if not len(todo):
            return kept
    rest = [_rest(x, int(rows[at]), int(at), relevant) for at in todo]
    return _first(np.concatenate([kept, *rest]), n, x.n_items)


def _first(keys: NDArray[np.int64], n: int, n_items: int) -> NDArray[np.int64]:
    """The first n distinct keys of each user, ascending by user, in the order in which they came."""
    _, first = np.unique(keys, return_index=True)
    keys = keys[np.sort(first)]
    keys = keys[np.argsort(keys // n_items, kind="stable")]
    at = keys // n_items
    return keys[np.arange(len(keys)) - np.searchsorted(at, at) < n]


def _among(keys: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    place = np.searchsorted(ascending, keys)
    return ascending[np.minimum(place, len(ascending) - 1)] == keys if len(ascending) else np.zeros(len(keys), np.bool_)


def _rest(x: UserItems, row: int, at: int, relevant: NDArray[np.int64]) -> NDArray[np.int64]:
    """All that a user has neither in train nor in test."""
    free = np.ones(x.n_items, np.bool_)
    free[x.user_items.indices[x.user_items.indptr[row] : x.user_items.indptr[row + 1]]] = False
    keys = at * x.n_items + np.flatnonzero(free)
    return keys[~_among(keys, relevant)]
