"""Measure the recommendations of a model, or of a table of any origin, against held-out interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cofactor.checks import check_flag
from cofactor.evaluation.measure import DEFAULT_METRICS, check_intervals, measure, warn_of_empty, warn_of_seen

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
        To measure a part of the users, pass the rows of that part.
    metrics : str or sequence of str
        Names such as ``recall@10``, listed by ``cofactor.metrics.available()``. ``rmse``, ``mae``,
        ``calibration_error``, ``log_loss`` and ``roc_auc`` compare all ratings of ``test``, of unknown users too, with
        those of a model of ratings (brought to its scale), or of a table with ``rating`` in the place of ``rank``.
    exclude_seen : bool
        Whether the model leaves out the user's training history. Tables and candidates are taken as they are.
    candidates : table with ``user_id`` and ``item_id``, optional
        Rank, by ``model.predict``, only these items of each user: the held-out ones and the negatives drawn for them.
        Repeats are dropped; equal scores are in the order of the item id; items unknown to the model come last.
    n_items : int, optional
        Size of the catalogue, which ``coverage`` and ``auc`` of a table need. A model knows its own.
    unknown_users : {"exclude", "zero"}
        Whether test users whom the model does not know are left out of the mean or count as zero.
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
        for coverage), ``n_users`` (evaluated), ``n_unknown_users`` and ``n_untested_users`` (with lists or known to the
        model, but without test items). With ``per_user=True`` one row per evaluated user: ``user_id``, the metrics.

    Raises
    ------
    ParameterError, NotFittedError
        A metric or another parameter is not understood, or the model was not fitted.
    DataError
        A table lacks a column, holds null, repeats an item or a rank of a user, has ids of another type than the test,
        or is not complete although ``auc`` was asked for; the test is empty, no test user is known, or all its pairs
        were in the training data and ``exclude_seen`` leaves them out; a test pair is not among the candidates.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [7, 8, 7, 9], "rank": [1, 2, 1, 2]})
    >>> test = pl.DataFrame({"user_id": [1, 2], "item_id": [8, 5]})
    >>> evaluate(table, test, ["hit_rate@2", "mrr@2"], per_user=True)["mrr@2"].to_list()
    [0.5, 0.0]
    """
    check_flag("per_user", per_user)
    check_intervals(confidence, n_bootstrap, seed)
    options: Any = {"exclude_seen": exclude_seen, "candidates": candidates, "n_items": n_items, "progress": progress}
    found = measure(model_or_table, test, metrics, unknown_users=unknown_users, **options)
    warn_of_seen(found)
    if found.empty:
        warn_of_empty([type(model_or_table).__name__], exclude_seen=exclude_seen)
    return found.per_user() if per_user else found.summary(confidence=confidence, n_bootstrap=n_bootstrap, seed=seed)
