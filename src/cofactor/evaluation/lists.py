"""Where the lists to evaluate come from: a table, or a model over its catalogue or over candidates.

A model that tells ranks of single items need not make complete lists for metrics that look at the relevant ones only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from cofactor.data.tables import TableLike, cast_ids, check_ranks, read_table
from cofactor.errors import DataError, NotFittedError, ParameterError
from cofactor.kernels.csr import CSR, offsets
from cofactor.metrics.hits import hits_of_ranks
from cofactor.metrics.kinds import needs_of
from cofactor.metrics.numbered import distinct
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from cofactor.data.user_items import UserItems
    from cofactor.metrics.hits import Hits, Relevance
    from cofactor.metrics.kinds import Metric, Needs

__all__ = ["Lists", "Recommending", "hits_of", "lists_of", "ranks_suffice", "seen_in", "tells_ranks"]

ROWS_PER_BATCH = 2_000_000
"""Rows of recommendations that are asked for at a time, about 50 MB."""

USERS_PER_BATCH = 4096
"""Users the ranks of whose items are asked for at a time."""


class Recommending(Protocol):
    """What is asked of a model: the training data it holds, lists for users, and scores of pairs."""

    interactions_: Any

    def recommend(self, users: pl.Series, k: int, *, exclude_seen: bool) -> pl.DataFrame:
        """List the best k items of each user: ``user_id``, ``item_id``, ``score``, ``rank``."""

    def predict(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Score each pair: ``user_id``, ``item_id``, ``score``."""


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Lists for the users of a test.

    Parameters
    ----------
    tables : iterable of DataFrame
        ``user_id``, ``item_id``, ``rank`` and perhaps ``score``, made when asked for, in batches of whole
        users. There is at least one batch if any user is known.
    known : (n_test_users,) bool
        Which test users have lists.
    n_complete : (n_test_users,) int64 or None
        How long a complete list is; None where every list is complete.
    n_untested_users : int
        Users with lists, or known to the model, who have no test items.
    n_items : int or None
        Size of the catalogue, where it is known.
    longest : int or None
        The last place that any list of a table has; None for lists that are made as long as they are needed.
    """

    tables: Iterable[pl.DataFrame]
    known: NDArray[np.bool_]
    n_complete: NDArray[np.int64] | None
    n_untested_users: int
    n_items: int | None
    longest: int | None = None


def lists_of(
    model_or_table: Recommending | TableLike,
    relevance: Relevance,
    needs: Needs,
    *,
    exclude_seen: bool,
    candidates: TableLike | None,
    n_items: int | None,
    progress: bool | None = None,
) -> Lists:
    """Prepare lists as the metrics need them; the rest as in ``cofactor.evaluate``."""
    if isinstance(model_or_table, type):
        name = model_or_table.__name__
        raise ParameterError(
            f"model_or_table must be a fitted model or a table, got the class {name}: make one, {name}()"
        )
    if not hasattr(model_or_table, "recommend"):
        if candidates is not None:
            raise ParameterError("candidates: only a model can rank them; a table is measured as it is")
        return _from_table(model_or_table, relevance, needs, n_items)
    name = type(model_or_table).__name__
    if getattr(model_or_table, "interactions_", None) is None:
        raise NotFittedError(f"{name} is not fitted: call fit first, or compare, which fits")
    if n_items is not None:
        raise ParameterError(f"n_items: {n_items} was given, but {name} knows the size of its catalogue; leave it out")
    if candidates is not None:
        return _from_candidates(model_or_table, relevance, candidates)
    return _from_model(model_or_table, relevance, needs, exclude_seen, progress)


def _from_table(table: TableLike, relevance: Relevance, needs: Needs, n_items: int | None) -> Lists:
    try:
        frame = read_table(table, [], "recommendations")
    except DataError as error:
        ways = "a fitted model, or a table with user_id, item_id and rank"
        raise ParameterError(f"model_or_table must be {ways}, got {type(table).__name__}") from error
    frame = read_table(frame, ["user_id", "item_id", *(["rank"] if needs.lists else [])], "recommendations")
    if needs.lists:
        check_ranks(frame)
    if needs.ties and "score" in frame.columns:
        read_table(frame, ["score"], "recommendations")
    listed = distinct(frame["user_id"])
    known = cast_ids(relevance.users, listed.dtype, "recommendations").is_in(listed.implode()).fill_null(value=False)
    return Lists(
        tables=[frame],
        known=known.to_numpy(),
        n_complete=None if n_items is None else np.full(len(known), n_items, np.int64),
        n_untested_users=len(listed) - int(known.sum()),
        n_items=n_items,
        longest=int(frame["rank"].max() or 0) if needs.lists else None,  # type: ignore[arg-type]  # a whole number
    )


def _from_model(
    model: Recommending, relevance: Relevance, needs: Needs, exclude_seen: bool, progress: bool | None
) -> Lists:
    train = model.interactions_
    rows = train.users.rows(relevance.users)
    known = rows >= 0
    users = relevance.users.filter(pl.Series(known))
    length = min(needs.k or train.n_items, train.n_items)

    def tables() -> Iterator[pl.DataFrame]:
        step = max(1, ROWS_PER_BATCH // length)
        with progress_bar("lists", progress, total=len(users), unit="users") as bar:
            for start in range(0, len(users), step):
                some = users[start : start + step]
                yield model.recommend(users=some, k=length, exclude_seen=exclude_seen)
                bar.update(len(some))

    n_history = np.diff(train.user_items.indptr)[rows] if exclude_seen else 0
    return Lists(
        tables=tables(),
        known=known,
        n_complete=np.where(known, train.n_items - n_history, 0),
        n_untested_users=train.n_users - len(users),
        n_items=train.n_items,
    )


def ranks_suffice(model: object, metrics: Sequence[Metric]) -> bool:
    """Whether a fitted model can tell ranks in the place of lists, and lists would have to be complete."""
    train = getattr(model, "interactions_", None)
    if train is None or not tells_ranks(model):
        return False

    def complete(needs: Needs) -> bool:
        return needs.lists and (needs.k is None or needs.k >= train.n_items)

    return complete(needs_of(metrics)) and not complete(needs_of(metrics, ranked=True))


def tells_ranks(model: object) -> bool:
    """Whether a model has ``ranks``, and they are of its lists: a subclass may have changed ``recommend`` alone."""
    if "recommend" in vars(model):
        return False
    for owner in type(model).__mro__:
        if "ranks" in vars(owner) or "recommend" in vars(owner):
            return "ranks" in vars(owner)
    return False


def hits_of(model: Any, relevance: Relevance, *, exclude_seen: bool, progress: bool | None = None) -> Hits:  # noqa: ANN401
    """The hits in the complete lists of a model that tells ranks; unknown users have no list."""
    train = model.interactions_
    rows = train.users.rows(relevance.users)
    user, item = relevance.user, relevance.item
    column = train.items.rows(cast_ids(relevance.items, train.items.ids.dtype, "recommendations"))[item]
    asked = np.flatnonzero((rows[user] >= 0) & (column >= 0))
    asked = asked[np.lexsort((column[asked], user[asked]))]
    ends = offsets(np.bincount(user[asked], minlength=len(rows)))
    rank, middle_rank = np.zeros(len(user), np.int32), np.zeros(len(user))
    n_listed = np.zeros(len(rows), np.int64)
    known = np.flatnonzero(rows >= 0)
    with progress_bar("ranks", progress, total=len(known), unit="users") as bar:
        for start in range(0, len(known), USERS_PER_BATCH):
            some = known[start : start + USERS_PER_BATCH]
            pairs = asked[ends[some[0]] : ends[some[-1] + 1]]
            indptr = offsets(np.diff(ends)[some])
            wanted = CSR(indptr, column[pairs].astype(np.int32), np.ones(len(pairs), np.float32), train.n_items)
            found = model.ranks(rows[some], wanted, exclude_seen=exclude_seen)
            rank[pairs], middle_rank[pairs], n_listed[some] = found
            bar.update(len(some))
    return hits_of_ranks(relevance, rank, middle_rank, n_listed)


def seen_in(train: UserItems, relevance: Relevance) -> NDArray[np.bool_]:
    """Which of the test pairs are in the training data, (n_pairs,) bool; O(n_pairs log n_items)."""
    items = cast_ids(relevance.items, train.items.ids.dtype, "recommendations")
    user, item = relevance.user, relevance.item
    rows, columns = train.users.rows(relevance.users)[user], train.items.rows(items)[item]
    seen = (rows >= 0) & (columns >= 0)
    seen[seen] = train.user_items.contains(rows[seen], columns[seen])
    return seen


def _from_candidates(model: Recommending, relevance: Relevance, candidates: TableLike) -> Lists:
    train = model.interactions_
    pairs = read_table(candidates, ["user_id", "item_id"], "candidates").select("user_id", "item_id").unique()
    _check_held_out(pairs, relevance)
    listed = pairs["user_id"].unique()
    known = train.users.rows(relevance.users) >= 0
    users = cast_ids(relevance.users.filter(pl.Series(known)), listed.dtype, "candidates")
    pairs = pairs.filter(pl.col("user_id").is_in(users.implode()))
    return Lists(
        tables=_ranked(model, pairs),
        known=known,
        n_complete=None,
        n_untested_users=len(listed) - len(relevance.users),
        n_items=train.n_items,
    )


def _ranked(model: Recommending, pairs: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Rank the candidates of each user by falling score, equal scores by item id, unknown items last."""
    has_score = pl.Series(model.interactions_.items.rows(pairs["item_id"]) >= 0)
    scored = model.predict(pairs.filter(has_score)).rename({"rating": "score"}, strict=False)
    scored = scored.select("user_id", "item_id", "score")
    if n_nan := int(scored["score"].is_nan().sum()):
        raise DataError(f"{type(model).__name__} predicts NaN for {n_nan} of {scored.height} candidates")
    rest = pairs.filter(~has_score).with_columns(score=pl.lit(None, scored.schema["score"]))
    ranked = pl.concat([scored, rest]).sort(
        "user_id", "score", "item_id", descending=[False, True, False], nulls_last=True
    )
    yield ranked.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("user_id"))


def _check_held_out(candidates: pl.DataFrame, relevance: Relevance) -> None:
    """Check that every test pair can be ranked."""
    user, item = relevance.user, relevance.item
    test = pl.DataFrame(
        {
            "user_id": cast_ids(relevance.users, candidates.schema["user_id"], "candidates")[user],
            "item_id": cast_ids(relevance.items, candidates.schema["item_id"], "candidates")[item],
        }
    )
    missing = test.join(candidates, on=["user_id", "item_id"], how="anti")
    if missing.height:
        first = missing.sort("user_id", "item_id").row(0)
        raise DataError(
            f"candidates: {missing.height} test pair(s) are not among them, the first: user {first[0]!r}, "
            f"item {first[1]!r}; candidates are the held-out items together with the negatives"
        )
