"""Measure the recommendations of a model, or of a table of any origin, against held-out interactions.

>>> import polars as pl
>>> table = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [7, 8, 7, 9], "rank": [1, 2, 1, 2]})
>>> test = pl.DataFrame({"user_id": [1, 2], "item_id": [8, 5]})
>>> evaluate(table, test, ["hit_rate@2", "mrr@2"], per_user=True)["mrr@2"].to_list()
[0.5, 0.0]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cofactor.checks import check_flag
from cofactor.errors import ParameterError
from cofactor.evaluation.known import features_of, train_of
from cofactor.evaluation.measure import DEFAULT_METRICS, check_intervals, measure, warn_of_empty, warn_of_seen
from cofactor.evaluation.slices import check_by, sliced, slices_of
from cofactor.metrics import parse_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from cofactor.data.tables import TableLike
    from cofactor.evaluation.lists import Recommending

__all__ = ["evaluate"]


def evaluate(
    model_or_table: Recommending | TableLike,
    test: TableLike,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    exclude_seen: bool = True,
    candidates: TableLike | None = None,
    n_items: int | None = None,
    unknown_users: str = "exclude",
    by: str | None = None,
    train: TableLike | None = None,
    user_features: TableLike | None = None,
    item_features: TableLike | None = None,
    category: str | None = None,
    per_user: bool = False,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: bool | None = None,
) -> pl.DataFrame:
    """Measure recommendations against held-out interactions.

    Every distinct (user, item) of ``test`` is relevant. Users without test items are left out and counted. A test item
    that the model does not know counts as missed in every metric. With ``exclude_seen=True`` test pairs that were in
    the training data are left out, since no list can hold them, and counted in a warning.

    Parameters
    ----------
    model_or_table : fitted model, or table
        A model ranks the whole catalogue, in batches of users, so that memory stays bounded. A table of any library
        needs ``user_id``, ``item_id`` and ``rank`` (whole numbers from 1); a test user without rows counts as zero.
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``
    metrics : str or sequence of str
        Names such as ``recall@10``, listed by ``cofactor.metrics.available()``; docs/metrics.md has all definitions.
        Those of ratings, such as ``rmse``, take all of ``test``, and of a table the column ``rating``.
    exclude_seen : bool
        Whether the model leaves out the user's training history. Tables and candidates are taken as they are.
    candidates : table with ``user_id`` and ``item_id``, or of ``sampled_candidates``, optional
        Rank, by ``model.predict``, only these items of each user: the held-out ones and the negatives drawn for them.
        Repeats are dropped; equal scores are in the order of the item id; items unknown to the model come last.
    n_items : int, optional
        Size of the catalogue, which ``coverage``, ``gini`` and ``auc`` of a table need. A model knows its own.
    unknown_users : {"exclude", "zero"}
        Whether test users whom the model does not know are left out of the mean or count as zero.
    by : {"activity", "new users", "popularity"} or a column of the features, optional
        Give the metrics by slices; see :mod:`cofactor.evaluation.slices`.
    train : Events, Interactions, Ratings or table, optional
        The training data behind a table, for slices and for metrics that compare with them. A model has its own.
    user_features, item_features : table, optional
        ``user_id`` (``item_id``), once each, and columns: for slices, ``intra_list_diversity`` and ``calibration``.
    category : str, optional
        The column of ``item_features`` that ``calibration`` looks at; the only one with text if left out.
    per_user : bool
        Give a value per user in place of the means.
    confidence, n_bootstrap, seed : float, int, int
        Probability of the intervals, and resamples of the users, 0 for none; from 100,000 users on they are normal.
    progress : bool, optional
        Show a bar while a model ranks; by default in a terminal and in a notebook.

    Returns
    -------
    DataFrame
        One row per metric, in the order asked for: ``metric``, ``value`` (mean over users), ``low`` and ``high`` (null
        for coverage), ``n_users`` (of whom there is a value), ``n_unknown_users`` and ``n_untested_users`` (with lists
        or known to the model, but without test items). ``per_user=True``: one row per evaluated user. ``by``: one row
        per slice and metric, with ``slice`` and ``n_pairs`` (relevant ones).

    Raises
    ------
    ParameterError, NotFittedError
        A metric or another parameter is not understood, or the model was not fitted.
    DataError
        A table cannot be used, or there is nothing to measure.
    """
    check_intervals(confidence, n_bootstrap, seed)
    told = _Told(by, per_user, {"confidence": confidence, "n_bootstrap": n_bootstrap, "seed": seed})
    given = {"train": train, "user_features": user_features, "item_features": item_features, "category": category}
    options = {"exclude_seen": exclude_seen, "candidates": candidates, "n_items": n_items, "progress": progress}
    return told.of(model_or_table, test, metrics, given, options | {"unknown_users": unknown_users})


@dataclass(frozen=True, slots=True)
class _Told:
    """How what was measured is told: in one table, by slices or by users."""

    by: str | None
    per_user: bool
    intervals: dict[str, Any]

    def of(
        self,
        subject: Any,  # noqa: ANN401
        test: TableLike,
        metrics: str | Sequence[str],
        given: dict[str, Any],
        options: dict[str, Any],
    ) -> pl.DataFrame:
        """Measure and tell."""
        check_flag("per_user", self.per_user)
        tables = {"user": given.pop("user_features"), "item": given["item_features"]}
        features = {of: None if table is None else features_of(table, of) for of, table in tables.items()}
        given["item_features"] = features["item"]
        if self.by is not None:
            if self.per_user:
                raise ParameterError("by and per_user: values are told by slices, or by users; leave one of them out")
            given["train"] = train_of(subject, given["train"])
            check_by(self.by, parse_all(metrics), features, has_train=given["train"] is not None)
        found = measure(subject, test, metrics, **given, **options)
        warn_of_seen(found)
        if found.empty:
            warn_of_empty([type(subject).__name__], exclude_seen=options["exclude_seen"])
        if self.per_user:
            return found.per_user()
        if self.by is None:
            return found.summary(**self.intervals)
        return sliced(found, slices_of(self.by, found.hits.relevance, given["train"], features), **self.intervals)
